//! Nodes whose traffic is redirected to Envoy by iptables, each on a host of its own.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::json;
use signet_tests::{
    bed::{
        Bed, Node, PATIENCE,
        app::{App, Kind},
        call::{self, Call},
        calling, listening,
        namespace::{Host, within_hub},
        resolver::Resolver,
    },
    eventually, program,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const HTTP: u16 = 8080;
const TCP: u16 = 9090;

/// A caller, a server, and a host outside of the mesh.
struct Three {
    bed: Bed,
    a: Host,
    b: Host,
    c: Host,
    apps: Vec<App>,
    nodes: Vec<Node>,
    _resolver: Resolver,
}

impl Three {
    async fn start(mut hub: signet_tests::bed::namespace::Hub) -> Result<Self> {
        let resolver = Resolver::start(&["127.0.0.1:53", "10.99.0.1:53"]).await?;
        let (a, b, c) = (hub.host()?, hub.host()?, hub.host()?);
        resolver.set("b.test", &[b.address.into()]);
        let mut bed = Bed::start_on("10.99.0.1".parse()?).await?;
        bed.mesh("m").await?;
        let mut spec = listening("b.test", HTTP, "http");
        spec["listeners"] = json!([
            {"portMapping": {"port": HTTP, "protocol": "http"}}, {"portMapping": {"port": TCP, "protocol": "tcp"}}
        ]);
        bed.virtual_node("m", "b", spec).await?;
        bed.service_of_node("m", "b.test", "b").await?;
        bed.virtual_node("m", "a", calling(&["b.test"])).await?;
        let listen = |host: &Host, at: &str| host.namespace.listen(at);
        let apps = vec![
            App::on("b", listen(&b, "127.0.0.1:8080")?, Kind::Http)?,
            App::on("b-tcp", listen(&b, "127.0.0.1:9090")?, Kind::Tcp { greets: true })?,
            App::on("c", listen(&c, "0.0.0.0:8080")?, Kind::Http)?,
            App::on("c-tcp", listen(&c, "0.0.0.0:9999")?, Kind::Tcp { greets: true })?,
            App::on("c-tls", listen(&c, "0.0.0.0:443")?, Kind::Tcp { greets: false })?,
        ];
        let nodes = vec![
            b.redirected(&mut bed, "m", "b", "8080,9090").await?,
            a.redirected(&mut bed, "m", "a", "7000").await?,
        ];
        bed.synced().await?;
        let three = Self { bed, a, b, c, apps, nodes, _resolver: resolver };
        eventually("a first call goes through", PATIENCE, || three.a_calls("b.test", three.b(HTTP))).await?;
        Ok(three)
    }

    fn b(&self, port: u16) -> SocketAddr {
        (self.b.address, port).into()
    }

    fn c(&self, port: u16) -> SocketAddr {
        (self.c.address, port).into()
    }

    /// What a GET from host a is answered.
    async fn a_calls(&self, host: &str, to: SocketAddr) -> Result<String> {
        let answer = Call::to(to, host).send_on(self.a.namespace.connect(to)?).await?;
        Ok(format!("{} {}", answer.code(), answer.app()).trim().to_owned())
    }

    /// What a TCP client on host a gets to hear; empty where it is hung up on.
    async fn a_hears(&self, to: SocketAddr) -> Result<String> {
        let mut stream = self.a.namespace.connect(to)?;
        let mut heard = vec![0; 64];
        let read = timeout(Duration::from_secs(5), stream.read(&mut heard)).await?.unwrap_or(0);
        Ok(String::from_utf8_lossy(heard.get(..read).unwrap_or_default()).trim().to_owned())
    }

    /// Which counters have counted nothing, of those that dashboards know by the names that App Mesh gave to listeners,
    /// clusters and connection managers, and of those that each chain has of its own.
    async fn silent(&self) -> Result<Vec<String>> {
        let of_a = [
            "listener.0.0.0.0_15001.downstream_cx_total",
            "http.egress.downstream_rq_2xx",
            "cluster.cds_egress_m_b_http_8080.upstream_rq_total",
            "cluster.cds_egress_m_b_tcp_9090.upstream_cx_total",
            "cluster.cds_egress_m_mesh-allow-all.upstream_cx_total",
            "cluster.cds_egress_m_amazonaws.upstream_cx_total",
            "tcp.egress_tcp_9090.downstream_cx_total",
            "tcp.egress_mesh_allow_all.downstream_cx_total",
            "tcp.egress_amazonaws.downstream_cx_total",
        ];
        let of_b = [
            "listener.0.0.0.0_15000.downstream_cx_total",
            "http.ingress_http_8080_plaintext.downstream_rq_2xx",
            "cluster.cds_ingress_m_b_http_8080.upstream_rq_total",
            "tcp.ingress_tcp_9090_plaintext.downstream_cx_total",
            "cluster.cds_ingress_m_b_tcp_9090.upstream_cx_total",
        ];
        let [b, a] = &self.nodes[..] else { bail!("two nodes have Envoys") };
        let mut silent = Vec::new();
        for (host, node, names) in [(&self.a, a, &of_a[..]), (&self.b, b, &of_b)] {
            let admin = node.sidecar.ready.admin;
            let stats = Call::to(admin, "admin").path("/stats?usedonly");
            let text = stats.send_on(host.namespace.connect(admin)?).await?.body;
            let counts = |name: &str| {
                let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                values.any(|value| value != "0")
            };
            silent.extend(names.iter().filter(|name| !counts(name)).map(ToString::to_string));
        }
        Ok(silent)
    }

    /// Whether the start of a TLS handshake from host a comes through to port 443 of host c.
    async fn tls_to(&self, name: &str) -> Result<bool> {
        let hello = client_hello(name)?;
        let mut stream = self.a.namespace.connect(self.c(443))?;
        stream.write_all(&hello).await?;
        let mut echo = vec![0; hello.len()];
        Ok(timeout(Duration::from_secs(5), stream.read_exact(&mut echo)).await?.is_ok_and(|_| echo == hello))
    }
}

fn client_hello(name: &str) -> Result<Vec<u8>> {
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), name.to_owned().try_into()?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

#[test]
fn redirected_traffic_goes_where_the_egress_filter_lets_it() -> Result<()> {
    within_hub(|hub| async {
        let three = Three::start(hub).await?;
        let socket = three.a.namespace.connect(three.b(HTTP))?;
        assert_eq!(call::websocket(socket, "b.test", "ping").await?, "ping");
        assert_eq!(three.a_calls("b.test:8080", three.b(HTTP)).await?, "200 b");
        assert_eq!(
            three.a_calls("b.test", three.c(HTTP)).await?,
            "200 b",
            "the Host says whom, not the address"
        );
        assert_eq!(three.a_hears(three.b(TCP)).await?, "b-tcp", "TCP, by its port");

        // DROP_ALL.
        assert_eq!(three.a_calls("c.test", three.c(HTTP)).await?, "404", "an unknown host on a known port");
        assert_eq!(three.a_hears(three.c(9999)).await?, "", "an unknown port");
        assert!(!three.tls_to("example.com").await?, "an unknown host on 443");
        assert!(three.tls_to("s3.us-east-1.amazonaws.com").await?, "AWS's own APIs");

        let spec = json!({"spec": {"egressFilter": {"type": "ALLOW_ALL"}}});
        three.bed.put("meshes/m", spec).await?;
        three.bed.synced().await?;
        eventually("an unknown port is passed through", PATIENCE, || async {
            let heard = three.a_hears(three.c(9999)).await?;
            ensure!(heard == "c-tcp", "heard {heard:?}");
            Ok(())
        })
        .await?;
        assert_eq!(three.a_calls("c.test", three.c(HTTP)).await?, "200 c", "an unknown host on a known port");
        assert_eq!(three.a_calls("b.test", three.c(HTTP)).await?, "200 b", "a backend is still the mesh's");
        assert!(three.tls_to("example.com").await? && three.tls_to("s3.amazonaws.com").await?);
        // What dials Envoy's own port is not sent back to it.
        assert_eq!(three.a_hears(([127, 0, 0, 1], 15_001).into()).await?, "");
        assert_eq!(three.silent().await?, Vec::<String>::new(), "names that dashboards know count nothing");
        strangers(&three).await?;
        drop(three.apps);
        three.bed.end().await;
        Ok(())
    })
}

/// Host c calls as anybody may.
async fn strangers(three: &Three) -> Result<()> {
    let from_c = |to: SocketAddr| three.c.namespace.connect(to);
    let answer = Call::to(three.b(HTTP), "b.test").send_on(from_c(three.b(HTTP))?).await?;
    assert_eq!(answer.app(), "b", "b takes plaintext");
    assert!(from_c((three.a.address, 15_001).into()).is_err(), "egress is on loopback");
    let straight = Call::to(three.b(15_000), "b.test").send_on(from_c(three.b(15_000))?).await;
    assert!(straight.is_err(), "port 15000 is nobody's destination: {straight:?}");
    let mut spec = listening("b.test", HTTP, "http");
    spec["listeners"][0]["tls"] = json!({"mode": "STRICT", "certificate": {"acm": {"certificateArn": "arn:aws:acm:us-east-1:000000000000:c/1"}}});
    // Envoy is another user's.
    let log = three.bed.path("b.log");
    std::fs::write(&log, "")?;
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o666))?;
    let format = json!({"text": "sni=%REQUESTED_SERVER_NAME%\n"});
    spec["logging"] = json!({"accessLog": {"file": {"path": log, "format": format}}});
    three.bed.respec("m", "b", spec).await?;
    three.bed.synced().await?;
    eventually("a stranger is refused in plaintext", PATIENCE, || async {
        let plain = Call::to(three.b(HTTP), "b.test").send_on(from_c(three.b(HTTP))?).await;
        ensure!(plain.is_err(), "it is served");
        Ok(())
    })
    .await?;
    assert_eq!(three.a_calls("b.test", three.b(HTTP)).await?, "200 b", "and the mesh's own speak TLS");
    let envoy = three.nodes.first().and_then(|b| Pid::from_raw(b.sidecar.ready.envoy_pid));
    eventually("they name the server that they mean", PATIENCE, || async {
        rustix::process::kill_process(envoy.context("a pid")?, Signal::USR1)?;
        let text = std::fs::read_to_string(&log)?;
        ensure!(text.lines().any(|line| line == "sni=b.test"), "{text:?}");
        Ok(())
    })
    .await
}

#[test]
fn interception_rules_are_applied_once_replaced_whole_and_removed_from_any_state() -> Result<()> {
    within_hub(|hub| async move {
        let (program, namespace) = (program()?, &hub.namespace);
        let signet = |args: &str| namespace.run(&program, &args.split(' ').collect::<Vec<_>>());
        let saved = || namespace.run("iptables-save".as_ref(), &["-t", "nat"]);
        let apply = "interception apply --format json --ignore-uid 1337 --app-ports";
        let results = |printed: String| -> Vec<String> {
            let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok();
            let words =
                printed.lines().filter_map(line).map(|line| line["result"].as_str().map(str::to_owned));
            words.flatten().collect()
        };
        assert_eq!(results(signet(&format!("{apply} 80,81 --ipv6"))?), ["applied", "applied"]);
        let first = saved()?;
        assert_eq!(results(signet(&format!("{apply} 81,80 --ipv6"))?), ["unchanged", "unchanged"]);
        let rules = |text: &str| {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(rules(&saved()?), rules(&first));
        assert_eq!(results(signet(&format!("{apply} 82"))?), ["replaced"]);
        assert_eq!(saved()?.matches("-j APPMESH_").count(), 2, "nothing leads there twice");

        namespace.run("iptables".as_ref(), &["-t", "nat", "-D", "OUTPUT", "1"])?;
        let refused = signet(&format!("{apply} 82")).unwrap_err().to_string();
        assert!(refused.contains("by half") && refused.contains("signet interception remove"), "{refused}");
        assert_eq!(results(signet("interception remove --format json --ipv6")?), ["removed", "removed"]);
        assert!(!saved()?.contains("APPMESH"));
        assert_eq!(results(signet("interception remove --format json")?), ["absent"]);
        Ok(())
    })
}
