//! Resources as clients read them: the bare object for one, flat references in a list.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{ApiSettings, page::Scope, uri};
use crate::{
    model::key::{Collection, Key},
    store::Resource,
};

/// The whole resource: the body of every answer that is about one.
#[derive(Debug)]
pub(super) struct Description<'a> {
    pub(super) resource: &'a Resource,
    pub(super) settings: &'a ApiSettings,
    pub(super) status: Status,
}

/// `<X>Status.status`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Status {
    Active,
    Deleted,
}

/// The answer of a list operation.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    pub(super) collection: &'a Collection,
    pub(super) resources: &'a [std::sync::Arc<Resource>],
    pub(super) settings: &'a ApiSettings,
    /// Whether there is more after these.
    pub(super) is_last: bool,
}

struct Reference<'a> {
    resource: &'a Resource,
    settings: &'a ApiSettings,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceMetadata<'a> {
    arn: String,
    version: u64,
    uid: uuid::Uuid,
    created_at: f64,
    last_updated_at: f64,
    mesh_owner: &'a str,
    resource_owner: &'a str,
}

#[derive(Serialize)]
struct ResourceStatus {
    status: &'static str,
}

/// Epoch seconds as a number with a fraction of milliseconds, the protocol's form of a time.
fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

/// The members that name a resource: its own name, and those of what it is in.
fn names<M: SerializeMap>(map: &mut M, key: &Key) -> Result<(), M::Error> {
    map.serialize_entry("meshName", key.mesh().as_str())?;
    match key {
        Key::Mesh(_) => return Ok(()),
        Key::Route { router, .. } => map.serialize_entry("virtualRouterName", router.as_str())?,
        Key::GatewayRoute { gateway, .. } => map.serialize_entry("virtualGatewayName", gateway.as_str())?,
        Key::VirtualNode { .. }
        | Key::VirtualService { .. }
        | Key::VirtualRouter { .. }
        | Key::VirtualGateway { .. } => {}
    }
    map.serialize_entry(uri::name_member(key.kind()), key.name())
}

impl Serialize for Description<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { resource: Resource { document, metadata }, settings, status } = self;
        let mut map = serializer.serialize_map(None)?;
        names(&mut map, document.key())?;
        map.serialize_entry(
            "metadata",
            &ResourceMetadata {
                arn: settings.arn(document.key()),
                version: metadata.version,
                uid: metadata.uid,
                created_at: seconds(metadata.created_at),
                last_updated_at: seconds(metadata.updated_at),
                mesh_owner: &settings.account_id,
                resource_owner: &settings.account_id,
            },
        )?;
        map.serialize_entry("spec", document.text())?;
        let status = match status {
            Status::Active => "ACTIVE",
            Status::Deleted => "DELETED",
        };
        map.serialize_entry("status", &ResourceStatus { status })?;
        map.end()
    }
}

impl Serialize for Reference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { resource: Resource { document, metadata }, settings } = self;
        let mut map = serializer.serialize_map(None)?;
        names(&mut map, document.key())?;
        map.serialize_entry("arn", &settings.arn(document.key()))?;
        map.serialize_entry("version", &metadata.version)?;
        map.serialize_entry("createdAt", &seconds(metadata.created_at))?;
        map.serialize_entry("lastUpdatedAt", &seconds(metadata.updated_at))?;
        map.serialize_entry("meshOwner", &settings.account_id)?;
        map.serialize_entry("resourceOwner", &settings.account_id)?;
        map.end()
    }
}

impl Serialize for Listing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { collection, resources, settings, is_last } = self;
        let references: Vec<_> = resources.iter().map(|resource| Reference { resource, settings }).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(uri::list_member(collection.kind()), &references)?;
        if let (false, Some(last)) = (is_last, resources.last()) {
            let token = settings.page_key.token(&Scope::from(*collection), last.document.key().name());
            map.serialize_entry("nextToken", &token)?;
        }
        map.end()
    }
}
