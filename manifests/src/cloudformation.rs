//! CloudFormation templates: `AWS::AppMesh::*` resources and what they refer to, and nothing else.
//!
//! Only what those resources need is evaluated, so a template may hold whatever else it likes. A value that only
//! a deployed stack knows is refused by name until a flag gives it.

mod attribute;
mod condition;
mod function;
mod parameter;
mod template;
mod write;

use std::cell::Cell;

use signet_controlplane::model::key::{Collection, Kind};

use self::template::{Declared, Template};
pub(crate) use self::write::write;
use crate::{
    input::Settings,
    node::{Content, Entry, Node},
    place::{Fault, Note},
    resource::{self, Bundle, Draft, Resource},
    shape::Spelling,
    spell::{Reader, unknown_member},
};

/// Deepest nesting of values, functions and references in one another.
const MAX_DEPTH: usize = 300;
/// Most evaluations for one template: more than a file can have values, several times over.
const MAX_STEPS: usize = 5_000_000;

/// Whether a document is a template.
pub(crate) fn is_template(document: &Node) -> bool {
    document.get("AWSTemplateFormatVersion").is_some()
        || document.get("Resources").is_some_and(|resources| matches!(resources.content, Content::Map(_)))
}

/// Adds a template's resources to a bundle, or its faults to a list. Returns the names of its parameters.
pub(crate) fn read(
    document: &Node,
    settings: &Settings,
    bundle: &mut Bundle,
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let template = match Template::read(document) {
        Ok(template) => template,
        Err(fault) => {
            faults.push(fault);
            return Vec::new();
        }
    };
    let evaluator = Evaluator { template: &template, settings, depth: Cell::new(0), steps: Cell::new(0) };
    for declared in template.resources.values() {
        let Some(kind) = declared.kind() else { continue };
        let read = evaluator.resource(declared, kind, &mut bundle.notes);
        let added = read.and_then(|resource| resource.map_or(Ok(()), |resource| bundle.add(resource)));
        faults.extend(added.err().map(|fault| fault.of(declared.logical_id)));
    }
    let skipped = template.resources.values().filter(|declared| declared.kind().is_none());
    bundle.notes.extend(skipped.map(|declared| {
        declared.place.note(format!("{} is {}, which is left out", declared.logical_id, declared.type_name))
    }));
    template.parameters.keys().map(|name| (*name).to_owned()).collect()
}

/// Makes plain trees of trees with functions.
struct Evaluator<'a> {
    template: &'a Template<'a>,
    settings: &'a Settings,
    depth: Cell<usize>,
    steps: Cell<usize>,
}

impl Evaluator<'_> {
    /// A value without functions, `None` where it comes to `AWS::NoValue`.
    fn value(&self, node: &Node) -> Result<Option<Node>, Fault> {
        self.guarded(node, || {
            if let Some((name, argument)) = function::of(node) {
                return self.call(&name, argument.as_ref(), node);
            }
            let content = match &node.content {
                Content::Scalar(scalar) if scalar.text.contains("{{resolve:") => {
                    let what = "a dynamic reference is resolved by AWS alone; write its value, or pass it as a parameter";
                    return Err(node.fault(what));
                }
                Content::Scalar(scalar) => Content::Scalar(scalar.clone()),
                Content::List(items) => {
                    let items = items.iter().filter_map(|item| self.value(item).transpose());
                    Content::List(items.collect::<Result<_, _>>()?)
                }
                Content::Map(entries) => {
                    let entries = entries.iter().filter_map(|entry| {
                        let value = self.value(&entry.value).transpose()?;
                        let entry = |value| Entry { key: entry.key.clone(), place: entry.place.clone(), value };
                        Some(value.map(entry))
                    });
                    Content::Map(entries.collect::<Result<_, _>>()?)
                }
            };
            Ok(Some(Node { place: node.place.clone(), tag: None, content }))
        })
    }

    /// A value that must be a text.
    fn text(&self, node: &Node) -> Result<String, Fault> {
        let value = self.value(node)?.ok_or_else(|| node.fault("must be a text, not AWS::NoValue"))?;
        // It is said where the template says it, not where a parameter's default is.
        value.text_or_empty().map_err(|fault| node.fault(fault.what))
    }

    /// Bounds what a template can make its reader do.
    fn guarded<T>(&self, node: &Node, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let (depth, steps) = (self.depth.get() + 1, self.steps.get() + 1);
        if depth > MAX_DEPTH {
            return Err(node.fault("refers to itself, or nests functions too deeply"));
        }
        if steps > MAX_STEPS {
            return Err(node.fault("the template takes too many steps to evaluate"));
        }
        self.depth.set(depth);
        self.steps.set(steps);
        let done = work();
        self.depth.set(depth - 1);
        done
    }

    fn resource(
        &self,
        declared: &Declared<'_>,
        kind: Kind,
        notes: &mut Vec<Note>,
    ) -> Result<Option<Resource>, Fault> {
        self.check_dependencies(declared)?;
        if let Some(condition) = declared.condition
            && !self.condition(condition.text()?, condition)?
        {
            return Ok(None);
        }
        self.check_properties(declared, kind)?;
        if let Some(owner) = declared.property("MeshOwner") {
            let owner_id = self.text(owner)?;
            if owner_id != self.settings.account_id {
                let what = format!("MeshOwner {owner_id} is left out: every mesh here is the server's own");
                notes.push(owner.place.note(what));
            }
        }
        let tags = declared.property("Tags").map(|tags| self.value(tags)).transpose()?.flatten();
        let spec = declared.property("Spec").map(|spec| self.value(spec)).transpose()?.flatten();
        if spec.is_none() && kind != Kind::Mesh {
            return Err(declared.place.fault("Properties.Spec is required"));
        }
        let (name, place) = self.name_of(declared, kind)?;
        let draft = Draft {
            collection: self.collection(declared, kind)?,
            name: (name, place),
            spec: spec.as_ref(),
            tags: tags.map(|tags| resource::tags(&tags, "Key", "Value")).transpose()?,
            place: declared.place.clone(),
            trust_domain: self.settings.trust_domain.as_ref(),
        };
        draft.judge(&Reader { spelling: Spelling::CloudFormation, references: None }).map(Some)
    }

    fn check_dependencies(&self, declared: &Declared<'_>) -> Result<(), Fault> {
        let Some(depends) = declared.depends_on else { return Ok(()) };
        let names = match &depends.content {
            Content::List(items) => items.iter().collect(),
            Content::Scalar(_) | Content::Map(_) => vec![depends],
        };
        for name in names {
            let id = name.text()?;
            if !self.template.resources.contains_key(id) {
                return Err(
                    name.fault(format!("DependsOn names {id}, which is no resource of this template"))
                );
            }
        }
        Ok(())
    }

    fn check_properties(&self, declared: &Declared<'_>, kind: Kind) -> Result<(), Fault> {
        let Some(properties) = declared.properties else { return Ok(()) };
        let mut known: Vec<String> = ["MeshName", "Spec", "Tags"].map(str::to_owned).into();
        known.extend((kind != Kind::Mesh).then(|| "MeshOwner".to_owned()));
        known.extend(attribute::parent_property(kind).map(str::to_owned));
        known.push(attribute::name_property(kind).to_owned());
        let unknown = properties.entries()?.iter().find(|entry| !known.contains(&entry.key));
        unknown.map_or(Ok(()), |entry| Err(unknown_member(entry, &known)))
    }

    fn collection(&self, declared: &Declared<'_>, kind: Kind) -> Result<Collection, Fault> {
        if kind == Kind::Mesh {
            return Ok(Collection::Meshes);
        }
        let mesh = self.name_property(declared, "MeshName")?;
        Ok(match kind {
            Kind::Mesh => Collection::Meshes,
            Kind::VirtualNode => Collection::VirtualNodes(mesh),
            Kind::VirtualService => Collection::VirtualServices(mesh),
            Kind::VirtualRouter => Collection::VirtualRouters(mesh),
            Kind::VirtualGateway => Collection::VirtualGateways(mesh),
            Kind::Route => {
                Collection::Routes { mesh, router: self.name_property(declared, "VirtualRouterName")? }
            }
            Kind::GatewayRoute => Collection::GatewayRoutes {
                mesh,
                gateway: self.name_property(declared, "VirtualGatewayName")?,
            },
        })
    }

    /// The name of what a resource lives under.
    fn name_property(
        &self,
        declared: &Declared<'_>,
        property: &str,
    ) -> Result<signet_policies::identity::ResourceName, Fault> {
        let Some(node) = declared.property(property) else {
            return Err(declared.place.fault(format!("Properties.{property} is required")));
        };
        let text = self.text(node)?;
        let hint = if text.starts_with("arn:") {
            format!("; !Ref gives an ARN, and !GetAtt X.{property} the name")
        } else {
            String::new()
        };
        text.parse().map_err(|error| node.fault(format!("{property}: {error}{hint}")))
    }
}
