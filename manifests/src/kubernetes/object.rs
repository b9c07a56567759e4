//! Objects as they stand in manifests, before they are resources.

use std::{collections::BTreeMap, fmt};

use signet_controlplane::model::key::Kind;

use super::GROUP;
use crate::{
    node::{Content, Node},
    place::{Fault, Note, Place},
    resource::{Tags, check_tags},
    shape::{self, Shape},
    spell::unknown_member,
};

/// Kubernetes' default.
pub(super) const DEFAULT_NAMESPACE: &str = "default";
/// How the CRD of meshes calls `serviceDiscovery`.
pub(super) const MESH_DISCOVERY: &str = "meshServiceDiscovery";

/// Members of specs that say which objects belong together. Signet has no pods to select.
const SELECTORS: [&str; 3] = ["podSelector", "namespaceSelector", "gatewayRouteSelector"];
/// Members of specs that are not the API's.
const SELECTION: [&str; 6] =
    ["awsName", "meshRef", "virtualGatewayRef", "meshOwner", "backendGroups", "routes"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObjectKind {
    Resource(Kind),
    BackendGroup,
}

/// An object of App Mesh's group.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    pub(super) kind: ObjectKind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) metadata: Option<&'a Node>,
    pub(super) spec: Option<&'a Node>,
    pub(super) place: Place,
}

/// All objects of an input, and the labels of its namespaces.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    pub(super) objects: Vec<Object<'a>>,
    /// Where in `objects`, by kind, namespace and name.
    index: BTreeMap<(ObjectKind, String, String), usize>,
    pub(super) namespaces: BTreeMap<String, Labels>,
}

pub(super) type Labels = BTreeMap<String, String>;

impl ObjectKind {
    pub(super) fn resource(self) -> Option<Kind> {
        match self {
            Self::Resource(kind) => Some(kind),
            Self::BackendGroup => None,
        }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.resource().map_or("BackendGroup", Kind::as_str);
        write!(f, "{kind} {}", self.name)
    }
}

impl<'a> Found<'a> {
    /// Takes an object in, or the items of a list.
    pub(super) fn collect(&mut self, document: &'a Node, notes: &mut Vec<Note>) -> Result<(), Fault> {
        let (version, kind) = (text_of(document, "apiVersion")?, text_of(document, "kind")?);
        if let Some(items) = document.get("items").filter(|_| kind.ends_with("List")) {
            return items.items()?.iter().try_for_each(|item| {
                if super::is_object(item) {
                    return self.collect(item, notes);
                }
                Err(item.fault("an item of a list has apiVersion and kind"))
            });
        }
        let metadata = document.get("metadata");
        let member = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        if !version.starts_with(GROUP) {
            match member("name") {
                Some(name) if kind == "Namespace" => {
                    self.namespaces.insert(name.text()?.to_owned(), labels(metadata)?);
                }
                _ => notes.push(document.place.note(format!("{kind} ({version}) is left out"))),
            }
            return Ok(());
        }
        if version != super::API_VERSION {
            return Err(document.fault(format!("{version} is not known; it must be {}", super::API_VERSION)));
        }
        let of_kind = |known: &Kind| *known != Kind::Route && known.as_str() == kind;
        let kind = match Kind::ALL.into_iter().find(of_kind) {
            Some(kind) => ObjectKind::Resource(kind),
            None if kind == "BackendGroup" => ObjectKind::BackendGroup,
            None => return Err(document.fault(format!("{version} has no kind {kind}"))),
        };
        let name = member("name").ok_or_else(|| document.fault("metadata.name is required"))?;
        let namespace = member("namespace").map_or(Ok(DEFAULT_NAMESPACE), Node::text)?;
        // A second one of a name is a fault, which `check_names` finds.
        let at = (kind, scope(kind, namespace).to_owned(), name.text()?.to_owned());
        self.index.entry(at).or_insert(self.objects.len());
        self.objects.push(Object {
            kind,
            namespace: namespace.to_owned(),
            name: name.text()?.to_owned(),
            metadata,
            spec: document.get("spec"),
            place: document.place.clone(),
        });
        Ok(())
    }

    /// Two objects of one name would make references say either.
    pub(super) fn check_names(&self) -> Vec<Fault> {
        let mut seen: BTreeMap<(ObjectKind, &str, &str), &Place> = BTreeMap::new();
        let twice = |object: &Object<'a>, first: &Place| {
            object.place.fault(format!("{object} is at {first} already"))
        };
        let mut faults = Vec::new();
        for object in &self.objects {
            let namespace = scope(object.kind, &object.namespace);
            match seen.get(&(object.kind, namespace, object.name.as_str())) {
                Some(first) => faults.push(twice(object, first)),
                None => drop(seen.insert((object.kind, namespace, object.name.as_str()), &object.place)),
            }
        }
        faults
    }

    pub(super) fn find(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<&Object<'a>> {
        let at = (kind, scope(kind, namespace).to_owned(), name.to_owned());
        self.index.get(&at).and_then(|index| self.objects.get(*index))
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object<'a>> {
        self.objects.iter().filter(move |object| object.kind == ObjectKind::Resource(kind))
    }
}

impl Object<'_> {
    /// The name in App Mesh.
    pub(super) fn aws_name(&self) -> Result<String, Fault> {
        let given = self.spec.and_then(|spec| spec.get("awsName")).map(Node::text).transpose()?;
        Ok(match (given.filter(|name| !name.is_empty()), self.kind) {
            (Some(name), _) => name.to_owned(),
            (None, ObjectKind::Resource(kind)) => default_aws_name(kind, &self.name, &self.namespace),
            (None, ObjectKind::BackendGroup) => self.name.clone(),
        })
    }

    pub(super) fn labels(&self) -> Result<Labels, Fault> {
        labels(self.metadata)
    }

    /// Says which members have no effect here.
    pub(super) fn note_selectors(&self, notes: &mut Vec<Note>) {
        let Some(Content::Map(entries)) = self.spec.map(|spec| &spec.content) else { return };
        for entry in entries {
            let why = match entry.key.as_str() {
                "podSelector" => "an Envoy says itself which virtual node or gateway it is",
                "meshOwner" => "every mesh here is the server's own",
                _ => continue,
            };
            notes.push(entry.place.note(format!("{self}: {} is left out: {why}", entry.key)));
        }
    }

    /// The spec without the members that are not the API's.
    pub(super) fn without_selection(&self, spec: &Node) -> Result<Node, Fault> {
        let is_known = |key: &str| SELECTORS.contains(&key) || SELECTION.contains(&key);
        let kept = spec.entries()?.iter().filter(|entry| !is_known(&entry.key)).cloned();
        Ok(Node { place: spec.place.clone(), tag: spec.tag.clone(), content: Content::Map(kept.collect()) })
    }

    /// Tags that an annotation keeps, as JSON.
    pub(super) fn tags(&self, annotation: &str) -> Result<Option<Tags>, Fault> {
        let Some(node) = self.annotation(annotation) else { return Ok(None) };
        let wrong =
            || node.fault(format!("the annotation {annotation} holds JSON such as {{\"key\": \"value\"}}"));
        let tags: Tags = serde_json::from_str(node.text()?).map_err(|_| wrong())?;
        check_tags(node, &tags)?;
        Ok(Some(tags))
    }

    /// Tags of a router's routes, by the route's name, which must be one of `routes`.
    pub(super) fn route_tags(
        &self,
        annotation: &str,
        routes: &[&str],
    ) -> Result<BTreeMap<String, Tags>, Fault> {
        let Some(node) = self.annotation(annotation) else { return Ok(BTreeMap::new()) };
        let wrong = || {
            let form = "{\"route\": {\"key\": \"value\"}}";
            node.fault(format!("the annotation {annotation} holds JSON such as {form}"))
        };
        let read: BTreeMap<String, Tags> = serde_json::from_str(node.text()?).map_err(|_| wrong())?;
        if let Some(name) = read.keys().find(|name| !routes.contains(&name.as_str())) {
            let what =
                format!("the annotation {annotation} has tags for {name:?}, which is none of the routes");
            return Err(node.fault(what));
        }
        read.values().try_for_each(|tags| check_tags(node, tags))?;
        Ok(read)
    }

    fn annotation(&self, name: &str) -> Option<&Node> {
        self.metadata?.get("annotations")?.get(name)
    }
}

/// The namespace of a name; meshes are of the whole cluster.
fn scope(kind: ObjectKind, namespace: &str) -> &str {
    if kind == ObjectKind::Resource(Kind::Mesh) { "" } else { namespace }
}

/// The controller's names.
pub(super) fn default_aws_name(kind: Kind, name: &str, namespace: &str) -> String {
    match kind {
        Kind::Mesh | Kind::Route => name.to_owned(),
        Kind::VirtualService => format!("{name}.{namespace}"),
        Kind::VirtualNode | Kind::VirtualRouter | Kind::VirtualGateway | Kind::GatewayRoute => {
            format!("{name}_{namespace}")
        }
    }
}

/// Namespace and name of `{name, namespace}`.
pub(super) fn reference(node: &Node, own_namespace: &str) -> Result<(String, String), Fault> {
    let known = ["name", "namespace", "uid"].map(str::to_owned);
    if let Some(entry) = node.entries()?.iter().find(|entry| !known.contains(&entry.key)) {
        return Err(unknown_member(entry, &known));
    }
    let name = node.get("name").ok_or_else(|| node.fault("a reference has a name"))?;
    let namespace = node.get("namespace").map_or(Ok(own_namespace), Node::text)?;
    Ok((namespace.to_owned(), name.text()?.to_owned()))
}

/// The API's shape, but for the mesh's one member with another name.
pub(super) fn spec_shape(kind: Kind) -> Shape {
    if kind == Kind::Mesh { MESH } else { shape::spec(kind) }
}

const MESH: Shape = Shape::Object(&[
    ("egressFilter", Shape::Object(&[("type", Shape::Text)])),
    (MESH_DISCOVERY, Shape::Object(&[("ipPreference", Shape::Text)])),
]);

fn text_of<'n>(document: &'n Node, member: &str) -> Result<&'n str, Fault> {
    document.get(member).ok_or_else(|| document.fault(format!("{member} is required")))?.text()
}

fn labels(metadata: Option<&Node>) -> Result<Labels, Fault> {
    let Some(labels) = metadata.and_then(|metadata| metadata.get("labels")) else { return Ok(Labels::new()) };
    labels.entries()?.iter().map(|entry| Ok((entry.key.clone(), entry.value.text_or_empty()?))).collect()
}
