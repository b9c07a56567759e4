//! `PortMapping`, and the ports that refer to one.

use std::{collections::BTreeSet, num::NonZeroU16};

use crate::model::{
    PortMapping, Protocol,
    shape::{Field, Invalid, Object, Rule},
};

/// What virtual gateways speak.
pub(super) const GATEWAY_PROTOCOLS: [(&str, Protocol); 3] =
    [("http", Protocol::Http), ("http2", Protocol::Http2), ("grpc", Protocol::Grpc)];
/// What virtual nodes and virtual routers speak.
pub(super) const PROTOCOLS: [(&str, Protocol); 4] =
    [("http", Protocol::Http), ("tcp", Protocol::Tcp), ("http2", Protocol::Http2), ("grpc", Protocol::Grpc)];

/// 1 to 65535.
pub(super) fn port(field: &Field<'_>) -> Result<NonZeroU16, Invalid> {
    let port: u16 = field.integer(1..=i64::from(u16::MAX))?;
    NonZeroU16::new(port).ok_or_else(|| field.invalid(Rule::Required))
}

/// The `portMapping` of a listener.
pub(super) fn mapping(listener: &Object<'_>, protocols: &[(&str, Protocol)]) -> Result<PortMapping, Invalid> {
    let mapping = listener.required("portMapping")?.object()?;
    Ok(PortMapping {
        port: port(&mapping.required("port")?)?,
        protocol: mapping.required("protocol")?.one_of(protocols)?,
    })
}

/// Refuses two listeners on one port (constraint C11).
pub(super) fn distinct(
    listeners: &[Field<'_>],
    ports: impl Iterator<Item = NonZeroU16>,
) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    match listeners.iter().zip(ports).find(|(_, port)| !seen.insert(*port)) {
        Some((listener, port)) => {
            listener.check(false, || format!("another listener has port {port} already"))
        }
        None => Ok(()),
    }
}
