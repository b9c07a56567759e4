//! What an agent reports to a real server, judged by the real command: an agent of the test's own says what no Envoy would.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use signet::local::probe::ClientCertificate;
use signet_policies::identity::Workload;
use signet_sds::secret::Secrets;
use signet_tests::{
    bed::Bed,
    channel_from, clock,
    node_service::{
        ListenerStatus, LoadedCertificate, NodeReport, PresentedCertificate, RenewalStatus, SecretStatus,
        listener_status::{Probe, Tickets},
        node_service_client::NodeServiceClient,
    },
    program,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;

use super::{comes_to, mutual, printed, report};

fn now_ms() -> i64 {
    let now = clock()().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// What an agent tells whose proxy is in good order.
pub(super) fn good(instance: &str, held: &Secrets) -> NodeReport {
    let leaf = held.leaf();
    let der = leaf.chain().first().map(|der| der.to_vec()).unwrap_or_default();
    let life = leaf.validity();
    let secret = |name: &str, version: String| SecretStatus {
        stream: "1".to_owned(),
        name: name.to_owned(),
        sent_version: version.clone(),
        accepted_version: version,
        at_unix_ms: now_ms() - 2000,
        ..SecretStatus::default()
    };
    NodeReport {
        instance: instance.to_owned(),
        now_unix_ms: now_ms(),
        trust_version: held.bundle().version(),
        secrets: vec![secret("default", leaf.serial().to_owned()), secret("ROOTCA", held.bundle().version())],
        presented: vec![PresentedCertificate {
            address: "10.0.0.1:8080".to_owned(),
            leaf: der.clone(),
            chain: leaf.chain().iter().skip(1).map(|der| der.to_vec()).collect(),
            protocol: "TLSv1.3".to_owned(),
            at_unix_ms: now_ms(),
            ..PresentedCertificate::default()
        }],
        loaded: vec![LoadedCertificate {
            serial: leaf.serial().to_owned(),
            not_before_unix: life.not_before().unix(),
            not_after_unix: life.not_after().unix(),
            ..LoadedCertificate::default()
        }],
        renewal: Some(RenewalStatus {
            next_unix: life.renewal_at(0).unix(),
            last_success_unix: life.not_before().unix() + 60,
            ..RenewalStatus::default()
        }),
        held: der,
        listeners: vec![ListenerStatus {
            port: 8080,
            takes_tls: true,
            requires_client_certificate: true,
            plaintext_probe: Probe::Refused.into(),
            ..ListenerStatus::default()
        }],
        ..NodeReport::default()
    }
}

type Spoil = fn(&mut NodeReport);

/// What is wrong, and what the audit calls it.
const FAULTS: [(Spoil, i32, &str); 11] = [
    (|report| report.presented[0].chain.clear(), 4, "B01 critical"),
    (|report| report.listeners[0].plaintext_probe = Probe::Accepted.into(), 4, "E07 critical"),
    (|report| report.listeners[0].requires_client_certificate = false, 4, "E07 critical"),
    (|report| report.listeners[0].lowest_protocol = "TLSv1.0".to_owned(), 3, "E08 warning"),
    (|report| report.listeners[0].set_tickets(Tickets::GivenKeys), 3, "E08 warning"),
    (|report| report.presented[0].protocol = "TLSv1.1".to_owned(), 3, "E08 warning"),
    (|report| report.now_unix_ms += 120_000, 4, "E09 critical"),
    (
        |report| {
            let secret = &mut report.secrets[0];
            (secret.sent_version, secret.rejected_version) = ("ab".repeat(16), "ab".repeat(16));
            secret.reason = "Failed to load private key".to_owned();
        },
        3,
        "E02 warning",
    ),
    (
        |report| {
            let renewal = report.renewal.get_or_insert_default();
            (renewal.failures, renewal.last_error) = (3, "the server refused".to_owned());
        },
        3,
        "E05 warning",
    ),
    (
        |report| {
            report.loaded.clear();
            report.presented[0].leaf.clear();
            report.presented[0].error = "the connection was closed".to_owned();
        },
        4,
        "E06 critical",
    ),
    (|report| report.trust_version = "of nobody".to_owned(), 3, "B01 warning"),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_in_what_an_agent_reports_is_found_and_gone_when_it_is_mended() -> Result<()> {
    let bed = Bed::start().await?;
    bed.mesh("shop").await?;
    let mut spec = signet_tests::bed::listening("one.shop.local", 8080, "http");
    spec["listeners"][0]["tls"] = mutual();
    bed.virtual_node("shop", "one", spec).await?;
    let held = bed.server.join(&bed.client, &Workload::virtual_node("shop", "one")?, clock()).await?;
    let thresholds = bed.path("thresholds.json");
    std::fs::write(&thresholds, json!({"adoptWithinSeconds": 0}).to_string())?;
    let args = ["--thresholds".to_owned(), thresholds.display().to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    let mut tasks = JoinSet::new();
    let near = Ipv4Addr::LOCALHOST;
    let first = watch(&mut tasks, &bed, &held, near, good("1", &held)).await?;
    comes_to(&bed, &args, 0, &[]).await?;
    for (spoil, code, finding) in FAULTS {
        let mut report = good("1", &held);
        spoil(&mut report);
        first.send(report).await.context("the stream ended")?;
        comes_to(&bed, &args, code, &[finding]).await?;
        first.send(good("1", &held)).await.context("the stream ended")?;
        comes_to(&bed, &args, 0, &[]).await?;
    }

    // More life than there is.
    let more = bed.path("more.json");
    std::fs::write(
        &more,
        json!({"remainingCriticalPercent": 100, "remainingWarningPercent": 100}).to_string(),
    )?;
    comes_to(&bed, &["--thresholds", &more.display().to_string()], 4, &["E04 critical"]).await?;

    // A certificate of somebody else's, and then the same one at a second instance.
    let key = KeyPair::generate()?;
    let mut report = good("1", &held);
    report.presented[0].leaf =
        CertificateParams::new(vec!["one.shop.local".to_owned()])?.self_signed(&key)?.der().to_vec();
    first.send(report).await.context("the stream ended")?;
    comes_to(&bed, &args, 4, &["E01 critical"]).await?;
    first.send(good("1", &held)).await.context("the stream ended")?;
    let second = watch(&mut tasks, &bed, &held, near, good("2", &held)).await?;
    comes_to(&bed, &args, 4, &["D07 critical"]).await?;
    second.send(NodeReport { leaving: true, ..good("2", &held) }).await.context("the stream ended")?;
    comes_to(&bed, &args, 0, &[]).await?;

    // Two copies of its state folder on two hosts: each says that it is the instance, and takes the other's place.
    let far = Ipv4Addr::new(127, 0, 0, 2);
    let _copy = watch(&mut tasks, &bed, &held, far, good("1", &held)).await?;
    let _again = watch(&mut tasks, &bed, &held, near, good("1", &held)).await?;
    let report = comes_to(&bed, &args, 4, &["D07 critical"]).await?;
    assert_eq!(report["findings"][0]["evidence"][0], "127.0.0.1 and 127.0.0.2");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_killed_for_good_makes_an_audit_incomplete_until_somebody_says_to_forget_it()
-> Result<()> {
    let bed = Bed::start().await?;
    bed.mesh("shop").await?;
    bed.virtual_node("shop", "one", json!({})).await?;
    let held = bed.server.join(&bed.client, &Workload::virtual_node("shop", "one")?, clock()).await?;
    let mut tasks = JoinSet::new();
    let agent = watch(&mut tasks, &bed, &held, Ipv4Addr::LOCALHOST, good("i-7aa", &held)).await?;
    let forget = |node: &str| -> Result<(bool, String)> {
        let connect = ["--endpoint", &bed.server.ready.api, "--credentials"];
        let mut forget = Command::new(program()?);
        forget.args(["ca", "forget", node]).args(connect).arg(bed.server.credentials());
        let output = forget.output()?;
        Ok((output.status.success(), printed(&output)))
    };
    let name = "mesh/shop/virtualNode/one/i-7aa";
    let (_, report, _) = report(&bed, &[])?;
    let gaps = |report: &Value| report["checks"].to_string();
    assert!(!gaps(&report).contains(name), "{report:#}");
    let (is_forgotten, said) = forget(name)?;
    assert!(!is_forgotten && said.contains("is connected; stop it first"), "{said}");

    drop(agent);
    tasks.shutdown().await;
    let report = comes_to(&bed, &[], 5, &[]).await?;
    assert!(gaps(&report).contains(name), "it says who is missing: {report:#}");
    let (is_forgotten, said) = forget(name)?;
    assert!(is_forgotten && said.contains("is forgotten until it is back"), "{said}");
    comes_to(&bed, &[], 0, &[]).await?;
    let (is_forgotten, said) = forget(name)?;
    assert!(!is_forgotten && said.contains("no agent"), "{said}");
    bed.end().await;
    Ok(())
}

/// Opens an agent's stream, and keeps what the server says unread.
pub(super) async fn watch(
    tasks: &mut JoinSet<()>,
    bed: &Bed,
    held: &Secrets,
    own: Ipv4Addr,
    report: NodeReport,
) -> Result<mpsc::Sender<NodeReport>> {
    let certificate = ClientCertificate::of(held);
    let channel =
        channel_from(own, bed.server.grpc_address(), held.bundle().roots(), Some(certificate)).await?;
    let (reports, sent) = mpsc::channel(4);
    reports.send(report).await?;
    let mut client = NodeServiceClient::new(channel);
    let mut updates = client.watch(ReceiverStream::new(sent)).await?.into_inner();
    tasks.spawn(async move { while let Ok(Some(_)) = updates.message().await {} });
    Ok(reports)
}
