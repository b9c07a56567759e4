//! IPv4 and IPv6: where a node listens, what it calls and where its application is, by its IP preference.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use signet::local::mesh::{SidecarPlan, Traffic};
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{
        Bed, Node, PATIENCE,
        app::{App, Kind},
        call::Call,
        calling,
        namespace::{Host, Hub, within_hub},
        resolver::Resolver,
    },
    envoy_binary, eventually,
};

const PORT: u16 = 8080;
const NAME: &str = "b.test";

/// Found by its name, with this preference of its own.
fn spec(preference: Option<&str>) -> Value {
    let mut dns = json!({"hostname": NAME});
    if let Some(preference) = preference {
        dns["ipPreference"] = preference.into();
    }
    let listeners = json!([{"portMapping": {"port": PORT, "protocol": "http"}}]);
    json!({"listeners": listeners, "serviceDiscovery": {"dns": dns}})
}

/// One application on each family's loopback.
fn applications(listen: impl Fn(&str) -> Result<tokio::net::TcpListener>) -> Result<[App; 2]> {
    let app = |name, address: &str| App::on(name, listen(address)?, Kind::Http);
    Ok([app("four", "127.0.0.1:8080")?, app("six", "[::1]:8080")?])
}

/// A caller, a server and a host outside of the mesh. The traffic of the first two is redirected.
struct Redirected {
    bed: Bed,
    a: Host,
    b: Host,
    c: Host,
    caller: Node,
    _server: Node,
    _apps: [App; 2],
    _resolver: Resolver,
}

impl Redirected {
    async fn start(mut hub: Hub) -> Result<Self> {
        let resolver = Resolver::start(&["127.0.0.1:53", "10.99.0.1:53"]).await?;
        let (a, b, c) = (hub.host()?, hub.host()?, hub.host()?);
        resolver.set(NAME, &[b.address.into(), b.ipv6.into()]);
        let mut bed = Bed::start_on("10.99.0.1".parse()?).await?;
        bed.mesh("m").await?;
        bed.virtual_node("m", "b", spec(None)).await?;
        bed.service_of_node("m", NAME, "b").await?;
        bed.virtual_node("m", "a", calling(&[NAME])).await?;
        let apps = applications(|address| b.namespace.listen(address))?;
        let server = b.redirected(&mut bed, "m", "b", "8080").await?;
        let caller = a.redirected(&mut bed, "m", "a", "7000").await?;
        bed.synced().await?;
        Ok(Self { bed, a, b, c, caller, _server: server, _apps: apps, _resolver: resolver })
    }

    /// Who answers a host's call to an address of b's.
    async fn answers(&self, host: &Host, address: IpAddr) -> String {
        let to = SocketAddr::new(address, PORT);
        let Ok(stream) = host.namespace.connect(to) else { return "nobody".to_owned() };
        match Call::to(to, NAME).send_on(stream).await {
            Ok(answer) if answer.code() == 200 => answer.app().to_owned(),
            Ok(_) | Err(_) => "nobody".to_owned(),
        }
    }

    /// The address at which the caller's Envoy calls b.
    async fn dialed(&self) -> Result<IpAddr> {
        let admin = self.caller.sidecar.ready.admin;
        let clusters = Call::to(admin, "admin").path("/clusters?format=json");
        let text = clusters.send_on(self.a.namespace.connect(admin)?).await?.body;
        let all: Value = serde_json::from_str(&text)?;
        let mut all = all["cluster_statuses"].as_array().into_iter().flatten();
        let cluster = all.find(|it| it["name"] == "cds_egress_m_b_http_8080");
        let Some(hosts) = cluster.and_then(|it| it["host_statuses"].as_array()) else {
            bail!("no such cluster")
        };
        let [host] = &hosts[..] else { bail!("it is called at {hosts:?}") };
        Ok(host["address"]["socket_address"]["address"].as_str().unwrap_or_default().parse()?)
    }

    /// Waits until calls of a stranger's, and of the caller's application, are answered so over IPv4 and over IPv6, and
    /// until the caller's Envoy calls b over IPv6 or IPv4.
    async fn until(&self, stranger: [&str; 2], caller: [&str; 2], by_ipv6: bool) -> Result<()> {
        self.bed.synced().await?;
        eventually(&format!("{stranger:?} and {caller:?} answer"), PATIENCE, || async {
            let both = [IpAddr::V4(self.b.address), IpAddr::V6(self.b.ipv6)];
            for (host, expected) in [(&self.c, stranger), (&self.a, caller)] {
                for (address, expected) in both.into_iter().zip(expected) {
                    let answers = self.answers(host, address).await;
                    ensure!(answers == expected, "{answers} answers {} at {address}", host.address);
                }
            }
            let dialed = self.dialed().await?;
            ensure!(dialed.is_ipv6() == by_ipv6, "b is called at {dialed}");
            Ok(())
        })
        .await
    }
}

#[test]
fn redirected_traffic_of_both_families_is_taken_with_a_preference_and_goes_on_over_the_one_that_is_preferred()
-> Result<()> {
    within_hub(|hub| async {
        let mesh = Redirected::start(hub).await?;
        // Without a preference nothing listens on IPv6, as in App Mesh.
        mesh.until(["four", "nobody"], ["four", "nobody"], false).await?;
        // A server's own preference: the caller's Envoy, which has none, takes its application's calls on IPv4 alone.
        for (preference, app, by_ipv6) in [
            ("IPv6_ONLY", "six", true),
            ("IPv4_ONLY", "four", false),
            ("IPv6_PREFERRED", "six", true),
            ("IPv4_PREFERRED", "four", false),
        ] {
            mesh.bed.respec("m", "b", spec(Some(preference))).await?;
            mesh.until([app, app], [app, "nobody"], by_ipv6).await?;
        }
        // The mesh's is everybody's who has none.
        mesh.bed.respec("m", "b", spec(None)).await?;
        for (preference, app, by_ipv6) in [("IPv6_PREFERRED", "six", true), ("IPv4_ONLY", "four", false)] {
            let of_mesh = json!({"spec": {"serviceDiscovery": {"ipPreference": preference}}});
            mesh.bed.put("meshes/m", of_mesh).await?;
            mesh.until([app, app], [app, app], by_ipv6).await?;
        }
        mesh.bed.put("meshes/m", json!({"spec": {}})).await?;
        mesh.until(["four", "nobody"], ["four", "nobody"], false).await?;
        mesh.bed.end().await;
        Ok(())
    })
}

#[test]
fn a_node_with_an_ipv6_address_of_its_own_listens_there_and_its_application_is_where_the_preference_says()
-> Result<()> {
    within_hub(|hub| async move {
        let resolver = Resolver::start(&["127.0.0.1:53"]).await?;
        let own: IpAddr = "fd99::1".parse()?;
        resolver.set(NAME, &[own]);
        let apps = applications(|address| hub.namespace.listen(address))?;
        let mut bed = Bed::start().await?;
        bed.mesh("m").await?;
        bed.virtual_node("m", "b", spec(None)).await?;
        bed.service_of_node("m", NAME, "b").await?;
        bed.virtual_node("m", "a", calling(&[NAME])).await?;
        let mut nodes = Vec::new();
        for (name, ingress) in [("b", own), ("a", bed.address())] {
            let plan = SidecarPlan {
                workload: Workload::virtual_node("m", name)?,
                traffic: Traffic::Called { ingress },
                envoy: envoy_binary()?,
                // The test's own, for the sake of its resolver.
                namespace: Some(hub.namespace.name.clone()),
                user: None,
            };
            nodes.push(bed.start_sidecar(&plan, ingress).await?);
        }
        let [_, caller] = &nodes[..] else { bail!("two nodes") };
        for (preference, straight, by_name) in [
            (None, "four", "four"),
            (Some("IPv6_ONLY"), "six", "six"),
            (Some("IPv6_PREFERRED"), "six", "six"),
            (Some("IPv4_PREFERRED"), "four", "four"),
            // It has no address of that kind that anybody could call.
            (Some("IPv4_ONLY"), "four", "nobody"),
        ] {
            bed.respec("m", "b", spec(preference)).await?;
            bed.synced().await?;
            eventually(&format!("{straight} and {by_name} answer with {preference:?}"), PATIENCE, || async {
                let answers = [
                    Call::to(SocketAddr::new(own, PORT), NAME).send().await?,
                    caller.call(NAME).send().await?,
                ];
                let [direct, named] = answers
                    .map(|it| if it.code() == 200 { it.app().to_owned() } else { "nobody".to_owned() });
                ensure!(direct == straight && named == by_name, "{direct} and {named} do");
                Ok(())
            })
            .await?;
        }
        drop(apps);
        bed.end().await;
        Ok(())
    })
}
