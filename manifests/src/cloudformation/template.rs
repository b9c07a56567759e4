//! The sections of a template, by name.

use std::collections::BTreeMap;

use signet_controlplane::model::key::Kind;

use crate::{
    node::Node,
    place::{Fault, Place},
};

/// What every App Mesh type starts with.
const PREFIX: &str = "AWS::AppMesh::";

#[derive(Debug)]
pub(super) struct Template<'a> {
    pub(super) parameters: BTreeMap<&'a str, &'a Node>,
    pub(super) mappings: BTreeMap<&'a str, &'a Node>,
    pub(super) conditions: BTreeMap<&'a str, &'a Node>,
    pub(super) resources: BTreeMap<&'a str, Declared<'a>>,
}

/// A resource as the template declares it.
#[derive(Debug)]
pub(super) struct Declared<'a> {
    pub(super) logical_id: &'a str,
    pub(super) type_name: &'a str,
    pub(super) condition: Option<&'a Node>,
    pub(super) depends_on: Option<&'a Node>,
    pub(super) properties: Option<&'a Node>,
    pub(super) place: Place,
}

impl<'a> Template<'a> {
    pub(super) fn read(document: &'a Node) -> Result<Self, Fault> {
        let mut resources = BTreeMap::new();
        if let Some(section) = document.get("Resources") {
            for entry in section.entries()? {
                let name = entry.key.as_str();
                if name.starts_with("Fn::") {
                    return Err(entry.place.fault(format!("{name} is a macro, which AWS alone expands")));
                }
                let type_name =
                    entry.value.get("Type").ok_or_else(|| entry.place.fault("a resource has a Type"));
                let declared = Declared {
                    logical_id: name,
                    type_name: type_name?.text()?,
                    condition: entry.value.get("Condition"),
                    depends_on: entry.value.get("DependsOn"),
                    properties: entry.value.get("Properties"),
                    place: entry.place.clone(),
                };
                if declared.type_name.starts_with(PREFIX) && declared.kind().is_none() {
                    return Err(entry.place.fault(format!("{} is no App Mesh type", declared.type_name)));
                }
                resources.insert(name, declared);
            }
        }
        Ok(Self {
            parameters: section(document, "Parameters")?,
            mappings: section(document, "Mappings")?,
            conditions: section(document, "Conditions")?,
            resources,
        })
    }
}

impl<'a> Declared<'a> {
    /// Which of App Mesh's kinds it is, if any.
    pub(super) fn kind(&self) -> Option<Kind> {
        let name = self.type_name.strip_prefix(PREFIX)?;
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(super) fn property(&self, name: &str) -> Option<&'a Node> {
        self.properties?.get(name)
    }
}

fn section<'a>(document: &'a Node, name: &str) -> Result<BTreeMap<&'a str, &'a Node>, Fault> {
    let Some(section) = document.get(name) else { return Ok(BTreeMap::new()) };
    Ok(section.entries()?.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect())
}
