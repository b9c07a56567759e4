//! `PortMapping`, and the ports that refer to one.

use std::{collections::BTreeSet, num::NonZeroU16};

use crate::model::{
    PortMapping, Protocol,
    shape::{Field, Invalid, Object, Rule},
};

/// 1 to 65535.
pub(super) fn port(field: &Field<'_>) -> Result<NonZeroU16, Invalid> {
    let port: u16 = field.integer(1..=i64::from(u16::MAX))?;
    NonZeroU16::new(port).ok_or_else(|| field.invalid(Rule::Required))
}

pub(super) fn optional(object: &Object<'_>, name: &str) -> Result<Option<NonZeroU16>, Invalid> {
    object.optional(name).map(|field| port(&field)).transpose()
}

/// The `portMapping` of a listener.
pub(super) fn mapping(listener: &Object<'_>) -> Result<PortMapping, Invalid> {
    let mapping = listener.required("portMapping")?.object()?;
    let protocol = mapping.required("protocol")?;
    let known = [("http", Some(Protocol::Http)), ("tcp", None), ("http2", None), ("grpc", None)];
    let protocol = protocol.one_of(&known)?.ok_or_else(|| {
        let found = protocol.text(0..=usize::MAX).unwrap_or_default().to_owned();
        protocol.invalid(Rule::UnsupportedValue { allowed: "http", found })
    })?;
    Ok(PortMapping { port: port(&mapping.required("port")?)?, protocol })
}

/// Refuses two listeners on one port (constraint C11).
pub(super) fn distinct(
    listeners: &[Field<'_>],
    ports: impl Iterator<Item = NonZeroU16>,
) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    match listeners.iter().zip(ports).find(|(_, port)| !seen.insert(*port)) {
        Some((listener, port)) => {
            Err(listener.invalid(Rule::Other(format!("another listener has port {port} already"))))
        }
        None => Ok(()),
    }
}
