//! Instances come, go and fall ill under load; Envoy follows at once and loses nothing.

mod warming;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use signet::local::load::{Load, Plan, Tally};
use signet_tests::{
    bed::{
        Bed, Node,
        app::{App, Kind},
        call::free_port_of,
    },
    clock, eventually,
};
use tokio::net::TcpListener;

const SERVICE: &str = "colors.apps.local";
const CLUSTER: &str = "cds_egress_m_colors_http";
/// How long a change of instances may take until traffic follows, on a machine that does much else.
///
/// On an idle machine it is a tenth of a second; a cluster that warms without endpoints would take 15 s.
const SOON: Duration = Duration::from_secs(8);

/// An application that is an instance, at an address of its own.
struct Instance {
    id: &'static str,
    address: IpAddr,
    _app: App,
}

impl Instance {
    async fn start(id: &'static str, address: IpAddr, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((address, port)).await?;
        Ok(Self { id, address, _app: App::on(id, listener, Kind::Http)? })
    }
}

async fn register(bed: &Bed, instance: &Instance, stack: &str) -> Result<Value> {
    let family = if instance.address.is_ipv4() { "AWS_INSTANCE_IPV4" } else { "AWS_INSTANCE_IPV6" };
    let attributes = json!({family: instance.address.to_string(), "stack": stack});
    register_as(bed, instance.id, &attributes).await
}

async fn register_as(bed: &Bed, id: &str, attributes: &Value) -> Result<Value> {
    let path = format!("/v1/instances/apps.local/colors/{id}");
    bed.client.call(Method::PUT, &path, Some(&json!({"attributes": attributes}))).await
}

async fn set_health(bed: &Bed, instance: &Instance, status: &str) -> Result<()> {
    let path = format!("/v1/instances/apps.local/colors/{}/health", instance.id);
    bed.client.call(Method::PUT, &path, Some(&json!({"status": status}))).await.map(drop)
}

async fn deregister(bed: &Bed, instance: &Instance) -> Result<()> {
    let path = format!("/v1/instances/apps.local/colors/{}", instance.id);
    bed.client.call(Method::DELETE, &path, None).await.map(drop)
}

/// A mesh in which `caller` calls `colors`, whose instances have the stack `blue`.
async fn peopled(bed: &mut Bed, port: u16, extra: Value) -> Result<Node> {
    bed.mesh("m").await?;
    let attributes = json!([{"key": "stack", "value": "blue"}]);
    let mut cloud_map =
        json!({"namespaceName": "apps.local", "serviceName": "colors", "attributes": attributes});
    if let (Some(members), Value::Object(extra)) = (cloud_map.as_object_mut(), extra) {
        members.extend(extra);
    }
    let listeners = json!([{"portMapping": {"port": port, "protocol": "http"}}]);
    let spec = json!({"listeners": listeners, "serviceDiscovery": {"awsCloudMap": cloud_map}});
    bed.virtual_node("m", "colors", spec).await?;
    bed.service_of_node("m", SERVICE, "colors").await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;
    Ok(caller)
}

/// Load on the caller, and everything that came of it.
struct Traffic {
    load: Load,
    seen: Mutex<Tally>,
}

impl Traffic {
    fn start(caller: &Node) -> Self {
        let load = Load::start(&Plan {
            address: caller.sidecar.ready.egress,
            host: SERVICE.to_owned(),
            new_connections: 50,
            kept_alive: 100,
            connections: 4,
        });
        Self { load, seen: Mutex::default() }
    }

    /// What came back since the last look.
    fn take(&self) -> Tally {
        let tally = self.load.take();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(tally.clone());
        tally
    }

    /// Waits until exactly these answer, and nobody else for a while.
    async fn goes_to(&self, expected: &[&str]) -> Result<()> {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        eventually(&format!("{expected:?} answer"), SOON, || async {
            drop(self.take());
            let mut window = Tally::default();
            eventually("answers", SOON, || {
                window.add(self.take());
                let count = window.requests();
                async move {
                    ensure!(count >= 20, "{count} answers");
                    Ok(())
                }
            })
            .await?;
            let answered: BTreeSet<&str> = window.answered.keys().map(String::as_str).collect();
            ensure!(answered == expected, "{answered:?} did");
            Ok(())
        })
        .await
    }

    async fn stop(self) -> Tally {
        let mut seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        seen.add(self.load.stop().await);
        seen
    }
}

/// How often Envoy took clusters, listeners, and endpoints.
async fn updates(caller: &Node) -> Result<(u64, u64, u64)> {
    let admin = caller.admin();
    let clusters = admin.counter("cluster_manager.cds.update_success").await?;
    let listeners = admin.counter("listener_manager.lds.update_success").await?;
    Ok((clusters, listeners, caller.total(&format!("{CLUSTER}.*update_success")).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_follows_instances_at_once_and_no_planned_change_fails_a_request() -> Result<()> {
    let mut bed = Bed::start().await?;
    let port = free_port_of(bed.address())?;
    let caller = peopled(&mut bed, port, json!({})).await?;
    // No instance is an answer too: nothing warms, and calls fail at once.
    assert_eq!(caller.call(SERVICE).send().await?.code(), 503);
    let (one, two) = (
        Instance::start("one", bed.address(), port).await?,
        Instance::start("two", bed.address(), port).await?,
    );
    let green = Instance::start("green", bed.address(), port).await?;
    register(&bed, &green, "green").await?;
    assert_eq!(register(&bed, &one, "blue").await?["changed"], true);
    eventually("the first instance is called", SOON, || async {
        let answer = caller.call(SERVICE).send().await?;
        ensure!(answer.code() == 200 && answer.app() == "one", "{answer:?}");
        Ok(())
    })
    .await?;

    let before = updates(&caller).await?;
    let traffic = Traffic::start(&caller);
    traffic.goes_to(&["one"]).await?;
    register(&bed, &two, "blue").await?;
    traffic.goes_to(&["one", "two"]).await?;
    set_health(&bed, &two, "UNHEALTHY").await?;
    traffic.goes_to(&["one"]).await?;
    set_health(&bed, &one, "UNHEALTHY").await?;
    traffic.goes_to(&["one", "two"]).await.context("where none is healthy, all are called")?;
    set_health(&bed, &two, "HEALTHY").await?;
    traffic.goes_to(&["two"]).await?;
    set_health(&bed, &one, "HEALTHY").await?;
    traffic.goes_to(&["one", "two"]).await?;
    deregister(&bed, &one).await?;
    traffic.goes_to(&["two"]).await?;
    register(&bed, &one, "green").await?;
    traffic.goes_to(&["two"]).await.context("it has another stack")?;
    assert_eq!(register(&bed, &one, "blue").await?["changed"], false, "it was there, with other attributes");
    traffic.goes_to(&["one", "two"]).await?;
    let after = updates(&caller).await?;
    assert_eq!((after.0, after.1), (before.0, before.1), "clusters or listeners were sent again");
    assert_eq!(after.2 - before.2, 7, "one update of endpoints for each change that concerns them");

    bed.server.kill().await?;
    traffic.goes_to(&["one", "two"]).await?;
    bed.server.restart().await?;
    bed.client = bed.server.client(clock())?;
    bed.synced().await?;
    traffic.goes_to(&["one", "two"]).await.context("a restarted server knows them")?;
    deregister(&bed, &two).await?;
    traffic.goes_to(&["one"]).await?;
    let tally = traffic.stop().await;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_an_instance_is_chosen_by_the_nodes_preference_else_the_meshs() -> Result<()> {
    let mut bed = Bed::start().await?;
    let port = free_port_of(IpAddr::V6(Ipv6Addr::LOCALHOST))?;
    let four = Instance::start("four", bed.address(), port).await?;
    let six = Instance::start("six", IpAddr::V6(Ipv6Addr::LOCALHOST), port).await?;
    let caller = peopled(&mut bed, port, json!({})).await?;
    let both = json!({
        "AWS_INSTANCE_IPV4": four.address.to_string(), "AWS_INSTANCE_IPV6": six.address.to_string(), "stack": "blue",
    });
    register_as(&bed, "both", &both).await?;
    let answers = |expected: &'static str| {
        let call = caller.call(SERVICE);
        async move {
            eventually(expected, Duration::from_secs(5), || async {
                let answer = call.send().await?;
                let app = if answer.code() == 200 { answer.app() } else { "nobody" };
                ensure!(app == expected, "{answer:?}");
                Ok(())
            })
            .await
        }
    };
    answers("four").await?;
    let of_mesh = |preference: &str| {
        let spec = json!({"serviceDiscovery": {"ipPreference": preference}});
        bed.put("meshes/m", json!({"spec": spec}))
    };
    of_mesh("IPv6_PREFERRED").await?;
    answers("six").await.context("the mesh prefers IPv6")?;
    let mut node = bed.client.call(Method::GET, "/v20190125/meshes/m/virtualNodes/colors", None).await?;
    let mut spec = node["spec"].take();
    spec["serviceDiscovery"]["awsCloudMap"]["ipPreference"] = "IPv4_ONLY".into();
    bed.respec("m", "colors", spec.clone()).await?;
    answers("four").await.context("the node takes IPv4 alone")?;
    let v6 = json!({"AWS_INSTANCE_IPV6": six.address.to_string(), "stack": "blue"});
    register_as(&bed, "both", &v6).await?;
    answers("nobody").await.context("it has no IPv4 address")?;
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_registered_is_refused_by_name_and_pages_hold_every_instance_once() -> Result<()> {
    let bed = Bed::start().await?;
    let cases = [
        (json!({}), "one of AWS_INSTANCE_IPV4 and AWS_INSTANCE_IPV6 is required"),
        (json!({"AWS_INSTANCE_IPV4": "::1"}), "AWS_INSTANCE_IPV4 must be an IPv4 address"),
        (json!({"AWS_INSTANCE_IPV4": "0.0.0.0"}), "must be the address of one host"),
        (
            json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "0"}),
            "AWS_INSTANCE_PORT must be a port",
        ),
        (json!({"AWS_INSTANCE_CNAME": "a.test"}), "AWS_INSTANCE_CNAME is not supported"),
        (json!({"AWS_INSTANCE_IPV4": 7}), "expected a string"),
    ];
    for (attributes, expected) in cases {
        let refused = register_as(&bed, "i-1", &attributes).await.unwrap_err().to_string();
        assert!(refused.contains("400") && refused.contains(expected), "{attributes}: {refused}");
    }
    let (path, healthy) = ("/v1/instances/apps.local/colors/i-1/health", json!({"status": "HEALTHY"}));
    let missing = bed.client.call(Method::PUT, path, Some(&healthy)).await.unwrap_err();
    assert!(missing.to_string().contains("404"), "{missing}");
    for id in ["a", "b", "c/d", "e"] {
        let address = json!({"AWS_INSTANCE_IPV4": "10.0.0.1"});
        register_as(&bed, &id.replace('/', "%2F"), &address).await?;
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/instances?namespace=apps.local&maxResults=3{token}");
        let page = bed.client.call(Method::GET, &path, None).await?;
        let ids = page["instances"].as_array().cloned().unwrap_or_default();
        seen.extend(ids.iter().map(|one| one["id"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = page["nextToken"].as_str() else { break };
        token = format!("&nextToken={next}");
    }
    assert_eq!(seen, ["a", "b", "c/d", "e"]);
    bed.end().await;
    Ok(())
}
