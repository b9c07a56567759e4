//! Which action each route of Signet's own API is. A route that is not in the table is an administrator's.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;
use signet_controlplane::api::{ApiError, ApiSettings, Caller};

/// What a route's action is about.
#[derive(Clone, Copy, Debug)]
enum About {
    /// Nothing that has a name: `*`.
    Nothing,
    /// Something that only the handler knows, so that the handler asks.
    Inside,
}

/// Method, path as the router has it, action, and what it is about.
const RULES: &[(Method, &str, &str, About)] = &[
    (Method::GET, "/v1/audit", "signet:Audit", About::Nothing),
    (Method::GET, "/v1/audit/entries", "signet:Audit", About::Nothing),
    (Method::GET, "/v1/backup", "signet:Backup", About::Nothing),
    (Method::GET, "/v1/ca", "signet:DescribeAuthority", About::Nothing),
    (Method::GET, "/v1/ca/bundle", "signet:DescribeAuthority", About::Nothing),
    (Method::POST, "/v1/ca/requests", "signet:RequestIssuer", About::Nothing),
    (Method::POST, "/v1/ca/certificates", "signet:InstallIssuer", About::Nothing),
    (Method::POST, "/v1/tokens", "signet:CreateToken", About::Inside),
    (Method::GET, "/v1/proxies", "signet:ListProxies", About::Inside),
    (Method::GET, "/v1/proxies/refusals", "signet:ListProxies", About::Inside),
    (Method::GET, "/v1/proxies/{mesh}/{kind}/{name}", "signet:DescribeProxies", About::Inside),
    (Method::GET, "/v1/credentials", "signet:ListCredentials", About::Nothing),
    (Method::POST, "/v1/credentials", "signet:CreateCredentials", About::Inside),
    (Method::DELETE, "/v1/credentials/{id}", "signet:DeleteCredentials", About::Inside),
    (Method::POST, "/v1/credentials/{id}/enable", "signet:EnableCredentials", About::Inside),
    (Method::POST, "/v1/credentials/{id}/disable", "signet:DisableCredentials", About::Inside),
    (Method::GET, "/v1/ca/checkpoint", "signet:GetCheckpoint", About::Nothing),
    (Method::GET, "/v1/ca/certificates/{serial}", "signet:DescribeCertificate", About::Nothing),
    (Method::GET, "/v1/ca/revocations", "signet:ListRevocations", About::Nothing),
    (Method::POST, "/v1/ca/revocations", "signet:RevokeCertificate", About::Nothing),
    (Method::POST, "/v1/ca/allow", "signet:AllowIdentity", About::Nothing),
    (Method::POST, "/v1/ca/release", "signet:ReleaseIssuing", About::Nothing),
    (Method::GET, "/v1/ca/rotation", "signet:DescribeAuthority", About::Nothing),
    (Method::POST, "/v1/ca/rotation", "signet:RotateAuthority", About::Nothing),
    (Method::POST, "/v1/ca/rotation/plan", "signet:DescribeAuthority", About::Nothing),
    (Method::POST, "/v1/ca/rotation/pause", "signet:RotateAuthority", About::Nothing),
    (Method::POST, "/v1/ca/rotation/resume", "signet:RotateAuthority", About::Nothing),
    (Method::POST, "/v1/ca/rotation/abort", "signet:RotateAuthority", About::Nothing),
    (Method::GET, "/v1/nodes", "signet:ListProxies", About::Inside),
    (Method::POST, "/v1/nodes/forget", "signet:ForgetProxy", About::Nothing),
    (Method::GET, "/v1/instances", "signet:ListInstances", About::Inside),
    (Method::PUT, "/v1/instances/{namespace}/{service}/{id}", "signet:RegisterInstance", About::Inside),
    (Method::DELETE, "/v1/instances/{namespace}/{service}/{id}", "signet:DeregisterInstance", About::Inside),
    (
        Method::PUT,
        "/v1/instances/{namespace}/{service}/{id}/health",
        "signet:UpdateInstanceHealth",
        About::Inside,
    ),
];

/// Lets a request pass that its caller's policy allows, or whose handler asks for itself.
pub(super) async fn check(
    State(settings): State<Arc<ApiSettings>>,
    path: MatchedPath,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    match allowed(&settings, request.method(), path.as_str(), &caller) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

fn allowed(settings: &ApiSettings, method: &Method, path: &str, caller: &Caller) -> Result<(), ApiError> {
    let rule = RULES.iter().find(|(on, at, ..)| on == method && *at == path);
    match rule {
        Some((_, _, _, About::Inside)) => Ok(()),
        Some((_, _, action, About::Nothing)) => caller.check(settings, action, "*"),
        None => caller.check(settings, "signet:Administer", "*"),
    }
}

#[cfg(test)]
mod tests {
    use signet_controlplane::access::SIGNET_ACTIONS;

    use super::*;

    #[test]
    fn policies_can_name_the_action_of_every_route_and_no_other() {
        let mut used: Vec<&str> = RULES.iter().map(|(_, _, action, _)| *action).collect();
        used.push("signet:Administer");
        used.sort_unstable();
        used.dedup();
        let mut known = SIGNET_ACTIONS.to_vec();
        known.sort_unstable();
        assert_eq!(used, known);
    }
}
