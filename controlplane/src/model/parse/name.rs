//! Names by which a spec refers to other resources.

use signet_policies::identity::ResourceName;

use crate::model::{
    key::{Key, ServiceName},
    shape::{Field, Invalid},
};

/// A virtual node or a virtual router (constraint C1).
pub(super) fn resource(field: &Field<'_>) -> Result<ResourceName, Invalid> {
    field.text(1..=255)?.parse::<ResourceName>().map_err(|error| field.broken(error.to_string()))
}

/// A virtual service.
pub(super) fn service(field: &Field<'_>) -> Result<ServiceName, Invalid> {
    field.text(1..=255)?.parse::<ServiceName>().map_err(|error| field.broken(error.to_string()))
}

/// A virtual service of `mesh`, by its name or its ARN.
///
/// ARNs of a shared mesh say whose it is, `mesh/m@000000000000/…`; there is one mesh of a name here.
pub(super) fn service_or_arn(field: &Field<'_>, mesh: &ResourceName) -> Result<ServiceName, Invalid> {
    let text = field.text(1..=2048)?;
    let Some(arn) = text.strip_prefix("arn:") else {
        return match text.parse() {
            Ok(name) => Ok(name),
            Err(_) => Err(field.broken("must be the name or the ARN of a virtual service")),
        };
    };
    // partition : service : region : account : resource
    let key = arn.splitn(5, ':').nth(4).and_then(|key| without_owner(key).parse().ok());
    match key {
        Some(Key::VirtualService { mesh: found, name }) if found == *mesh => Ok(name),
        Some(Key::VirtualService { mesh: found, .. }) => {
            Err(field.broken(format!("must be of the node's own mesh, {mesh}; it is of {found}")))
        }
        Some(_) | None => Err(field.broken("must be the name or the ARN of a virtual service")),
    }
}

/// `mesh/m@000000000000/virtualService/s` as `mesh/m/virtualService/s`.
fn without_owner(key: &str) -> String {
    let owner = |(mesh, rest): (&str, &str)| {
        let (name, owner) = mesh.split_once('@')?;
        let is_account = owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
        is_account.then(|| format!("mesh/{name}/{rest}"))
    };
    let split = key.strip_prefix("mesh/").and_then(|rest| rest.split_once('/'));
    split.and_then(owner).unwrap_or_else(|| key.to_owned())
}
