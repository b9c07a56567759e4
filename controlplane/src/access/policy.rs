//! A policy as a whole.

use serde_json::Value;
use signet_policies::identity::ResourceName;

use super::statement::{Effect, Statement, check_members, member};
use crate::{
    json,
    model::shape::{Field, Invalid, Rule},
};

/// Longest policy as compact JSON, in bytes.
const MAX_POLICY: usize = 10 * 1024;
/// Most statements.
const MAX_STATEMENTS: usize = 100;
/// The versions of IAM's language; without one it is the older, as in IAM.
const VERSIONS: [(&str, ()); 2] = [("2012-10-17", ()), ("2008-10-17", ())];

/// What one key pair may do. Its JSON is kept as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    document: Value,
    statements: Vec<Statement>,
}

/// What a policy says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

impl Policy {
    /// As [`Policy::parse`], from text.
    ///
    /// # Errors
    /// As there, and where the text is no JSON or an object has a member twice.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        let document = json::parse(text.as_bytes());
        let why = |error: serde_json::Error| Invalid {
            path: "policy".into(),
            rule: Rule::Other(format!("is not JSON: {error}")),
        };
        Self::parse(document.map_err(why)?)
    }

    /// Reads a policy document of IAM: `{"Version": …, "Statement": [{"Effect", "Action", "Resource"}, …]}`.
    ///
    /// # Errors
    /// The first member that breaks a rule, by its path from `policy`.
    pub fn parse(document: Value) -> Result<Self, Invalid> {
        const PATH: &str = "policy";
        Field::root(PATH, &document).object()?;
        let members = document.as_object().cloned().unwrap_or_default();
        let length = document.to_string().len();
        if length > MAX_POLICY {
            let why = format!("must have {MAX_POLICY} bytes at most; this one has {length}");
            return Err(Invalid { path: PATH.into(), rule: Rule::Other(why) });
        }
        check_members(PATH, &members, &["Version", "Id", "Statement"])?;
        if members.contains_key("Version") {
            member(PATH, &members, "Version")?.one_of(&VERSIONS)?;
        }
        let list = member(PATH, &members, "Statement")?;
        let statements = match members.get("Statement") {
            Some(one @ Value::Object(_)) => vec![Statement::parse("policy.Statement", one)?],
            other => {
                list.items(1..=MAX_STATEMENTS)?;
                let statements = other.and_then(Value::as_array).into_iter().flatten().enumerate();
                let parse = |(index, value)| Statement::parse(&format!("policy.Statement[{index}]"), value);
                statements.map(parse).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { document, statements })
    }

    /// Everything.
    #[must_use]
    pub fn administrator() -> Value {
        document(
            &serde_json::json!({"Sid": "Administrator", "Effect": "Allow", "Action": "*", "Resource": "*"}),
        )
    }

    /// Every mesh and its proxies may be looked at, and nothing changed.
    #[must_use]
    pub fn read_only() -> Value {
        document(&serde_json::json!({
            "Sid": "ReadOnly",
            "Effect": "Allow",
            "Action": [
                "appmesh:Describe*", "appmesh:List*",
                "signet:DescribeProxies", "signet:ListProxies", "signet:ListInstances",
                "signet:GetCheckpoint", "signet:DescribeCertificate", "signet:ListRevocations", "signet:Audit",
                "signet:DescribeAuthority",
            ],
            "Resource": "*",
        }))
    }

    /// One mesh and all in it, with the join tokens of its workloads; or only a look at it. Other meshes are
    /// not even listed.
    #[must_use]
    pub fn one_mesh(mesh: &ResourceName, is_read_only: bool) -> Value {
        let actions = match is_read_only {
            true => serde_json::json!(["appmesh:Describe*", "appmesh:List*", "signet:*Proxies"]),
            false => serde_json::json!(["appmesh:*", "signet:CreateToken", "signet:*Proxies"]),
        };
        let resources =
            [format!("arn:*:appmesh:*:*:mesh/{mesh}"), format!("arn:*:appmesh:*:*:mesh/{mesh}/*")];
        document(
            &serde_json::json!({"Sid": "OneMesh", "Effect": "Allow", "Action": actions, "Resource": resources}),
        )
    }

    /// Decides on an action. `resource` is an ARN, or `*` where the action is about no resource.
    #[must_use]
    pub fn decide(&self, action: &str, resource: &str) -> Verdict {
        let action = action.to_ascii_lowercase();
        let fits =
            |effect| self.statements.iter().any(|one| one.effect == effect && one.fits(&action, resource));
        match (fits(Effect::Deny), fits(Effect::Allow)) {
            (true, _) => Verdict::Denied,
            (false, true) => Verdict::Allowed,
            (false, false) => Verdict::NotAllowed,
        }
    }

    /// Whether an action is allowed on some resource, unless another statement denies it there: whether it is
    /// worth asking about each.
    #[must_use]
    pub fn allows_somewhere(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.statements.iter().any(|one| one.effect == Effect::Allow && one.fits_action(&action))
    }

    /// The JSON that it was read from.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }
}

fn document(statement: &Value) -> Value {
    serde_json::json!({"Version": "2012-10-17", "Statement": [statement]})
}
