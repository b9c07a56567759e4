//! What actions are called: `appmesh:<Operation>`, as at AWS, and `signet:…` for what AWS had not.

use crate::model::key::Kind;

/// The actions of Signet's own API.
pub const SIGNET_ACTIONS: [&str; 26] = [
    "signet:CreateToken",
    "signet:ListProxies",
    "signet:DescribeProxies",
    "signet:ForgetProxy",
    "signet:CreateCredentials",
    "signet:ListCredentials",
    "signet:EnableCredentials",
    "signet:DisableCredentials",
    "signet:DeleteCredentials",
    "signet:ListInstances",
    "signet:RegisterInstance",
    "signet:DeregisterInstance",
    "signet:UpdateInstanceHealth",
    "signet:GetCheckpoint",
    "signet:DescribeCertificate",
    "signet:ListRevocations",
    "signet:RevokeCertificate",
    "signet:AllowIdentity",
    "signet:ReleaseIssuing",
    "signet:Audit",
    "signet:DescribeAuthority",
    "signet:RequestIssuer",
    "signet:InstallIssuer",
    "signet:RotateAuthority",
    // What it answers holds every key of the server.
    "signet:Backup",
    // Whatever has no action of its own.
    "signet:Administer",
];
/// Puts tags on a resource; also asked of a creation that brings tags.
pub const TAG: &str = "appmesh:TagResource";
/// Takes tags off a resource.
pub const UNTAG: &str = "appmesh:UntagResource";
/// Reads the tags of a resource.
pub const LIST_TAGS: &str = "appmesh:ListTagsForResource";
/// AWS's action for a proxy that fetches its configuration. Certificates say who may, here; policies that
/// name it are still taken.
const STREAM: &str = "appmesh:StreamAggregatedResources";

/// What can be done to a resource of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes one.
    Create,
    /// Reads one.
    Describe,
    /// Gives one a new spec.
    Update,
    /// Ends one.
    Delete,
    /// Names those of a collection.
    List,
}

/// The action of an operation on a kind: `appmesh:CreateMesh`, `appmesh:ListVirtualNodes`.
#[must_use]
pub fn operation(verb: Verb, kind: Kind) -> String {
    match (verb, kind) {
        (Verb::List, Kind::Mesh) => "appmesh:ListMeshes".to_owned(),
        (Verb::List, kind) => format!("appmesh:List{kind}s"),
        (verb, kind) => format!("appmesh:{verb:?}{kind}"),
    }
}

/// Every action of a service that this server has, in lower case; nothing for other services.
pub(super) fn of_service(service: &str) -> Option<Vec<String>> {
    let lower = |action: &str| action.to_ascii_lowercase();
    match service {
        "signet" => Some(SIGNET_ACTIONS.into_iter().map(lower).collect()),
        "appmesh" => {
            let verbs = [Verb::Create, Verb::Describe, Verb::Update, Verb::Delete, Verb::List];
            let of_kinds = verbs.into_iter().flat_map(|verb| Kind::ALL.map(|kind| operation(verb, kind)));
            let others = [TAG, UNTAG, LIST_TAGS, STREAM].map(str::to_owned);
            Some(of_kinds.chain(others).map(|action| lower(&action)).collect())
        }
        _ => None,
    }
}
