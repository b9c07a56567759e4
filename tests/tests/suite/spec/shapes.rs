//! botocore's model of the API, as far as specs need it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use signet_tests::python_tool;

/// Prints the model, and what its patterns make of a few texts. No tab is among them inside: AWS's documentation has
/// it in the pattern of Cloud Map's values, and the client's copy has a second space in its place.
const SCRIPT: &str = r#"
import json, re, sys
from botocore.loaders import Loader
model = Loader().load_service_model("appmesh", "service-2")
texts = ["a", "~", "!", "a b", "a ", " a", "\ta", "\u00e9", "a\u00e9", "a\n", "a\u0001", "a\u007f"]
patterns = {shape["pattern"] for shape in model["shapes"].values() if "pattern" in shape}
judged = {p: {t: re.fullmatch(p, t) is not None for t in texts} for p in patterns}
json.dump({"shapes": model["shapes"], "patterns": judged}, sys.stdout)
"#;

/// The shapes that specs are made of.
#[derive(Debug)]
pub(super) struct Shapes {
    shapes: BTreeMap<String, Shape>,
    /// By pattern: texts, and whether they match.
    pub(super) patterns: BTreeMap<String, BTreeMap<String, bool>>,
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Shape {
    Structure {
        /// Name and shape, in the model's order.
        members: Vec<(String, String)>,
        required: BTreeSet<String>,
        /// Exactly one member may be set.
        union: bool,
    },
    List {
        item: String,
        min: Option<usize>,
        max: Option<usize>,
    },
    Text {
        min: Option<usize>,
        max: Option<usize>,
        /// Empty: any text.
        allowed: Vec<String>,
        pattern: Option<String>,
    },
    Number {
        min: Option<i64>,
        /// Of an `integer` at least what 32 bits hold.
        max: Option<i64>,
    },
    Flag,
}

/// A shape as the model writes it. A trait that is not in here fails the test: somebody must say how to try it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    r#type: String,
    #[serde(default)]
    members: serde_json::Map<String, Value>,
    #[serde(default)]
    required: BTreeSet<String>,
    #[serde(default)]
    union: bool,
    member: Option<Member>,
    min: Option<i64>,
    max: Option<i64>,
    #[serde(default, rename = "enum")]
    allowed: Vec<String>,
    pattern: Option<String>,
    #[serde(rename = "documentation")]
    _documentation: Option<String>,
    #[serde(rename = "box")]
    _box: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    shape: String,
    #[serde(rename = "documentation")]
    _documentation: Option<String>,
}

impl Shapes {
    /// The installed package's, read once.
    pub(super) fn installed() -> Result<&'static Self> {
        static SHAPES: OnceLock<Result<Shapes, String>> = OnceLock::new();
        let loaded = SHAPES.get_or_init(|| Self::load().map_err(|error| format!("{error:#}")));
        loaded.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn load() -> Result<Self> {
        let output = Command::new(python_tool("python")?).args(["-c", SCRIPT]).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "botocore's model cannot be read: {errors}");
        let mut printed: Value = serde_json::from_slice(&output.stdout)?;
        let patterns = serde_json::from_value(printed["patterns"].take())?;
        let mut shapes = BTreeMap::new();
        let mut waiting: Vec<String> = super::KINDS.iter().map(|(_, root)| (*root).to_owned()).collect();
        while let Some(name) = waiting.pop() {
            let written = printed["shapes"][&name].take();
            if let Entry::Vacant(entry) = shapes.entry(name) {
                let shape = Shape::read(written).with_context(|| format!("the shape {}", entry.key()))?;
                waiting.extend(shape.parts().map(|(_, part)| part.to_owned()));
                entry.insert(shape);
            }
        }
        Ok(Self { shapes, patterns })
    }

    pub(super) fn get(&self, name: &str) -> &Shape {
        &self.shapes[name]
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.shapes.keys().map(String::as_str).collect()
    }
}

impl Shape {
    fn read(written: Value) -> Result<Self> {
        let Written { r#type, members, required, union, member, min, max, allowed, pattern, .. } =
            serde_json::from_value(written)?;
        let size = |bound: Option<i64>| bound.map(usize::try_from).transpose();
        Ok(match r#type.as_str() {
            "structure" => {
                let member = |(name, value): (String, Value)| {
                    let Member { shape, .. } = serde_json::from_value(value).context(name.clone())?;
                    Ok((name, shape))
                };
                let members = members.into_iter().map(member).collect::<Result<_>>()?;
                Self::Structure { members, required, union }
            }
            "list" => {
                let item = member.context("a list without items")?.shape;
                Self::List { item, min: size(min)?, max: size(max)? }
            }
            "string" => Self::Text { min: size(min)?, max: size(max)?, allowed, pattern },
            "integer" => Self::Number { min, max: max.or(Some(i64::from(i32::MAX))) },
            "long" => Self::Number { min, max },
            "boolean" => Self::Flag,
            other => bail!("the type {other}"),
        })
    }

    /// What it is made of: members by name, items without.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let (members, item): (&[_], _) = match self {
            Self::Structure { members, .. } => (members, None),
            Self::List { item, .. } => (&[], Some((None, item.as_str()))),
            Self::Text { .. } | Self::Number { .. } | Self::Flag => (&[], None),
        };
        members.iter().map(|(name, shape)| (Some(name.as_str()), shape.as_str())).chain(item)
    }

    /// As refusals call its JSON type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Structure { .. } => "an object",
            Self::List { .. } => "a list",
            Self::Text { .. } => "a string",
            Self::Number { .. } => "a whole number",
            Self::Flag => "a boolean",
        }
    }

    /// Its members of which at most one may be set, and whether one must be: unions, and what the documentation
    /// says beyond the model (constraints C3, C23, C33 and C36).
    pub(super) fn exclusive(&self, name: &str) -> Option<(Vec<&str>, bool)> {
        let Self::Structure { members, union, .. } = self else { return None };
        let is_exclusive = |member: &str| match name {
            "RouteSpec" | "GatewayRouteSpec" => member != "priority",
            "HttpRouteMatch" | "HttpGatewayRouteMatch" => matches!(member, "path" | "prefix"),
            "HttpGatewayRouteRewrite" => matches!(member, "path" | "prefix"),
            "HttpPathMatch" | "GatewayRouteHostnameMatch" | "HttpGatewayRoutePrefixRewrite" => true,
            _ => *union,
        };
        let exclusive: Vec<&str> =
            members.iter().map(|(name, _)| &**name).filter(|name| is_exclusive(name)).collect();
        let is_optional = matches!(
            name,
            "HttpRouteMatch"
                | "HttpGatewayRouteMatch"
                | "HttpGatewayRouteRewrite"
                | "HttpGatewayRoutePrefixRewrite"
        );
        (!exclusive.is_empty()).then_some((exclusive, !is_optional))
    }

    /// Members that must be set, by the model or by the documentation.
    pub(super) fn needs(&self, name: &str, member: &str) -> bool {
        match self {
            Self::Structure { required, .. } => required.contains(member) || name == "Duration",
            Self::List { .. } | Self::Text { .. } | Self::Number { .. } | Self::Flag => false,
        }
    }
}
