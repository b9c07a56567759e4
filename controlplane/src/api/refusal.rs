//! What the store's refusals read like: App Mesh's own sentences where they are known, because scripts look
//! for them, with what is in the way named after them.

mod disagreement;

use signet_durable::CommitError;
use tracing::{error, warn};

use super::ApiError;
use crate::{
    model::{
        Tags,
        key::{Key, Kind},
    },
    store::{Refusal, StoreError},
};

/// Most names in one message, as App Mesh had it.
const MAX_NAMES: usize = 5;

pub(super) fn from_store(store_error: StoreError, account: &str) -> ApiError {
    match store_error {
        StoreError::Refused(refusal) => from_refusal(&refusal, account),
        StoreError::Unavailable(full @ CommitError::Full { .. }) => {
            warn!(cause = %full, "the store refused a request");
            ApiError::unavailable(
                "the disk is full, so nothing can be written now; nothing was changed, and the request may be sent \
                 again once there is room",
            )
        }
        StoreError::Unavailable(cause) => {
            error!(%cause, "the store refused a request");
            ApiError::unavailable(
                "the store cannot be written now; the request may or may not have been carried out",
            )
        }
    }
}

fn from_refusal(refusal: &Refusal, account: &str) -> ApiError {
    match refusal {
        Refusal::Missing(key) => ApiError::not_found(missing(key, account)),
        Refusal::MissingTarget(key) => ApiError::not_found(format!("{} is missing", named(key))),
        Refusal::Exists(key) => ApiError::conflict(format!("{} already exists", placed(key, account))),
        Refusal::TokenReused(key) => ApiError::conflict(format!(
            "clientToken: it was used already, for {} with a different specification",
            placed(key, account)
        )),
        Refusal::TooManyTags { key, count } => ApiError::too_many_tags(format!(
            "tags: {} would have {count} tags, and may have {} at most; none of these was applied",
            placed(key, account),
            Tags::MAX
        )),
        Refusal::Quota { key, quota, limit } => ApiError::limit_exceeded(format!(
            "{} would exceed the quota {quota} of this server, which is {limit}; whoever runs it may raise it with \
             `signet server --quota {quota}=N`",
            placed(key, account)
        )),
        Refusal::Version { key, expected, found } => {
            ApiError::conflict(format!("{} is at version {found}, not {expected}", placed(key, account)))
        }
        Refusal::HasChildren { key, children } => ApiError::in_use(has_children(key, *children, account)),
        Refusal::Referenced { key, by } => ApiError::in_use(referenced(key, by)),
        Refusal::Compacted { .. } => ApiError::conflict(refusal.to_string()),
        Refusal::Disagrees(disagreement) => ApiError::bad_request(disagreement::text(disagreement)),
    }
}

fn named(key: &Key) -> String {
    format!("{} with name {}", key.kind(), key.name())
}

fn placed(key: &Key, account: &str) -> String {
    let (named, mesh) = (named(key), key.mesh());
    match key {
        Key::Mesh(_) => format!("{named} for account {account}"),
        Key::VirtualNode { .. }
        | Key::VirtualService { .. }
        | Key::VirtualRouter { .. }
        | Key::VirtualGateway { .. } => format!("{named} under mesh {mesh} for account {account}"),
        Key::GatewayRoute { gateway, .. } => {
            format!("{named} under VirtualGateway {gateway} in mesh {mesh} for account {account}")
        }
        Key::Route { router, .. } => {
            format!("{named} under VirtualRouter {router} in mesh {mesh} for account {account}")
        }
    }
}

fn missing(key: &Key, account: &str) -> String {
    let (named, placed) = (named(key), placed(key, account));
    format!("{named} is not present{}", &placed[named.len()..])
}

fn has_children(key: &Key, children: Kind, account: &str) -> String {
    let (kind, name) = (key.kind(), key.name());
    format!(
        "{kind} {name} for account {account} has active {children}s, please delete {children}s before deleting \
         the {kind}"
    )
}

fn referenced(key: &Key, by: &[Key]) -> String {
    let (named, names) = (named(key), names(by));
    let (why, kind) = match by.first().map(Key::kind) {
        Some(Kind::Route) => ("it is the target of one or more routes.", "route"),
        Some(Kind::VirtualService) => ("it is a VirtualService provider.", "virtual service"),
        Some(Kind::GatewayRoute) => {
            return format!(
                "VirtualService {} is being referenced in the following: GATEWAY_ROUTE: {names}",
                key.name()
            );
        }
        Some(Kind::Mesh | Kind::VirtualNode | Kind::VirtualRouter | Kind::VirtualGateway) | None => {
            ("it is referred to.", "resource")
        }
    };
    format!("{named} cannot be deleted because {why} Listing up to {MAX_NAMES} {kind} names: {names}")
}

fn names(keys: &[Key]) -> String {
    let names: Vec<&str> = keys.iter().take(MAX_NAMES).map(Key::name).collect();
    format!("[{}]", names.join(", "))
}
