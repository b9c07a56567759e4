//! A bundle as manifests. `awsName` is always said, so that names survive whatever Kubernetes allows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use signet_controlplane::model::key::{Collection, Key, Kind};
use signet_policies::identity::ResourceName;

use super::{API_VERSION, ROUTE_TAGS, TAGS, object::MESH_DISCOVERY};
use crate::{
    compare,
    input::Settings,
    plan,
    resource::{Bundle, Resource, Tags},
    shape::{self, Spelling, reference},
    spell::{Referrer, spelled},
};

/// The objects that declare a bundle's resources, in a namespace.
pub(crate) fn write(bundle: &Bundle, settings: &Settings, namespace: &str) -> Vec<Value> {
    let mut resources: Vec<&Resource> = bundle.resources.values().collect();
    resources.sort_by_key(|resource| plan::rank(resource.document.key()));
    let names = object_names(&resources);
    let writer = Writer { bundle, settings, namespace, names };
    let is_object = |resource: &&Resource| resource.document.key().kind() != Kind::Route;
    resources.into_iter().filter(is_object).map(|resource| writer.object(resource)).collect()
}

struct Writer<'a> {
    bundle: &'a Bundle,
    settings: &'a Settings,
    namespace: &'a str,
    /// `metadata.name` of each.
    names: BTreeMap<Key, String>,
}

/// References of what is in a mesh.
struct InMesh<'a> {
    writer: &'a Writer<'a>,
    mesh: &'a ResourceName,
}

impl Writer<'_> {
    fn name_of<'s>(&'s self, key: &'s Key) -> &'s str {
        self.names.get(key).map_or(key.name(), String::as_str)
    }

    fn object(&self, resource: &Resource) -> Value {
        let key = resource.document.key();
        let mut spec = Map::new();
        spec.insert("awsName".into(), key.name().into());
        if key.kind() != Kind::Mesh {
            spec.insert("meshRef".into(), json!({"name": self.name_of(&Key::Mesh(key.mesh().clone()))}));
        }
        if let Key::GatewayRoute { mesh, gateway, .. } = key {
            let gateway = Key::VirtualGateway { mesh: mesh.clone(), name: gateway.clone() };
            spec.insert("virtualGatewayRef".into(), json!({"name": self.name_of(&gateway)}));
        }
        if let Value::Object(members) = self.spec(resource) {
            let renamed = |name: String| match (key.kind(), name.as_str()) {
                (Kind::Mesh, "serviceDiscovery") => MESH_DISCOVERY.to_owned(),
                _ => name,
            };
            spec.extend(members.into_iter().map(|(name, value)| (renamed(name), value)));
        }
        let mut route_tags = BTreeMap::new();
        if let Key::VirtualRouter { mesh, name } = key {
            let routes = self
                .routes(&Collection::Routes { mesh: mesh.clone(), router: name.clone() }, &mut route_tags);
            spec.insert("routes".into(), routes);
        }
        let metadata = self.metadata(resource, &route_tags);
        json!({"apiVersion": API_VERSION, "kind": key.kind().as_str(), "metadata": metadata, "spec": spec})
    }

    fn metadata(&self, resource: &Resource, route_tags: &BTreeMap<&str, &Tags>) -> Value {
        let key = resource.document.key();
        let mut metadata = Map::new();
        metadata.insert("name".into(), self.name_of(key).into());
        if key.kind() != Kind::Mesh {
            metadata.insert("namespace".into(), self.namespace.into());
        }
        let mut annotations = Map::new();
        if let Some(tags) = resource.tags.as_ref().filter(|tags| !tags.is_empty()) {
            annotations.insert(TAGS.into(), json!(tags).to_string().into());
        }
        if !route_tags.is_empty() {
            annotations.insert(ROUTE_TAGS.into(), json!(route_tags).to_string().into());
        }
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), Value::Object(annotations));
        }
        Value::Object(metadata)
    }

    fn routes<'b>(&'b self, collection: &Collection, tags: &mut BTreeMap<&'b str, &'b Tags>) -> Value {
        let routes =
            self.bundle.resources.values().filter(|route| route.document.key().collection() == *collection);
        let mut written = Vec::new();
        for route in routes {
            let name = route.document.key().name();
            tags.extend(route.tags.as_ref().filter(|tags| !tags.is_empty()).map(|tags| (name, tags)));
            let mut object = Map::new();
            object.insert("name".into(), name.into());
            if let Value::Object(members) = self.spec(route) {
                object.extend(members);
            }
            written.push(Value::Object(object));
        }
        Value::Array(written)
    }

    fn spec(&self, resource: &Resource) -> Value {
        let key = resource.document.key();
        let in_mesh = InMesh { writer: self, mesh: key.mesh() };
        let spec = compare::spec(&resource.document);
        spelled(&spec, &shape::spec(key.kind()), Spelling::Kubernetes, Some(&in_mesh))
    }
}

impl Referrer for InMesh<'_> {
    fn refer(&self, kind: Kind, name: &str) -> (String, Value) {
        let (by_object, by_arn) = reference(kind);
        let collection = match kind {
            Kind::VirtualService => Collection::VirtualServices(self.mesh.clone()),
            Kind::VirtualRouter => Collection::VirtualRouters(self.mesh.clone()),
            Kind::VirtualNode | Kind::Mesh | Kind::Route | Kind::VirtualGateway | Kind::GatewayRoute => {
                Collection::VirtualNodes(self.mesh.clone())
            }
        };
        let known = collection.key(name).ok().and_then(|key| self.writer.names.get(&key));
        match known {
            Some(object) => (by_object, json!({"name": object})),
            // A backend may name a service that does not exist.
            None => {
                let mesh = Key::Mesh(self.mesh.clone());
                let arn = format!("{}/{}/{name}", self.writer.settings.arn(&mesh), kind.arn_segment());
                (by_arn, arn.into())
            }
        }
    }
}

/// Names that Kubernetes takes, no two objects of a kind alike.
fn object_names(resources: &[&Resource]) -> BTreeMap<Key, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for key in
        resources.iter().map(|resource| resource.document.key()).filter(|key| key.kind() != Kind::Route)
    {
        let base = dns_name(key.name());
        let numbered = (2..).map(|number: u64| format!("{base}-{number}"));
        let mut candidates = std::iter::once(base.clone()).chain(numbered);
        let free = candidates.find(|name| taken.insert((key.kind(), name.clone()))).unwrap_or(base);
        names.insert(key.clone(), free);
    }
    names
}

/// Lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of every part.
fn dns_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let allowed: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .take(200)
        .collect();
    let parts: Vec<&str> =
        allowed.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "x".to_owned() } else { parts.join(".") }
}
