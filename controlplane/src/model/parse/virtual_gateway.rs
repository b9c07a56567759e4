//! `VirtualGatewaySpec`.

use std::collections::BTreeMap;

use super::{listener, log, secret::Owner, virtual_node::backend_defaults};
use crate::model::{
    VirtualGateway,
    shape::{Invalid, Object},
};

/// A gateway without its routes, which are resources of their own.
pub(super) fn parse(spec: &Object<'_>, owner: &Owner<'_>) -> Result<VirtualGateway, Invalid> {
    // Constraint C31.
    let listeners = spec.required("listeners")?.items(1..=usize::MAX)?;
    Ok(VirtualGateway {
        listeners: listener::of_gateway(&listeners, owner)?,
        client_policy: backend_defaults(spec, owner)?,
        access_log: log::access_log(spec)?,
        routes: BTreeMap::new(),
    })
}
