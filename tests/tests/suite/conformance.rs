//! The protocol, judged by a scripted client: ours must keep to every statement, and servers that break one must be
//! found out.

mod broken;
mod driven;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use signet_tests::conformance::{
    Driver as _, Finding, Lane, Target, Verdict, in_process::InProcess, report::table,
};
use signet_xds::{ResourceType, pb::envoy::config::core::v3::Node, session::Variant};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

const VARIANTS: [Variant; 2] = [Variant::Sotw, Variant::Delta];

/// A lane to our own protocol in this process; `through` may put something else before it.
async fn lane(variant: Variant, service: Option<ResourceType>, address: Option<String>) -> Result<Lane> {
    let server = InProcess::start(service.unwrap_or(ResourceType::Cluster)).await?;
    let address = address.unwrap_or_else(|| server.address.to_string());
    Ok(Lane {
        target: Target {
            channel: Endpoint::from_shared(format!("http://{address}"))?.connect().await?,
            node: Node { id: "conformance".into(), ..Node::default() },
            proves_identity: false,
        },
        variant,
        service,
        names: server.names(ResourceType::Route),
        driver: Some(Arc::new(server)),
        quiet: Duration::from_millis(150),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn our_protocol_keeps_to_every_statement_over_sotw_and_delta_on_every_service() -> Result<()> {
    let services = ResourceType::ALL.into_iter().map(Some).chain([None]);
    let mut lanes = JoinSet::new();
    for (service, variant) in services.flat_map(|service| VARIANTS.map(|variant| (service, variant))) {
        let lane = lane(variant, service, None).await?;
        lanes.spawn(async move { lane.judge().await });
    }
    let findings = lanes.join_all().await;
    assert_eq!(findings.len(), 12);
    for findings in &findings {
        assert!(!findings.iter().any(Finding::is_fail), "{}", table(findings));
    }
    // Whatever does not apply to one lane applies to another, but for what takes a connection that proves who asks.
    let elsewhere = [31];
    for number in 0..findings[0].len() {
        let verdicts = || findings.iter().map(|lane| &lane[number]);
        let id = verdicts().next().map_or(0, |finding| finding.statement.id);
        let passed = verdicts().any(|finding| finding.verdict == Verdict::Pass);
        assert!(passed || elsewhere.contains(&id), "statement {id} applies nowhere");
    }
    Ok(())
}
