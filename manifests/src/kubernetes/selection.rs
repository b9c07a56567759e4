//! Which mesh an object is in, and which gateway a gateway route belongs to.
//!
//! In a cluster the controller's webhooks decide that by selectors. Here the same selectors are asked about the
//! namespaces and labels that the input itself holds; where they do not decide, a person must.

use signet_controlplane::model::key::Kind;
use signet_policies::identity::ResourceName;

use super::object::{Found, Labels, Object, ObjectKind};
use crate::{input::Settings, node::Node, place::Fault};

pub(super) struct Selection<'a> {
    pub(super) found: &'a Found<'a>,
    pub(super) settings: &'a Settings,
}

impl Selection<'_> {
    /// The mesh of an object: its `meshRef`, the one mesh that selects its namespace, the input's only mesh, or
    /// `--mesh`.
    pub(super) fn mesh(&self, object: &Object<'_>) -> Result<ResourceName, Fault> {
        let name = match object.spec.and_then(|spec| spec.get("meshRef")) {
            Some(reference) => {
                let (_, name) = super::object::reference(reference, "")?;
                let mesh = self.found.find(ObjectKind::Resource(Kind::Mesh), "", &name);
                mesh.map_or(Ok(name), Object::aws_name)?
            }
            None => return self.selected_mesh(object),
        };
        parsed(&name, object)
    }

    fn selected_mesh(&self, object: &Object<'_>) -> Result<ResourceName, Fault> {
        let meshes: Vec<&Object<'_>> = self.found.of_kind(Kind::Mesh).collect();
        let selected = self.selecting(&meshes, |mesh| self.selects_namespace(mesh, object))?;
        match (selected.as_slice(), meshes.as_slice(), &self.settings.mesh) {
            ([mesh], ..) | ([], [mesh], None) => parsed(&mesh.aws_name()?, object),
            (_, _, Some(mesh)) => Ok(mesh.clone()),
            (_, [], None) => Err(object.place.fault(format!(
                "{object} names no mesh and the input has none; say spec.meshRef.name, or give --mesh NAME"
            ))),
            (_, _, None) => Err(object.place.fault(format!(
                "{object} could be in any of {} meshes; say spec.meshRef.name, or give --mesh NAME",
                meshes.len()
            ))),
        }
    }

    /// The gateway of a gateway route, found alike.
    pub(super) fn gateway(&self, object: &Object<'_>) -> Result<ResourceName, Fault> {
        if let Some(reference) = object.spec.and_then(|spec| spec.get("virtualGatewayRef")) {
            let (namespace, name) = super::object::reference(reference, &object.namespace)?;
            let gateway = self.found.find(ObjectKind::Resource(Kind::VirtualGateway), &namespace, &name);
            let default = || super::object::default_aws_name(Kind::VirtualGateway, &name, &namespace);
            return parsed(&gateway.map_or_else(|| Ok(default()), Object::aws_name)?, object);
        }
        let mesh = self.mesh(object)?;
        let mut gateways = Vec::new();
        for gateway in self.found.of_kind(Kind::VirtualGateway) {
            if self.mesh(gateway)? == mesh {
                gateways.push(gateway);
            }
        }
        let selected = self.selecting(&gateways, |gateway| {
            let by_labels = gateway.spec.and_then(|spec| spec.get("gatewayRouteSelector"));
            let labels = object.labels()?;
            let is_selected = by_labels.map_or(Ok(true), |selector| matches(selector, &labels))?;
            Ok(is_selected && self.selects_namespace(gateway, object)?)
        })?;
        match (selected.as_slice(), gateways.as_slice()) {
            ([gateway], _) | ([], [gateway]) => parsed(&gateway.aws_name()?, object),
            ([], []) => Err(object.place.fault(format!(
                "{object} names no gateway and the input has none in its mesh; say spec.virtualGatewayRef"
            ))),
            _ => Err(object.place.fault(format!(
                "{object} could belong to any of {} gateways; say spec.virtualGatewayRef",
                gateways.len()
            ))),
        }
    }

    fn selecting<'o, 'n>(
        &self,
        candidates: &[&'o Object<'n>],
        selects: impl Fn(&Object<'n>) -> Result<bool, Fault>,
    ) -> Result<Vec<&'o Object<'n>>, Fault> {
        let mut selected = Vec::new();
        for candidate in candidates {
            if selects(candidate)? {
                selected.push(*candidate);
            }
        }
        Ok(selected)
    }

    /// By `namespaceSelector`; one that is absent selects nothing.
    fn selects_namespace(&self, selector: &Object<'_>, object: &Object<'_>) -> Result<bool, Fault> {
        let Some(rule) = selector.spec.and_then(|spec| spec.get("namespaceSelector")) else {
            return Ok(false);
        };
        let nothing = Labels::new();
        matches(rule, self.found.namespaces.get(&object.namespace).unwrap_or(&nothing))
    }
}

/// A label selector: `matchLabels` and `matchExpressions`, all of which must hold.
fn matches(selector: &Node, labels: &Labels) -> Result<bool, Fault> {
    if let Some(wanted) = selector.get("matchLabels") {
        for entry in wanted.entries()? {
            if labels.get(&entry.key).map(String::as_str) != Some(entry.value.text_or_empty()?.as_str()) {
                return Ok(false);
            }
        }
    }
    let Some(expressions) = selector.get("matchExpressions") else { return Ok(true) };
    for expression in expressions.items()? {
        let member =
            |name: &str| expression.get(name).ok_or_else(|| expression.fault(format!("{name} is required")));
        let label = labels.get(member("key")?.text()?);
        let values = expression.get("values").map_or(Ok(&[][..]), Node::items)?;
        let values = values.iter().map(Node::text_or_empty).collect::<Result<Vec<_>, _>>()?;
        let is_among = label.is_some_and(|label| values.contains(label));
        let operator = member("operator")?;
        let holds = match operator.text()? {
            "In" => is_among,
            "NotIn" => !is_among,
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            other => return Err(operator.fault(format!("{other:?} is no operator of a selector"))),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parsed(name: &str, object: &Object<'_>) -> Result<ResourceName, Fault> {
    name.parse().map_err(|error| object.place.fault(format!("{object}: {name:?}: {error}")))
}
