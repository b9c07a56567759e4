//! Counts what becomes of requests for certificates, around the service that answers them.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tonic::{Code, Status, body::Body, codegen::Service, server::NamedService};

/// What it was, and what became of it.
type Outcomes = Family<Vec<(&'static str, &'static str)>, Counter>;

/// A service whose answers are counted.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    outcomes: Outcomes,
}

/// Registers the counter.
pub(super) fn outcomes(registry: &mut Registry) -> Outcomes {
    let outcomes = Outcomes::default();
    let help = "Requests for certificates, by how they were asked for and what became of them";
    registry.register("signet_certificate_requests", help, outcomes.clone());
    outcomes
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, outcomes: Outcomes) -> Self {
        Self { service, outcomes }
    }
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rpc = match request.uri().path().rsplit('/').next() {
            Some("Join") => Some("join"),
            Some("Renew") => Some("renew"),
            _ => None,
        };
        let (answer, outcomes) = (self.service.call(request), self.outcomes.clone());
        Box::pin(async move {
            let answer = answer.await?;
            if let Some(rpc) = rpc {
                // A refusal is in the head; a certificate has its status behind it.
                let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
                outcomes.get_or_create(&vec![("rpc", rpc), ("outcome", outcome(code))]).inc();
            }
            Ok(answer)
        })
    }
}

/// As node.proto explains the codes.
fn outcome(code: Code) -> &'static str {
    match code {
        Code::Ok => "issued",
        Code::InvalidArgument => "bad_request",
        Code::Unauthenticated => "unauthenticated",
        Code::PermissionDenied => "denied",
        Code::ResourceExhausted => "busy",
        Code::Unavailable => "unavailable",
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => "other",
    }
}
