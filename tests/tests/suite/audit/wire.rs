//! What a TLS client of its own sees, beside what Signet says.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use pem::Pem;
use rcgen::{CertificateParams, KeyPair};
use signet::local::{admin::Admin, probe::tls_connector};
use signet_tests::{
    Outsider,
    bed::{Bed, Node, PATIENCE, at},
    eventually, program,
};
use tokio::{net::TcpStream, time::Instant};

use super::printed;

/// Handshakes as a workload of the mesh, and returns what the server presented, DER.
async fn presented(address: SocketAddr, outsider: &Outsider) -> Result<Vec<Vec<u8>>> {
    let connector = tls_connector(outsider.roots(), Some(outsider.certificate()), &[])?;
    let tcp = TcpStream::connect(address).await?;
    let name = rustls::pki_types::ServerName::IpAddress(address.ip().into());
    let stream = connector.connect(name, tcp).await?;
    let chain = stream.get_ref().1.peer_certificates().context("nothing was presented")?;
    Ok(chain.iter().map(|der| der.to_vec()).collect())
}

/// `signet audit cert` finds what the wire shows to be of the profile, and a stranger's not.
pub(super) async fn what_is_presented_judged_by_itself(bed: &Bed, port: u16, served: &Node) -> Result<()> {
    let outsider = Outsider::join(&bed.server, &bed.client, "shop", "caller").await?;
    let chain = presented(at(served, port), &outsider).await?;
    let pem: String = chain.into_iter().map(|der| pem::encode(&Pem::new("CERTIFICATE", der))).collect();
    let file = bed.path("presented.pem");
    std::fs::write(&file, &pem)?;
    let judge = |file: &std::path::Path| {
        let mut command = Command::new(program()?);
        command.args(["audit", "cert"]).arg(file).arg("--ca").arg(bed.server.ca_file());
        anyhow::Ok(command.output()?)
    };
    let good = judge(&file)?;
    assert_eq!(good.status.code(), Some(0), "{}", printed(&good));
    let stranger =
        CertificateParams::new(vec!["*.example.com".to_owned()])?.self_signed(&KeyPair::generate()?)?;
    std::fs::write(&file, stranger.pem())?;
    let bad = judge(&file)?;
    assert_eq!(bad.status.code(), Some(4), "{}", printed(&bad));
    let text = printed(&bad);
    assert!(["D01", "D03", "D04", "D05", "A02"].iter().all(|id| text.contains(id)), "{text}");
    Ok(())
}

async fn scrape(bed: &Bed) -> Result<String> {
    let ops: SocketAddr = bed.server.ready.ops.trim_start_matches("http://").parse()?;
    let text = Admin::new(ops).text("/metrics").await?;
    ensure!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    Ok(text)
}

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// Each metric has a row in docs/metrics.md, and each row is of a metric that there is.
pub(super) async fn every_metric_is_documented(bed: &Bed) -> Result<()> {
    let text = scrape(bed).await?;
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut exported: Vec<String> = typed
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut documented: Vec<String> = rows.map(|(name, _)| name.to_owned()).collect();
    exported.sort();
    documented.sort();
    assert_eq!(exported, documented);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        for label in labels.iter().flat_map(|(labels, _)| labels.split(',')) {
            let name = label.split('=').next().unwrap_or_default();
            assert!(
                name == "le" || PAGE.contains(&format!("`{name}`")),
                "no word of the label {name}: {line}"
            );
        }
    }
    Ok(())
}

/// Count and sum of a histogram.
async fn histogram(bed: &Bed, step: &str) -> Result<(f64, f64)> {
    let text = scrape(bed).await?;
    let value = |end: &str| {
        let name = format!("signet_certificate_{step}_seconds_{end} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.with_context(|| format!("no {name}in\n{text}"))?.parse::<f64>().context("it is no number")
    };
    Ok((value("count")?, value("sum")?))
}

/// The steps of a certificate that are timed.
const STEPS: [&str; 4] = ["pushed", "accepted", "presented", "converged"];

/// Waits until each step was counted exactly so often.
async fn counted(bed: &Bed, counts: [f64; 4]) -> Result<Vec<(f64, f64)>> {
    eventually("the histograms count every certificate", PATIENCE, || async {
        let mut found = Vec::new();
        for step in STEPS {
            found.push(histogram(bed, step).await?);
        }
        ensure!(found.iter().map(|(count, _)| *count).eq(counts), "{found:?}, not {counts:?}");
        Ok(found)
    })
    .await
}

/// Three rotations, timed by a client that logs serials: the histograms count them, and say no more time than it saw.
pub(super) async fn metrics_agree_with_handshakes(bed: &Bed, port: u16, served: &Node) -> Result<()> {
    let outsider = Outsider::join(&bed.server, &bed.client, "shop", "caller").await?;
    let address = at(served, port);
    // Two Envoys have a certificate, and one of them presents it.
    let before = counted(bed, [2.0, 2.0, 1.0, 2.0]).await?;
    let mut seen = Duration::ZERO;
    let mut last = presented(address, &outsider).await?;
    for rotation in 1..=3 {
        let start = Instant::now();
        served.sidecar.rotate()?;
        last = eventually("a handshake with the next certificate", PATIENCE, || async {
            let now = presented(address, &outsider).await?;
            ensure!(now[0] != last[0], "it is the same");
            Ok(now)
        })
        .await?;
        seen += start.elapsed();
        // The agent coalesces what comes too fast; each is to count.
        eventually("the histogram counts it", PATIENCE, || async {
            let (count, _) = histogram(bed, "presented").await?;
            ensure!(count >= before[2].0 + f64::from(rotation), "{count}");
            Ok(())
        })
        .await?;
    }
    let after = counted(bed, [5.0, 5.0, 4.0, 5.0]).await?;
    for ((step, (_, sum)), (_, sum_now)) in STEPS.iter().zip(before).zip(after) {
        // An agent looks every quarter of a second after a change, and its report takes its time.
        let bound = seen.as_secs_f64() + 3.0;
        assert!(sum_now - sum <= bound, "{step}: {} s, and the client saw it after {bound}", sum_now - sum);
    }
    Ok(())
}
