//! `VirtualServiceSpec`.

use signet_policies::identity::ResourceName;

use crate::model::{
    Provider, VirtualService,
    shape::{Field, Invalid, Object, Rule},
};

pub(super) fn parse(spec: &Object<'_>) -> Result<VirtualService, Invalid> {
    let provider = spec.optional("provider").map(|field| provider(&field.object()?)).transpose()?;
    Ok(VirtualService { provider })
}

fn provider(provider: &Object<'_>) -> Result<Provider, Invalid> {
    match provider.union(&["virtualNode", "virtualRouter"], &[])? {
        ("virtualNode", node) => {
            Ok(Provider::VirtualNode(resource_name(&node.object()?.required("virtualNodeName")?)?))
        }
        (_, router) => {
            Ok(Provider::VirtualRouter(resource_name(&router.object()?.required("virtualRouterName")?)?))
        }
    }
}

/// The name of a resource that is referred to (constraint C1).
pub(super) fn resource_name(field: &Field<'_>) -> Result<ResourceName, Invalid> {
    let name = field.text(1..=255)?.parse::<ResourceName>();
    name.map_err(|error| field.invalid(Rule::Other(error.to_string())))
}
