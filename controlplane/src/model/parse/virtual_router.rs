//! `VirtualRouterSpec`.

use std::collections::BTreeMap;

use super::port;
use crate::model::{
    VirtualRouter,
    shape::{Field, Invalid, Object},
};

/// A router without its routes, which are resources of their own.
pub(super) fn parse(spec: &Object<'_>) -> Result<VirtualRouter, Invalid> {
    let fields = spec.list("listeners")?;
    let mapping = |field: &Field<'_>| port::mapping(&field.object()?, &port::PROTOCOLS);
    let listeners = fields.iter().map(mapping).collect::<Result<Vec<_>, _>>()?;
    port::distinct(&fields, listeners.iter().map(|listener| listener.port))?;
    Ok(VirtualRouter { listeners, routes: BTreeMap::new() })
}
