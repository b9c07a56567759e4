//! botocore's model of what operations take.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use signet_tests::python_tool;

/// Prints the operations, and the shapes as the model writes them.
const SCRIPT: &str = r#"
import json, sys
from botocore.loaders import Loader
model = Loader().load_service_model("appmesh", "service-2")
shapes = model["shapes"]
def members(shape):
    required = shape.get("required", [])
    return [dict(member, name=name, required=name in required) for name, member in shape["members"].items()]
operations = [{"name": name, "method": operation["http"]["method"], "uri": operation["http"]["requestUri"],
    "members": members(shapes[operation["input"]["shape"]])} for name, operation in model["operations"].items()]
for shape in shapes.values():
    if shape["type"] == "structure":
        shape["members"] = members(shape)
        shape.pop("required", None)
json.dump({"operations": operations, "shapes": shapes}, sys.stdout)
"#;

#[derive(Deserialize)]
pub(super) struct Api {
    pub(super) operations: Vec<Operation>,
    shapes: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) members: Vec<Member>,
}

/// A trait that is not in here fails the test: somebody must say how to try it.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) shape: String,
    pub(super) required: bool,
    /// Nothing: the body.
    pub(super) location: Option<String>,
    #[serde(rename = "locationName")]
    _location_name: Option<String>,
    #[serde(rename = "idempotencyToken")]
    _idempotency_token: Option<bool>,
    #[serde(rename = "documentation")]
    _documentation: Option<String>,
}

/// What a value must be.
pub(super) enum Shape {
    Text { min: Option<usize>, max: Option<usize> },
    Number { min: i64, max: i64 },
    List { item: String, max: usize },
    Structure(Vec<Member>),
}

/// A shape as the model writes it, with the traits that are known how to be tried.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    r#type: String,
    members: Option<Vec<Member>>,
    member: Option<Item>,
    min: Option<i64>,
    max: Option<i64>,
    #[serde(rename = "documentation")]
    _documentation: Option<String>,
    #[serde(rename = "box")]
    _box: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    shape: String,
}

impl Member {
    pub(super) fn is_in(&self, location: &str) -> bool {
        self.location.as_deref() == Some(location)
    }
}

impl Api {
    /// The installed package's.
    pub(super) fn installed() -> Result<Self> {
        let output = Command::new(python_tool("python")?).args(["-c", SCRIPT]).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "botocore's model cannot be read: {errors}");
        serde_json::from_slice(&output.stdout).context("a trait that is not known")
    }

    pub(super) fn shape(&self, name: &str) -> Result<Shape> {
        let written = self.shapes.get(name).with_context(|| format!("no shape {name}"))?;
        let written: Written =
            serde_json::from_value(written.clone()).with_context(|| format!("the shape {name}"))?;
        let size = |bound: Option<i64>| bound.map(usize::try_from).transpose();
        let Written { r#type, members, member, min, max, .. } = written;
        Ok(match (r#type.as_str(), members, member) {
            ("string", ..) => Shape::Text { min: size(min)?, max: size(max)? },
            ("integer", ..) => Shape::Number { min: min.context("no least")?, max: max.context("no most")? },
            ("list", _, Some(Item { shape })) if min == Some(0) => {
                Shape::List { item: shape, max: size(max)?.context("no most")? }
            }
            ("structure", Some(members), _) => Shape::Structure(members),
            (other, ..) => bail!("the shape {name} is a {other}: say here how it is tried"),
        })
    }

    /// Operation, member and bound, for every bound that a member of an operation's input has.
    pub(super) fn declared(&self) -> BTreeSet<(String, String, &'static str)> {
        let mut declared = BTreeSet::new();
        for operation in &self.operations {
            for member in &operation.members {
                let written = &self.shapes[&member.shape];
                let bounds = ["min", "max"].into_iter().filter(|bound| written.get(*bound).is_some());
                // The path always has all of its names.
                let required = (member.required && !member.is_in("uri")).then_some("required");
                let text = (written["type"] == "string" && written.get("max").is_none()).then_some("text");
                let item = (written["type"] == "list").then_some("item");
                let kind = (written["type"] == "integer" || member.location.is_none()).then_some("type");
                for bound in bounds.chain([required, text, item, kind].into_iter().flatten()) {
                    declared.insert((operation.name.clone(), member.name.clone(), bound));
                }
            }
        }
        declared
    }
}
