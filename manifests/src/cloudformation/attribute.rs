//! What resources are called, and what they tell about themselves.

use signet_controlplane::model::key::Kind;

use super::{Evaluator, template::Declared};
use crate::{
    node::Node,
    place::{Fault, Place},
};

/// The property that names a resource of a kind.
pub(super) fn name_property(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => "MeshName",
        Kind::VirtualNode => "VirtualNodeName",
        Kind::VirtualService => "VirtualServiceName",
        Kind::VirtualRouter => "VirtualRouterName",
        Kind::Route => "RouteName",
        Kind::VirtualGateway => "VirtualGatewayName",
        Kind::GatewayRoute => "GatewayRouteName",
    }
}

/// The property that names what it lives under, beside the mesh.
pub(super) fn parent_property(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Route => Some("VirtualRouterName"),
        Kind::GatewayRoute => Some("VirtualGatewayName"),
        Kind::Mesh
        | Kind::VirtualNode
        | Kind::VirtualService
        | Kind::VirtualRouter
        | Kind::VirtualGateway => None,
    }
}

impl Evaluator<'_> {
    /// A resource's name, and where it is said. CloudFormation makes one up where the template has none; so do
    /// we, but one that is the same every time.
    pub(super) fn name_of(&self, declared: &Declared<'_>, kind: Kind) -> Result<(String, Place), Fault> {
        match declared.property(name_property(kind)) {
            Some(node) => Ok((self.text(node)?, node.place.clone())),
            None if kind == Kind::VirtualService => {
                Err(declared.place.fault("Properties.VirtualServiceName is required"))
            }
            None => {
                let id = declared.logical_id;
                let stack = self.settings.stack_name.as_ref();
                let name = stack.map_or_else(|| id.to_owned(), |stack| format!("{stack}-{id}"));
                Ok((name, declared.place.clone()))
            }
        }
    }

    /// `GetAtt`.
    pub(super) fn attribute(&self, id: &str, attribute: &str, at: &Node) -> Result<Node, Fault> {
        self.guarded(at, || {
            let given = self.settings.resolved.get(&format!("{id}.{attribute}"));
            if let Some(given) = given {
                return Ok(Node::text_at(&at.place, given.as_str()));
            }
            let Some(declared) = self.template.resources.get(id) else {
                return Err(at.fault(format!("there is no resource {id:?}")));
            };
            match declared.kind() {
                Some(kind) => self.own_attribute(declared, kind, attribute, at),
                None => self.foreign_attribute(declared, attribute, at),
            }
        })
    }

    fn own_attribute(
        &self,
        declared: &Declared<'_>,
        kind: Kind,
        attribute: &str,
        at: &Node,
    ) -> Result<Node, Fault> {
        let text = match attribute {
            "Arn" | "Id" => self.arn(declared, kind)?,
            "MeshOwner" | "ResourceOwner" => self.settings.account_id.clone(),
            name if name == name_property(kind) => self.name_of(declared, kind)?.0,
            name if (name == "MeshName" && kind != Kind::Mesh) || parent_property(kind) == Some(name) => {
                self.name_property(declared, name)?.to_string()
            }
            "Uid" => return Err(unresolvable(declared, attribute, "is chosen by the server", at)),
            other => {
                return Err(at.fault(format!("{} has no attribute {other:?}", declared.type_name)));
            }
        };
        Ok(Node::text_at(&at.place, text))
    }

    fn arn(&self, declared: &Declared<'_>, kind: Kind) -> Result<String, Fault> {
        let (name, place) = self.name_of(declared, kind)?;
        let key =
            self.collection(declared, kind)?.key(&name).map_err(|error| place.fault(error.to_string()))?;
        Ok(self.settings.arn(&key))
    }

    /// Another service's resource tells what its properties say, and no more.
    fn foreign_attribute(&self, declared: &Declared<'_>, attribute: &str, at: &Node) -> Result<Node, Fault> {
        let Some(property) = declared.property(attribute) else {
            return Err(unresolvable(declared, attribute, "is known to AWS alone", at));
        };
        self.text(property).map(|text| Node::text_at(&at.place, text))
    }

    /// `Ref` of a resource: the ARN of one of App Mesh's, and of others what only AWS knows.
    pub(super) fn resource_reference(&self, id: &str, at: &Node) -> Result<Node, Fault> {
        self.guarded(at, || {
            if let Some(given) = self.settings.resolved.get(id) {
                return Ok(Node::text_at(&at.place, given.as_str()));
            }
            let Some(declared) = self.template.resources.get(id) else {
                return Err(at.fault(format!("there is no parameter or resource {id:?}")));
            };
            match declared.kind() {
                Some(kind) => self.arn(declared, kind).map(|arn| Node::text_at(&at.place, arn)),
                None => Err(at.fault(format!(
                    "what {id} ({}) refers to is known to AWS alone; give it with --resolve {id}=VALUE",
                    declared.type_name
                ))),
            }
        })
    }
}

fn unresolvable(declared: &Declared<'_>, attribute: &str, why: &str, at: &Node) -> Fault {
    let (id, type_name) = (declared.logical_id, declared.type_name);
    at.fault(format!("{id}.{attribute} ({type_name}) {why}; give it with --resolve {id}.{attribute}=VALUE"))
}
