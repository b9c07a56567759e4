//! The input of `aws appmesh create-… --cli-input-json`, and what `describe-…` prints.

use serde_json::{Map, Value, json};
use signet_controlplane::model::key::{Collection, Key, Kind};
use signet_policies::identity::ResourceName;

use crate::{
    compare,
    input::Settings,
    node::{Content, Node},
    place::{Fault, Note},
    resource::{self, Bundle, Draft, Resource},
    shape::{self, Spelling},
    spell::{Reader, spelled, unknown_member},
};

/// The kinds, those first whose names others have as a parent's.
const BY_NAME: [(Kind, &str); 7] = [
    (Kind::Route, "routeName"),
    (Kind::GatewayRoute, "gatewayRouteName"),
    (Kind::VirtualNode, "virtualNodeName"),
    (Kind::VirtualService, "virtualServiceName"),
    (Kind::VirtualRouter, "virtualRouterName"),
    (Kind::VirtualGateway, "virtualGatewayName"),
    (Kind::Mesh, "meshName"),
];

/// What an answer has and an input need not.
const ANSWERED: [&str; 3] = ["metadata", "status", "clientToken"];

/// Whether a document is such an input.
pub(crate) fn is_input(document: &Node) -> bool {
    kind_of(unwrapped(document)).is_some()
}

fn kind_of(document: &Node) -> Option<(Kind, &'static str)> {
    BY_NAME.into_iter().find(|(_, member)| document.get(member).is_some())
}

/// What the AWS CLI prints is wrapped in the kind's name.
fn unwrapped(document: &Node) -> &Node {
    let Content::Map(entries) = &document.content else { return document };
    match entries.as_slice() {
        [only] if Kind::ALL.iter().any(|kind| kind.arn_segment() == only.key) => &only.value,
        _ => document,
    }
}

/// Reads one.
pub(crate) fn read(document: &Node, settings: &Settings, notes: &mut Vec<Note>) -> Result<Resource, Fault> {
    let document = unwrapped(document);
    let (kind, member) = kind_of(document).ok_or_else(|| document.fault("names no resource"))?;
    check_members(document, kind, member)?;
    if let Some(owner) = document.get("meshOwner") {
        notes.push(owner.place.note("meshOwner is left out: every mesh here is the server's own"));
    }
    let name = document.get(member).ok_or_else(|| document.fault(format!("{member} is required")))?;
    let tags = document.get("tags").map(|tags| resource::tags(tags, "key", "value")).transpose()?;
    let spec = document.get("spec");
    if spec.is_none() && kind != Kind::Mesh {
        return Err(document.fault("spec is required"));
    }
    let draft = Draft {
        collection: collection(document, kind, settings)?,
        name: (name.text()?.to_owned(), name.place.clone()),
        spec,
        tags,
        place: document.place.clone(),
        trust_domain: settings.trust_domain.as_ref(),
    };
    draft.judge(&Reader { spelling: Spelling::Api, references: None })
}

fn check_members(document: &Node, kind: Kind, name: &str) -> Result<(), Fault> {
    let mut known: Vec<String> = ["meshName", "meshOwner", "spec", "tags"].map(str::to_owned).into();
    known.extend((kind != Kind::Mesh).then(|| name.to_owned()));
    known.extend(parent_member(kind).map(str::to_owned));
    let mut entries = document.entries()?.iter();
    let unknown =
        entries.find(|entry| !known.contains(&entry.key) && !ANSWERED.contains(&entry.key.as_str()));
    unknown.map_or(Ok(()), |entry| Err(unknown_member(entry, &known)))
}

fn parent_member(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Route => Some("virtualRouterName"),
        Kind::GatewayRoute => Some("virtualGatewayName"),
        Kind::Mesh
        | Kind::VirtualNode
        | Kind::VirtualService
        | Kind::VirtualRouter
        | Kind::VirtualGateway => None,
    }
}

fn collection(document: &Node, kind: Kind, settings: &Settings) -> Result<Collection, Fault> {
    let named = |member: &str| {
        let found = document.get(member);
        found.map(|node| parsed(node, member)).transpose()
    };
    let parent = |member: &str| named(member)?.ok_or_else(|| document.fault(format!("{member} is required")));
    let mesh = || {
        let mesh = named("meshName")?.or_else(|| settings.mesh.clone());
        mesh.ok_or_else(|| document.fault("meshName is required; or give it with --mesh NAME"))
    };
    Ok(match kind {
        Kind::Mesh => Collection::Meshes,
        Kind::VirtualNode => Collection::VirtualNodes(mesh()?),
        Kind::VirtualService => Collection::VirtualServices(mesh()?),
        Kind::VirtualRouter => Collection::VirtualRouters(mesh()?),
        Kind::Route => Collection::Routes { mesh: mesh()?, router: parent("virtualRouterName")? },
        Kind::VirtualGateway => Collection::VirtualGateways(mesh()?),
        Kind::GatewayRoute => {
            Collection::GatewayRoutes { mesh: mesh()?, gateway: parent("virtualGatewayName")? }
        }
    })
}

fn parsed(node: &Node, member: &str) -> Result<ResourceName, Fault> {
    node.text()?.parse().map_err(|error| node.fault(format!("{member}: {error}")))
}

/// The inputs that create a bundle's resources, in an order in which they can be given.
pub(crate) fn write(bundle: &Bundle) -> Vec<Value> {
    let mut resources: Vec<&Resource> = bundle.resources.values().collect();
    resources.sort_by_key(|resource| crate::plan::rank(resource.document.key()));
    resources.into_iter().map(written).collect()
}

fn written(resource: &Resource) -> Value {
    let key = resource.document.key();
    let mut object = Map::new();
    object.insert("meshName".into(), key.mesh().as_str().into());
    match key {
        Key::Route { router, .. } => drop(object.insert("virtualRouterName".into(), router.as_str().into())),
        Key::GatewayRoute { gateway, .. } => {
            drop(object.insert("virtualGatewayName".into(), gateway.as_str().into()));
        }
        Key::Mesh(_)
        | Key::VirtualNode { .. }
        | Key::VirtualService { .. }
        | Key::VirtualRouter { .. }
        | Key::VirtualGateway { .. } => {}
    }
    let member =
        BY_NAME.iter().find(|(kind, _)| *kind == key.kind()).map_or("meshName", |(_, member)| *member);
    object.insert(member.into(), key.name().into());
    let spec = compare::spec(&resource.document);
    object.insert("spec".into(), spelled(&spec, &shape::spec(key.kind()), Spelling::Api, None));
    if let Some(tags) = resource.tags.as_ref().filter(|tags| !tags.is_empty()) {
        let tags = tags.iter().map(|(key, value)| json!({"key": key, "value": value}));
        object.insert("tags".into(), tags.collect());
    }
    Value::Object(object)
}
