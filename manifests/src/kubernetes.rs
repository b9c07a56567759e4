//! Kubernetes manifests of `appmesh.k8s.aws/v1beta2`, as App Mesh's controller took them.

mod object;
mod selection;
mod write;

use serde_json::Value;
use signet_controlplane::model::key::{Collection, Kind};

pub(crate) use self::write::write;
use self::{
    object::{Found, Object},
    selection::Selection,
};
use crate::{
    input::Settings,
    node::{Content, Node},
    place::Fault,
    resource::{Bundle, Draft, Resource},
    shape::Spelling,
    spell::{Reader, References},
};

/// The group of App Mesh's kinds.
const GROUP: &str = "appmesh.k8s.aws/";
/// Their one version.
const API_VERSION: &str = "appmesh.k8s.aws/v1beta2";
/// Annotations that keep what the CRDs have no member for: a resource's tags, and those of a router's routes.
const TAGS: &str = "signet/tags";
const ROUTE_TAGS: &str = "signet/route-tags";

/// Whether a document is a manifest, of whatever kind.
pub(crate) fn is_object(document: &Node) -> bool {
    document.get("apiVersion").is_some() && document.get("kind").is_some()
}

/// Adds the resources of all manifests to a bundle, or their faults to a list.
pub(crate) fn read(documents: &[&Node], settings: &Settings, bundle: &mut Bundle, faults: &mut Vec<Fault>) {
    let mut found = Found::default();
    for document in documents {
        faults.extend(found.collect(document, &mut bundle.notes).err());
    }
    faults.extend(found.check_names());
    let names = Names { found: &found, settings };
    let selection = Selection { found: &found, settings };
    for object in &found.objects {
        let read = resources(object, &names, &selection, bundle);
        faults.extend(read.err());
    }
}

/// The resources that one object comes to: a router comes with its routes, a group of backends is none.
fn resources(
    object: &Object<'_>,
    names: &Names<'_>,
    selection: &Selection<'_>,
    bundle: &mut Bundle,
) -> Result<(), Fault> {
    let Some(kind) = object.kind.resource() else { return Ok(()) };
    object.note_selectors(&mut bundle.notes);
    let whose = object.to_string();
    let of_whose = |fault: Fault| fault.of(&whose);
    let name = object.aws_name().map_err(of_whose)?;
    let collection = match kind {
        Kind::Mesh => Collection::Meshes,
        Kind::VirtualNode => Collection::VirtualNodes(selection.mesh(object)?),
        Kind::VirtualService => Collection::VirtualServices(selection.mesh(object)?),
        Kind::VirtualRouter => Collection::VirtualRouters(selection.mesh(object)?),
        Kind::VirtualGateway => Collection::VirtualGateways(selection.mesh(object)?),
        Kind::GatewayRoute => {
            Collection::GatewayRoutes { mesh: selection.mesh(object)?, gateway: selection.gateway(object)? }
        }
        Kind::Route => return Ok(()),
    };
    let mut route_collection = None;
    if kind == Kind::VirtualRouter
        && let Collection::VirtualRouters(mesh) = &collection
    {
        let router = name.parse().map_err(|error| of_whose(object.place.fault(format!("{error}"))))?;
        route_collection = Some(Collection::Routes { mesh: mesh.clone(), router });
    }
    let resource = own(object, kind, collection, name, names).map_err(of_whose)?;
    bundle.add(resource).map_err(of_whose)?;
    match route_collection {
        Some(collection) => routes(object, &collection, names, bundle).map_err(of_whose),
        None => Ok(()),
    }
}

/// The resource itself.
fn own(
    object: &Object<'_>,
    kind: Kind,
    collection: Collection,
    name: String,
    names: &Names<'_>,
) -> Result<Resource, Fault> {
    let namespaced = Namespaced { names, namespace: &object.namespace };
    let reader = Reader { spelling: Spelling::Kubernetes, references: Some(&namespaced) };
    // What says which objects belong together is no part of the API's spec.
    let spec = object.spec.map(|spec| object.without_selection(spec)).transpose()?;
    let shape = object::spec_shape(kind);
    let mut json = spec.as_ref().map(|spec| reader.json(spec, &shape)).transpose()?.flatten();
    if let Some(Value::Object(members)) = &mut json {
        if let Some(discovery) = members.remove(object::MESH_DISCOVERY) {
            members.insert("serviceDiscovery".into(), discovery);
        }
        let groups = names.backends(object)?;
        if !groups.is_empty() {
            let backends = members.entry("backends").or_insert_with(|| Value::Array(Vec::new()));
            add_backends(backends, groups);
        }
    }
    let draft = Draft {
        collection,
        name: (name, object.place.clone()),
        spec: spec.as_ref(),
        tags: object.tags(TAGS)?,
        place: object.place.clone(),
        trust_domain: names.settings.trust_domain.as_ref(),
    };
    draft.judge_json(json, |path, draft| match draft.spec {
        Some(spec) => reader.locate(spec, &shape, path),
        None => draft.place.clone(),
    })
}

/// The routes that a router has inside.
fn routes<'a>(
    object: &Object<'a>,
    collection: &Collection,
    names: &Names<'_>,
    bundle: &mut Bundle,
) -> Result<(), Fault> {
    let routes = object.spec.and_then(|spec| spec.get("routes")).map_or(Ok(&[][..]), Node::items)?;
    let named = |route: &'a Node| route.get("name").ok_or_else(|| route.fault("a route has a name"));
    let all = routes.iter().map(|route| named(route)?.text()).collect::<Result<Vec<_>, _>>()?;
    let mut tags = object.route_tags(ROUTE_TAGS, &all)?;
    let namespaced = Namespaced { names, namespace: &object.namespace };
    let reader = Reader { spelling: Spelling::Kubernetes, references: Some(&namespaced) };
    for route in routes {
        let name = named(route)?;
        let entries = route.entries()?.iter().filter(|entry| entry.key != "name").cloned();
        let spec = Node {
            place: route.place.clone(),
            tag: route.tag.clone(),
            content: Content::Map(entries.collect()),
        };
        let draft = Draft {
            collection: collection.clone(),
            name: (name.text()?.to_owned(), name.place.clone()),
            spec: Some(&spec),
            tags: tags.remove(name.text()?),
            place: route.place.clone(),
            trust_domain: None,
        };
        bundle.add(draft.judge(&reader)?)?;
    }
    Ok(())
}

/// Adds backends of groups, each service once.
fn add_backends(backends: &mut Value, services: Vec<String>) {
    let Value::Array(backends) = backends else { return };
    for service in services {
        let is_there = backends.iter().any(|backend| {
            backend.pointer("/virtualService/virtualServiceName").and_then(Value::as_str) == Some(&service)
        });
        if !is_there {
            backends.push(serde_json::json!({"virtualService": {"virtualServiceName": service}}));
        }
    }
}

/// What objects are called in App Mesh.
struct Names<'a> {
    found: &'a Found<'a>,
    settings: &'a Settings,
}

/// The same, for references of an object in a namespace.
struct Namespaced<'a> {
    names: &'a Names<'a>,
    namespace: &'a str,
}

impl References for Namespaced<'_> {
    fn resolve(&self, kind: Kind, reference: &Node) -> Result<String, Fault> {
        let (namespace, name) = object::reference(reference, self.namespace)?;
        match self.names.found.find(object::ObjectKind::Resource(kind), &namespace, &name) {
            Some(object) => object.aws_name(),
            None => Ok(object::default_aws_name(kind, &name, &namespace)),
        }
    }
}

impl Names<'_> {
    /// The services of the groups that a virtual node names.
    fn backends(&self, object: &Object<'_>) -> Result<Vec<String>, Fault> {
        let Some(groups) = object.spec.and_then(|spec| spec.get("backendGroups")) else {
            return Ok(Vec::new());
        };
        let mut services = Vec::new();
        for group in groups.items()? {
            let (namespace, name) = object::reference(group, &object.namespace)?;
            let Some(found) = self.found.find(object::ObjectKind::BackendGroup, &namespace, &name) else {
                return Err(group.fault(format!("the input has no BackendGroup {namespace}/{name}")));
            };
            let Some(members) = found.spec.and_then(|spec| spec.get("virtualservices")) else { continue };
            let namespaced = Namespaced { names: self, namespace: &found.namespace };
            for service in members.items()? {
                services.push(namespaced.resolve(Kind::VirtualService, service)?);
            }
        }
        Ok(services)
    }
}
