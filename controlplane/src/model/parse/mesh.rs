//! `MeshSpec`.

use super::discovery;
use crate::model::{
    EgressFilter, MeshSettings,
    shape::{Field, Invalid, Object},
};

pub(super) fn parse(spec: &Object<'_>) -> Result<MeshSettings, Invalid> {
    let ip_preference =
        spec.read("serviceDiscovery", |field| discovery::ip_preference(&field.object()?))?.flatten();
    Ok(MeshSettings {
        egress_filter: spec.read("egressFilter", egress_filter)?.unwrap_or_default(),
        ip_preference,
    })
}

fn egress_filter(field: &Field<'_>) -> Result<EgressFilter, Invalid> {
    let types = [("ALLOW_ALL", EgressFilter::AllowAll), ("DROP_ALL", EgressFilter::DropAll)];
    field.object()?.required("type")?.one_of(&types)
}
