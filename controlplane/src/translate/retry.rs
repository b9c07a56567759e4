//! Retries, as App Mesh's proxies did them: status classes as lists of codes, never Envoy's own classes, and
//! never the same host twice where there is another.

use std::time::Duration;

use signet_xds::pb::{
    envoy::{
        config::route::v3::{self as envoy, retry_policy},
        extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
    },
    pack,
};

use super::scalar::{duration, uint};
use crate::model::{GrpcRetryEvent, HttpRetryEvent, RetryPolicy};

/// What holds where a route says nothing, and for services that a node provides.
const DEFAULT_RETRY_ON: &str = "unavailable,connect-failure,refused-stream,reset,retriable-status-codes";
const DEFAULT_RETRIES: u32 = 2;
const DEFAULT_CODES: &[u32] = &[503];
/// Picks of another host before a retry settles for one that failed already.
const HOST_SELECTIONS: i64 = 5;

/// A route's policy, which replaces the default one as a whole.
pub(super) fn policy(asked: Option<&RetryPolicy>) -> envoy::RetryPolicy {
    match asked {
        None => shaped(DEFAULT_RETRY_ON.to_owned(), DEFAULT_RETRIES, None, DEFAULT_CODES.to_vec()),
        Some(RetryPolicy {
            max_retries,
            per_retry_timeout,
            http_events,
            grpc_events,
            on_connection_error,
        }) => {
            let mut words = Words::default();
            for event in http_events {
                words.add(*event);
            }
            words.conditions.extend(grpc_events.iter().flat_map(|event| grpc_words(*event)));
            if *on_connection_error {
                words.conditions.push("connect-failure");
            }
            shaped(words.retry_on(), *max_retries, Some(*per_retry_timeout), words.codes)
        }
    }
}

/// Envoy's conditions, each once, in a fixed order.
#[derive(Default)]
struct Words {
    conditions: Vec<&'static str>,
    codes: Vec<u32>,
}

impl Words {
    fn add(&mut self, event: HttpRetryEvent) {
        let (conditions, codes): (&[&'static str], &[u32]) = match event {
            HttpRetryEvent::ServerError => (
                &["reset", "retriable-status-codes"],
                &[500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511],
            ),
            HttpRetryEvent::GatewayError => (&["reset", "retriable-status-codes"], &[502, 503, 504]),
            HttpRetryEvent::ClientError => (&["retriable-status-codes"], &[409]),
            HttpRetryEvent::StreamError => (&["refused-stream"], &[]),
        };
        self.conditions.extend(conditions);
        self.codes.extend(codes);
        self.codes.sort_unstable();
        self.codes.dedup();
    }

    fn retry_on(&self) -> String {
        let known = [
            "cancelled",
            "deadline-exceeded",
            "internal",
            "resource-exhausted",
            "unavailable",
            "connect-failure",
            "refused-stream",
            "reset",
            "retriable-status-codes",
        ];
        known.into_iter().filter(|word| self.conditions.contains(word)).collect::<Vec<_>>().join(",")
    }
}

/// Envoy's conditions are gRPC's own words. A try that is longer than `perRetryTimeout` has exceeded its deadline
/// too, but Envoy tries it again under `reset` alone: with the word by itself the first such try ended the call.
fn grpc_words(event: GrpcRetryEvent) -> &'static [&'static str] {
    match event {
        GrpcRetryEvent::Cancelled => &["cancelled"],
        GrpcRetryEvent::DeadlineExceeded => &["deadline-exceeded", "reset"],
        GrpcRetryEvent::Internal => &["internal"],
        GrpcRetryEvent::ResourceExhausted => &["resource-exhausted"],
        GrpcRetryEvent::Unavailable => &["unavailable"],
    }
}

fn shaped(retry_on: String, retries: u32, per_try: Option<Duration>, codes: Vec<u32>) -> envoy::RetryPolicy {
    let previous_hosts = retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_policy::retry_host_predicate::ConfigType::TypedConfig(pack(
            &PreviousHostsPredicate {},
        ))),
    };
    envoy::RetryPolicy {
        retry_on,
        num_retries: uint(retries),
        // Zero would mean "no limit" to Envoy, as absence does.
        per_try_timeout: per_try.and_then(duration),
        retry_host_predicate: vec![previous_hosts],
        host_selection_retry_max_attempts: HOST_SELECTIONS,
        retriable_status_codes: codes,
        ..Default::default()
    }
}
