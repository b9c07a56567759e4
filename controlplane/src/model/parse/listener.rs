//! `Listener` and `VirtualGatewayListener`.

use super::{port, secret::Owner, tls, traffic};
use crate::model::{
    Listener, Protocol, Timeout,
    shape::{Field, Invalid},
};

/// The listeners of a virtual node.
pub(super) fn of_node(fields: &[Field<'_>], owner: &Owner<'_>) -> Result<Vec<Listener>, Invalid> {
    let listener = |field: &Field<'_>| {
        let (object, common) = (field.object()?, common(field, owner, &port::PROTOCOLS)?);
        let protocol = common.port_mapping.protocol;
        let timeout = object.read("timeout", |field| traffic::listener_timeout(field, protocol))?;
        Ok(Listener {
            outlier_detection: object.read("outlierDetection", traffic::outlier_detection)?,
            timeout: timeout.unwrap_or_default(),
            ..common
        })
    };
    distinct(fields, fields.iter().map(listener).collect::<Result<_, _>>()?)
}

/// The listeners of a virtual gateway.
pub(super) fn of_gateway(fields: &[Field<'_>], owner: &Owner<'_>) -> Result<Vec<Listener>, Invalid> {
    let listener = |field| common(field, owner, &port::GATEWAY_PROTOCOLS);
    distinct(fields, fields.iter().map(listener).collect::<Result<_, _>>()?)
}

fn distinct(fields: &[Field<'_>], listeners: Vec<Listener>) -> Result<Vec<Listener>, Invalid> {
    port::distinct(fields, listeners.iter().map(|listener| listener.port_mapping.port))?;
    Ok(listeners)
}

fn common(field: &Field<'_>, owner: &Owner<'_>, protocols: &[(&str, Protocol)]) -> Result<Listener, Invalid> {
    let listener = field.object()?;
    let port_mapping = port::mapping(&listener, protocols)?;
    let pool = |field: &Field<'_>| traffic::connection_pool(field, port_mapping.protocol, protocols);
    let check = |field: &Field<'_>| traffic::health_check(field, port_mapping, protocols);
    Ok(Listener {
        port_mapping,
        tls: listener.read("tls", |field| tls::listener(field, owner))?,
        connection_pool: listener.read("connectionPool", pool)?,
        health_check: listener.read("healthCheck", check)?,
        outlier_detection: None,
        timeout: Timeout::default(),
    })
}
