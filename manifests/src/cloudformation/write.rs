//! A bundle as a template.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use signet_controlplane::model::key::{Key, Kind};

use super::attribute::name_property;
use crate::{
    compare, plan,
    resource::{Bundle, Resource},
    shape::{self, Spelling},
    spell::spelled,
};

/// The template that declares a bundle's resources. Names are written out, so that it needs no parameter.
pub(crate) fn write(bundle: &Bundle) -> Value {
    let mut resources: Vec<&Resource> = bundle.resources.values().collect();
    resources.sort_by_key(|resource| plan::rank(resource.document.key()));
    let (mut declared, mut taken) = (Map::new(), BTreeSet::new());
    for resource in resources {
        declared.insert(logical_id(resource.document.key(), &mut taken), written(resource));
    }
    json!({"AWSTemplateFormatVersion": "2010-09-09", "Resources": declared})
}

fn written(resource: &Resource) -> Value {
    let key = resource.document.key();
    let mut properties = Map::new();
    properties.insert("MeshName".into(), key.mesh().as_str().into());
    match key {
        Key::Route { router, .. } => {
            drop(properties.insert("VirtualRouterName".into(), router.as_str().into()))
        }
        Key::GatewayRoute { gateway, .. } => {
            drop(properties.insert("VirtualGatewayName".into(), gateway.as_str().into()));
        }
        Key::Mesh(_)
        | Key::VirtualNode { .. }
        | Key::VirtualService { .. }
        | Key::VirtualRouter { .. }
        | Key::VirtualGateway { .. } => {}
    }
    properties.insert(name_property(key.kind()).into(), key.name().into());
    let spec = compare::spec(&resource.document);
    properties
        .insert("Spec".into(), spelled(&spec, &shape::spec(key.kind()), Spelling::CloudFormation, None));
    if let Some(tags) = resource.tags.as_ref().filter(|tags| !tags.is_empty()) {
        let tags = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value}));
        properties.insert("Tags".into(), tags.collect());
    }
    json!({"Type": format!("AWS::AppMesh::{}", key.kind()), "Properties": properties})
}

/// Letters and digits alone, and no two alike: `VirtualNodeServiceA`.
fn logical_id(key: &Key, taken: &mut BTreeSet<String>) -> String {
    let mut id = key.kind().as_str().to_owned();
    let parent = match key {
        Key::Route { router, .. } => router.as_str(),
        Key::GatewayRoute { gateway, .. } => gateway.as_str(),
        Key::Mesh(_)
        | Key::VirtualNode { .. }
        | Key::VirtualService { .. }
        | Key::VirtualRouter { .. }
        | Key::VirtualGateway { .. } => "",
    };
    let name = if key.kind() == Kind::Mesh { key.mesh().as_str() } else { key.name() };
    let words = [parent, name].into_iter().flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric()));
    for word in words {
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    id.truncate(240);
    let numbered = (2..).map(|number: u64| format!("{id}{number}"));
    let free = std::iter::once(id.clone()).chain(numbered).find(|id| !taken.contains(id)).unwrap_or(id);
    taken.insert(free.clone());
    free
}
