//! TLS of both ends: who speaks what to whom, by the client's policy and the server's listener.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use signet_tests::{
    bed::{Bed, Node, PATIENCE, app::App, calling, listening},
    eventually,
};

/// Certificates of a CA that Signet knows nothing of, in a folder of their own.
struct Files {
    folder: std::path::PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Files {
    fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, folder.display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// Writes a chain and its key, each by a rename, as certificate tools do.
    fn issue(&self, file: &str, name: &str) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &self.issuer)?;
        for (end, text) in [("key", key.serialize_pem()), ("pem", certificate.pem())] {
            let new = self.folder.join(format!(".{file}.{end}"));
            std::fs::write(&new, text)?;
            std::fs::rename(new, self.folder.join(format!("{file}.{end}")))?;
        }
        Ok(())
    }

    fn pair(&self, file: &str) -> Value {
        let path = |end| self.folder.join(format!("{file}.{end}"));
        json!({"file": {"certificateChain": path("pem"), "privateKey": path("key")}})
    }

    fn roots(&self) -> Value {
        json!({"file": {"certificateChain": self.folder.join("ca.pem")}})
    }
}

fn acm() -> Value {
    json!({"acm": {"certificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/1"}})
}

fn acm_roots() -> Value {
    json!({"acm": {"certificateAuthorityArns": ["arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/1"]}})
}

/// A server and a caller whose specs change from case to case.
struct Pair {
    bed: Bed,
    app: App,
    server: Node,
    caller: Node,
}

impl Pair {
    async fn start() -> Result<Self> {
        let mut bed = Bed::start().await?;
        bed.mesh("m").await?;
        let app = App::http("app").await?;
        let server = bed.served("m", "server", &app, "http", |_| {}).await?;
        bed.service_of_node("m", "s.test", "server").await?;
        let caller = bed.caller("m", "caller", &["s.test"]).await?;
        bed.synced().await?;
        Ok(Self { bed, app, server, caller })
    }

    async fn serve(&self, tls: Option<Value>) -> Result<()> {
        let mut spec = listening(&self.server.ingress.to_string(), self.app.port, "http");
        if let Some(tls) = tls {
            spec["listeners"][0]["tls"] = tls;
        }
        self.bed.respec("m", "server", spec).await
    }

    /// The policy of the backend, and that of the node's backends in general.
    async fn policy(&self, own: Option<&Value>, general: Option<&Value>) -> Result<()> {
        let mut spec = calling(&["s.test"]);
        if let Some(tls) = own {
            spec["backends"][0]["virtualService"]["clientPolicy"] = json!({"tls": tls});
        }
        if let Some(tls) = general {
            spec["backendDefaults"] = json!({"clientPolicy": {"tls": tls}});
        }
        self.bed.respec("m", "caller", spec).await
    }

    /// What a call comes to over a connection of its own: `plaintext`, `tls`, or `refused`.
    async fn outcome(&self) -> Result<&'static str> {
        let chain = |chain: &str| format!("http.ingress_http_.*_{chain}.downstream_rq_total");
        let (plain, tls) = (chain("plaintext"), chain("tls"));
        let before = (self.server.total(&plain).await?, self.server.total(&tls).await?);
        let code = self.caller.call("s.test").send().await?.code();
        let after = (self.server.total(&plain).await?, self.server.total(&tls).await?);
        // Counters of a chain that is taken away vanish; what matters is which one counts now.
        match code {
            200 if after.1 > before.1 => Ok("tls"),
            200 if after.0 > before.0 => Ok("plaintext"),
            503 => Ok("refused"),
            code => anyhow::bail!("{code}, from {before:?} to {after:?}"),
        }
    }

    /// The secrets that the caller's Envoy runs the server's cluster with: its own certificate, and the roots.
    async fn secrets(&self) -> Result<[String; 2]> {
        let dump = self.caller.admin().json("/config_dump?resource=dynamic_active_clusters").await?;
        let clusters = dump["configs"].as_array().cloned().unwrap_or_default();
        let server = clusters.iter().map(|entry| &entry["cluster"]).find(|cluster| {
            cluster["name"].as_str().is_some_and(|name| name.starts_with("cds_egress_m_server_"))
        });
        let server = server.with_context(|| format!("no cluster of the server in {dump}"))?;
        let tls = &server["transport_socket"]["typed_config"]["common_tls_context"];
        let certificate = &tls["tls_certificate_sds_secret_configs"][0];
        let roots = &tls["combined_validation_context"]["validation_context_sds_secret_config"];
        Ok([certificate, roots].map(|secret| secret["name"].as_str().unwrap_or_default().to_owned()))
    }

    async fn becomes(&self, what: &str, outcome: &str) -> Result<()> {
        self.bed.synced().await?;
        eventually(what, PATIENCE, || async {
            let got = self.outcome().await?;
            ensure!(got == outcome, "it is {got}, not {outcome}");
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_policy_and_the_servers_listener_decide_together() -> Result<()> {
    let pair = Pair::start().await?;
    let files = Files::new(&pair.bed.path("files"))?;
    files.issue("server", "server.test")?;
    let enforced = json!({"validation": {"trust": acm_roots()}});
    let lenient = json!({"enforce": false, "validation": {"trust": acm_roots()}});
    let elsewhere = json!({"ports": [1], "validation": {"trust": acm_roots()}});
    let file_trust = |names: &[&str]| json!({"validation": {"trust": files.roots(), "subjectAlternativeNames": {"match": {"exact": names}}}});
    let tls = |mode: &str, certificate: Value| Some(json!({"mode": mode, "certificate": certificate}));
    type Policy<'a> = Option<&'a Value>;
    let (right, wrong) = (file_trust(&["server.test"]), file_trust(&["other.test"]));
    let sds = json!({"sds": {"secretName": "default"}});
    let cases: [(&str, Option<Value>, Policy<'_>, Policy<'_>, &str); 14] = [
        ("no policy, no TLS", None, None, None, "plaintext"),
        ("not enforced, no TLS", None, Some(&lenient), None, "plaintext"),
        ("another port's policy, no TLS", None, Some(&elsewhere), None, "plaintext"),
        ("enforced, no TLS", None, Some(&enforced), None, "refused"),
        ("enforced for all backends, no TLS", None, None, Some(&enforced), "refused"),
        ("the backend's policy as a whole, no TLS", None, Some(&lenient), Some(&enforced), "plaintext"),
        ("no policy, permissive", tls("PERMISSIVE", acm()), None, None, "tls"),
        ("not enforced, strict", tls("STRICT", acm()), Some(&lenient), None, "tls"),
        ("another port's policy, strict", tls("STRICT", acm()), Some(&elsewhere), None, "tls"),
        ("enforced, strict", tls("STRICT", sds), Some(&enforced), None, "tls"),
        ("enforced by another CA, strict", tls("STRICT", acm()), Some(&right), None, "refused"),
        ("no policy, a file", tls("STRICT", files.pair("server")), None, None, "tls"),
        ("the file's CA and its name", tls("STRICT", files.pair("server")), Some(&right), None, "tls"),
        (
            "the file's CA and another name",
            tls("STRICT", files.pair("server")),
            Some(&wrong),
            None,
            "refused",
        ),
    ];
    for (what, listener, own, general, outcome) in cases {
        pair.policy(None, None).await?;
        pair.serve(listener).await?;
        pair.bed.synced().await?;
        pair.policy(own, general).await?;
        pair.becomes(what, outcome).await?;
    }
    let failed = pair.caller.total("cluster.cds_egress_m_server_.*ssl.fail_verify_san").await?;
    assert!(failed > 0, "the last was refused for its name");
    pair.bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_asked_for_certificates_of_files_and_renewed_files_are_read_again() -> Result<()> {
    let pair = Pair::start().await?;
    let (servers, clients) = (Files::new(&pair.bed.path("servers"))?, Files::new(&pair.bed.path("clients"))?);
    servers.issue("server", "server.test")?;
    clients.issue("client", "caller.test")?;
    let listener = |names: Option<&str>| {
        let mut validation = json!({"trust": clients.roots()});
        if let Some(name) = names {
            validation["subjectAlternativeNames"] = json!({"match": {"exact": [name]}});
        }
        Some(json!({"mode": "STRICT", "certificate": servers.pair("server"), "validation": validation}))
    };
    let names = json!({"match": {"exact": ["server.test"]}});
    let validation = json!({"trust": servers.roots(), "subjectAlternativeNames": names});
    let with = json!({"certificate": clients.pair("client"), "validation": validation});
    let without = json!({"validation": validation});
    for (what, listener, policy, outcome) in [
        ("a certificate of the right CA", listener(None), &with, "tls"),
        ("the right name", listener(Some("caller.test")), &with, "tls"),
        ("another name", listener(Some("other.test")), &with, "refused"),
        ("a certificate of Signet's CA", listener(None), &without, "refused"),
        ("the right one again", listener(None), &with, "tls"),
    ] {
        pair.serve(listener).await?;
        pair.policy(Some(policy), None).await?;
        pair.becomes(what, outcome).await?;
    }
    let before = pair.server.admin().serials().await?;
    servers.issue("server", "server.test")?;
    eventually("Envoy reads the new files", PATIENCE, || async {
        let now = pair.server.admin().serials().await?;
        ensure!(now != before, "still {now:?}");
        Ok(())
    })
    .await?;
    pair.becomes("the new certificate", "tls").await?;
    pair.bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_of_all_its_backends_holds_in_every_part() -> Result<()> {
    let pair = Pair::start().await?;
    let (servers, clients) = (Files::new(&pair.bed.path("servers"))?, Files::new(&pair.bed.path("clients"))?);
    servers.issue("server", "server.test")?;
    clients.issue("client", "caller.test")?;
    let general = |ports: &[u16], certificate: Option<Value>, trust: Value, name: &str| {
        let mut tls =
            json!({"validation": {"trust": trust, "subjectAlternativeNames": {"match": {"exact": [name]}}}});
        if !ports.is_empty() {
            tls["ports"] = json!(ports);
        }
        if let Some(certificate) = certificate {
            tls["certificate"] = certificate;
        }
        tls
    };
    let (own, right) = (|| Some(clients.pair("client")), "server.test");
    let mutual = json!({
        "mode": "STRICT", "certificate": servers.pair("server"),
        "validation": {"trust": clients.roots(), "subjectAlternativeNames": {"match": {"exact": ["caller.test"]}}}
    });
    let plaintext = [
        ("another port's policy", general(&[1], None, acm_roots(), right), "plaintext"),
        ("this port's policy", general(&[1, pair.app.port], None, acm_roots(), right), "refused"),
    ];
    let strict = [
        ("files and the name", general(&[], own(), servers.roots(), right), "tls"),
        ("another name", general(&[], own(), servers.roots(), "other.test"), "refused"),
        ("the right name again", general(&[], own(), servers.roots(), right), "tls"),
        ("no file for a certificate", general(&[], None, servers.roots(), right), "refused"),
        ("the right certificate again", general(&[], own(), servers.roots(), right), "tls"),
        ("roots of another file", general(&[], own(), clients.roots(), right), "refused"),
    ];
    for (listener, cases) in [(None, &plaintext[..]), (Some(mutual), &strict[..])] {
        pair.policy(None, None).await?;
        pair.serve(listener).await?;
        pair.bed.synced().await?;
        for (what, policy, outcome) in cases {
            pair.policy(None, Some(policy)).await?;
            pair.becomes(what, outcome).await?;
        }
    }
    pair.bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn client_policies_take_the_secrets_that_they_name() -> Result<()> {
    const CALLER: &str = "spiffe://signet.internal/mesh/m/virtual-node/caller";
    const DOMAIN: &str = "spiffe://signet.internal";
    let pair = Pair::start().await?;
    let strangers = Files::new(&pair.bed.path("strangers"))?;
    strangers.issue("client", "caller.test")?;
    let secret = |name: &str| json!({"sds": {"secretName": name}});
    let policy = |certificate: Value, trust: Value| json!({"certificate": certificate, "validation": {"trust": trust}});
    let mutual = json!({
        "mode": "STRICT", "certificate": secret("default"),
        "validation": {"trust": secret("ROOTCA"), "subjectAlternativeNames": {"match": {"exact": [CALLER]}}}
    });
    pair.serve(Some(mutual)).await?;
    pair.bed.synced().await?;
    let stranger = policy(strangers.pair("client"), secret("ALL"));
    let wary = policy(secret(CALLER), strangers.roots());
    for (what, policy) in [("a stranger's certificate", &stranger), ("strangers' roots", &wary)] {
        for (own, general) in [(None, Some(policy)), (Some(policy), None)] {
            pair.policy(own, general).await?;
            pair.becomes(what, "refused").await?;
        }
    }
    // What is asked for without a policy is `default` and `ROOTCA`.
    for (certificate, roots) in [(CALLER, "ALL"), ("default", DOMAIN)] {
        let named = policy(secret(certificate), secret(roots));
        for (own, general) in [(None, Some(&named)), (Some(&named), Some(&stranger))] {
            pair.policy(own, general).await?;
            pair.becomes("the secrets that are named", "tls").await?;
            assert_eq!(pair.secrets().await?, [certificate, roots], "{own:?}, {general:?}");
        }
    }
    pair.bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_not_taken_away_from_a_client_that_enforces_it() -> Result<()> {
    let pair = Pair::start().await?;
    let enforced = json!({"validation": {"trust": acm_roots()}});
    pair.serve(Some(json!({"mode": "STRICT", "certificate": acm()}))).await?;
    pair.bed.synced().await?;
    pair.policy(Some(&enforced), None).await?;
    pair.becomes("TLS by policy", "tls").await?;

    pair.serve(None).await?;
    eventually("the port waits for the client", PATIENCE, || async {
        let answer = pair.bed.proxies().await?;
        let port = &answer["ports"][0];
        let waiting = port["waitingFor"].to_string();
        ensure!(waiting.contains("virtualNode/caller, whose client policy enforces TLS"), "{port}");
        ensure!(port["acceptsPlaintext"] == true && port["acceptsTls"] == true, "{port}");
        Ok(())
    })
    .await?;
    assert_eq!(pair.outcome().await?, "tls");
    pair.policy(None, None).await?;
    pair.becomes("plaintext, as nobody enforces TLS any more", "plaintext").await?;
    pair.bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_one_node_are_called_each_by_its_own_policy() -> Result<()> {
    let pair = Pair::start().await?;
    pair.bed.service_of_node("m", "t.test", "server").await?;
    let mut spec = calling(&["s.test", "t.test"]);
    spec["backends"][1]["virtualService"]["clientPolicy"] =
        json!({"tls": {"validation": {"trust": acm_roots()}}});
    pair.bed.respec("m", "caller", spec).await?;
    pair.becomes("the first is called in plaintext", "plaintext").await?;
    assert_eq!(pair.caller.call("t.test").send().await?.code(), 503, "the second demands TLS");
    pair.serve(Some(json!({"mode": "PERMISSIVE", "certificate": acm()}))).await?;
    pair.becomes("both speak TLS", "tls").await?;
    assert_eq!(pair.caller.call("t.test").send().await?.code(), 200);
    let connections = pair.caller.stats("cluster.cds_egress_m_server_.*ssl.handshake").await?;
    assert!(connections.len() == 2 && connections.iter().all(|(_, count)| *count > 0), "{connections:?}");
    pair.bed.end().await;
    Ok(())
}
