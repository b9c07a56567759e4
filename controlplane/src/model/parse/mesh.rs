//! `MeshSpec`.

use crate::model::{
    EgressFilter,
    shape::{Invalid, Object},
};

pub(super) fn parse(spec: &Object<'_>) -> Result<EgressFilter, Invalid> {
    spec.refuse(&["serviceDiscovery"])?;
    let Some(filter) = spec.optional("egressFilter") else {
        return Ok(EgressFilter::default());
    };
    let types = [("ALLOW_ALL", EgressFilter::AllowAll), ("DROP_ALL", EgressFilter::DropAll)];
    filter.object()?.required("type")?.one_of(&types)
}
