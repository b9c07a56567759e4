//! `VirtualServiceSpec`.

use super::name;
use crate::model::{
    Provider, VirtualService,
    shape::{Field, Invalid, Object},
};

pub(super) fn parse(spec: &Object<'_>) -> Result<VirtualService, Invalid> {
    let provider = spec.read("provider", |field| {
        field.object()?.union(&[("virtualNode", &virtual_node), ("virtualRouter", &virtual_router)])
    })?;
    Ok(VirtualService { provider })
}

fn virtual_node(field: &Field<'_>) -> Result<Provider, Invalid> {
    name::resource(&field.object()?.required("virtualNodeName")?).map(Provider::VirtualNode)
}

fn virtual_router(field: &Field<'_>) -> Result<Provider, Invalid> {
    name::resource(&field.object()?.required("virtualRouterName")?).map(Provider::VirtualRouter)
}
