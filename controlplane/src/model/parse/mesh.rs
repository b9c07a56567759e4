//! `MeshSpec`.

use crate::model::{
    EgressFilter, MeshSettings,
    shape::{Invalid, Object},
};

pub(super) fn parse(spec: &Object<'_>) -> Result<MeshSettings, Invalid> {
    spec.refuse(&["serviceDiscovery"])?;
    let Some(filter) = spec.optional("egressFilter") else {
        return Ok(MeshSettings::default());
    };
    let types = [("ALLOW_ALL", EgressFilter::AllowAll), ("DROP_ALL", EgressFilter::DropAll)];
    let egress_filter = filter.object()?.required("type")?.one_of(&types)?;
    Ok(MeshSettings { egress_filter, ip_preference: None })
}
