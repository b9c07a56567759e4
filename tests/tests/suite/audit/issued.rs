//! Faults that are in what a real server really issued, or in what is asked of it, one after the other.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use http::Method;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use signet::local::{mesh::create_token, probe::ClientCertificate};
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{Bed, PATIENCE, listening},
    channel, eventually,
    node_service::{JoinRequest, RenewRequest, node_service_client::NodeServiceClient},
};
use time::{Duration, OffsetDateTime};
use tonic::transport::Channel;

use super::comes_to;

/// A holder whose key the test chooses.
struct Holder(Channel);

fn request(key: &KeyPair) -> Result<Vec<u8>> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

impl Holder {
    async fn join(bed: &Bed, node: &str, key: &KeyPair) -> Result<Self> {
        let token = create_token(&bed.client, &Workload::virtual_node("shop", node)?).await?;
        let roots = [CertificateDer::from_pem_file(bed.server.ca_file())?];
        let unknown = channel(bed.server.grpc_address(), &roots, None).await?;
        let joined = NodeServiceClient::new(unknown).join(JoinRequest { token, csr: request(key)? }).await?;
        let chain = joined.into_inner().chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::try_from(key.serialize_der()).ok().context("the key")?;
        let own = ClientCertificate { chain, key };
        Ok(Self(channel(bed.server.grpc_address(), &roots, Some(own)).await?))
    }

    async fn renew(&self, key: &KeyPair) -> Result<()> {
        let request = RenewRequest { csr: request(key)?, lifetime_secs: 0 };
        NodeServiceClient::new(self.0.clone()).renew(request).await?;
        Ok(())
    }
}

/// What was found so far, which is known from then on.
struct Known<'a> {
    bed: &'a Bed,
    file: String,
    count: usize,
}

impl<'a> Known<'a> {
    fn new(bed: &'a Bed, report: &Value) -> Result<Self> {
        let file = bed.path("baseline.json").display().to_string();
        std::fs::write(&file, report.to_string())?;
        Ok(Self { bed, file, count: 0 })
    }

    /// The only news is these findings.
    async fn news(&mut self, args: &[&str], code: i32, findings: &[&str]) -> Result<Value> {
        let args = [&["--baseline", self.file.as_str()], args].concat();
        let report = comes_to(self.bed, &args, code, findings).await?;
        std::fs::write(&self.file, report.to_string())?;
        Ok(report)
    }

    /// With other limits the only news is these findings, which are none with the usual ones.
    async fn by_limits(&mut self, limits: Value, code: i32, findings: &[&str]) -> Result<Value> {
        self.count += 1;
        let file = self.bed.path(&format!("thresholds-{}.json", self.count));
        std::fs::write(&file, limits.to_string())?;
        let file = file.display().to_string();
        let args = ["--baseline", &self.file, "--thresholds", &file, "--fail-on", "info"];
        comes_to(self.bed, &args, code, findings).await
    }
}

/// A root that names nobody's trust domain, and ends too soon.
fn plain_root(file: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Some root");
    params.not_after = OffsetDateTime::now_utc() + Duration::days(100);
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    std::fs::write(file, params.self_signed(&KeyPair::generate()?)?.pem())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_what_a_server_issued_is_found_by_its_check_and_by_no_other() -> Result<()> {
    let bed = Bed::start().await?;
    bed.mesh("shop").await?;
    for (node, host) in [("a", "a.shop.local"), ("b", "b.shop.local"), ("c", "c.shop.local")] {
        bed.virtual_node("shop", node, listening(host, 8080, "http")).await?;
    }
    let (first, second) = (KeyPair::generate()?, KeyPair::generate()?);
    let a = Holder::join(&bed, "a", &first).await?;
    let mut known = Known::new(&bed, &comes_to(&bed, &[], 0, &[]).await?)?;

    // Limits that what is in order is beyond: five certificates, of which one is a workload's.
    let saved = bed.path("inventory.json");
    comes_to(&bed, &["--save", &saved.display().to_string()], 0, &[]).await?;
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&saved)?)?;
    let issued = saved["certificates"].as_array().into_iter().flatten();
    let of_workload = issued.filter(|record| record["workload"].is_string());
    let hash = of_workload.map(|record| record["keyHash"].clone()).next().context("a certificate")?;
    known.by_limits(json!({"blockedKeys": [hash]}), 4, &["C03 critical"]).await?;
    known.by_limits(json!({"keyKinds": ["P-384"]}), 4, &["C01 critical"; 5]).await?;
    known.by_limits(json!({"signatureAlgorithms": ["1.2.840.10045.4.3.3"]}), 4, &["C02 critical"; 5]).await?;
    known.by_limits(json!({"longestLifeSeconds": 3600}), 4, &["D05 critical"; 2]).await?;
    known.by_limits(json!({"deliverWithinSeconds": 0}), 3, &["A09 info"]).await?;

    // Keys: one that a renewal kept, one that another identity has, and an authority's.
    a.renew(&first).await?;
    known.news(&[], 3, &["C05 warning"]).await?;
    let b = Holder::join(&bed, "b", &second).await?;
    known.news(&[], 0, &[]).await?;
    b.renew(&first).await?;
    known.news(&[], 4, &["C04 critical"]).await?;
    let issuer = std::fs::read_to_string(bed.server.ready.data_dir.join("ca/meshes/shop/key.pem"))?;
    b.renew(&KeyPair::from_pem(&issuer)?).await?;
    known.news(&[], 4, &["C06 critical"]).await?;

    // Names: one that is broad, one that the spec lost since, and one that is another's now.
    bed.virtual_node("shop", "d", listening("localhost", 8080, "http")).await?;
    let d = Holder::join(&bed, "d", &KeyPair::generate()?).await?;
    known.news(&[], 3, &["D03 warning"]).await?;
    bed.respec("shop", "a", listening("elsewhere.shop.local", 8080, "http")).await?;
    known.news(&[], 3, &["A07 warning"; 2]).await?;
    bed.respec("shop", "c", listening("a.shop.local", 8080, "http")).await?;
    known.news(&[], 4, &["D02 critical"; 2]).await?;

    // More certificates in an hour than anything explains.
    for _ in 0..10 {
        d.renew(&KeyPair::generate()?).await?;
    }
    known.news(&[], 3, &["D03 warning"; 10]).await?;
    known.by_limits(json!({"burstFactor": 0}), 3, &["A08 warning"]).await?;

    // A root that is to come, names no trust domain and ends too soon; and is none when the change is given up.
    let root = bed.path("root.pem");
    plain_root(&root)?;
    let root = std::fs::read_to_string(&root)?;
    let start = json!({"what": "root", "root": root});
    bed.client.call(Method::POST, "/v1/ca/rotation", Some(&start)).await?;
    let report = comes_to(&bed, &["--baseline", &known.file], 4, &["B03 critical", "B05 warning"]).await?;
    assert!(report["findings"].to_string().contains("nothing binds it to the trust domain"), "{report:#}");
    bed.client.call(Method::POST, "/v1/ca/rotation/abort", None).await?;
    over(&bed).await?;
    known.news(&[], 0, &[]).await?;
    older_ledger(bed).await
}

/// The change is over, for which nobody is waited: no agent holds what was issued.
async fn over(bed: &Bed) -> Result<()> {
    eventually("the change is given up", PATIENCE, || async {
        let status = bed.client.call(Method::GET, "/v1/ca/rotation", None).await?;
        let laggards = status["laggards"].as_array().into_iter().flatten();
        let overrides: Vec<Value> = laggards.map(|laggard| laggard["node"].clone()).collect();
        if !overrides.is_empty() {
            let overrides = json!({"overrides": overrides});
            bed.client.call(Method::POST, "/v1/ca/rotation/resume", Some(&overrides)).await?;
        }
        ensure!(status["phase"] == "aborted", "{status:#}");
        Ok(())
    })
    .await
}

/// A server on a folder of before: what it has lost is known by a checkpoint that was kept elsewhere.
async fn older_ledger(mut bed: Bed) -> Result<()> {
    let data = bed.server.ready.data_dir.clone();
    let (before, now) = (bed.path("before"), bed.path("now"));
    bed.server.stop().await;
    crate::revocation::copy(&data, &before)?;
    bed.server.restart().await?;
    bed.virtual_node("shop", "e", json!({})).await?;
    Holder::join(&bed, "e", &KeyPair::generate()?).await?;
    let anchor = bed.path("anchor");
    let checkpoint = bed.client.call(Method::GET, "/v1/ca/checkpoint", None).await?;
    std::fs::write(&anchor, checkpoint["checkpoint"].as_str().context("a checkpoint")?)?;
    let anchor = anchor.display().to_string();
    let args = ["--only", "A03", "--anchor", &anchor];
    comes_to(&bed, &args, 0, &[]).await?;
    bed.server.stop().await;
    std::fs::rename(&data, &now)?;
    std::fs::rename(&before, &data)?;
    bed.server.restart().await?;
    let report = comes_to(&bed, &args, 4, &["A03 critical"]).await?;
    assert!(report["findings"][0]["message"].to_string().contains("and once had"), "{report:#}");
    bed.end().await;
    Ok(())
}
