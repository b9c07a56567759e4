//! Nodes that are found by DNS: which addresses are taken, and which are left out for a while.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use signet::local::mesh::{SidecarPlan, Traffic};
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{
        Bed, Node, PATIENCE,
        app::{App, Kind},
        calling,
        namespace::{Hub, within_hub},
        resolver::Resolver,
    },
    envoy_binary, eventually,
};

pub(super) const PORT: u16 = 8080;

/// A caller whose Envoy asks the test's resolver, and applications on several addresses under one name.
pub(super) struct Named {
    bed: Bed,
    pub(super) caller: Node,
    resolver: Resolver,
    pub(super) apps: Vec<App>,
    pub(super) hub: Hub,
}

impl Named {
    /// One application on each address; the service `s.test` is the node that `spec` is of.
    pub(super) async fn start(hub: Hub, addresses: &[&str], spec: Value) -> Result<Self> {
        let resolver = Resolver::start(&["127.0.0.1:53"]).await?;
        let app = |address: &&str| {
            let at = if address.contains(':') {
                format!("[{address}]:{PORT}")
            } else {
                format!("{address}:{PORT}")
            };
            App::on(address, hub.namespace.listen(&at)?, Kind::Http)
        };
        let apps = addresses.iter().map(app).collect::<Result<Vec<_>>>()?;
        let all: Vec<IpAddr> = addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
        resolver.set("s.test", &all);
        let mut bed = Bed::start().await?;
        bed.mesh("m").await?;
        bed.virtual_node("m", "s", spec).await?;
        bed.service_of_node("m", "s.test", "s").await?;
        bed.virtual_node("m", "caller", calling(&["s.test"])).await?;
        let ingress = bed.address();
        let plan = SidecarPlan {
            workload: Workload::virtual_node("m", "caller")?,
            traffic: Traffic::Called { ingress },
            envoy: envoy_binary()?,
            // The test's own, for the sake of its resolver.
            namespace: Some(hub.namespace.name.clone()),
            user: None,
        };
        let caller = bed.start_sidecar(&plan, ingress).await?;
        bed.synced().await?;
        let named = Self { bed, caller, resolver, apps, hub };
        eventually("a first call goes through", PATIENCE, || named.answered_by(1)).await?;
        named.apps.iter().map(App::take_requests).for_each(|_| ());
        Ok(named)
    }

    /// How many of `calls` each application answered; the error is the first that was answered otherwise.
    async fn answered_by(&self, calls: usize) -> Result<Vec<u64>> {
        for _ in 0..calls {
            let answer = self.caller.call(&format!("s.test:{PORT}")).send().await?;
            ensure!(answer.code() == 200, "{answer:?}");
        }
        Ok(self.apps.iter().map(App::take_requests).collect())
    }

    async fn respec(&self, spec: Value) -> Result<()> {
        self.bed.respec("m", "s", spec).await?;
        self.bed.synced().await
    }

    /// Waits until the applications that answer are these, by their places.
    async fn until_only(&self, places: &[usize]) -> Result<()> {
        eventually(&format!("only {places:?} answer"), PATIENCE, || async {
            let counts = self.answered_by(8).await?;
            let answering: Vec<usize> = (0..counts.len()).filter(|place| counts[*place] > 0).collect();
            ensure!(answering == places, "{counts:?} answered");
            Ok(())
        })
        .await
    }
}

fn spec(response_type: &str, preference: Option<&str>, listener: &Value) -> Value {
    let mut wanted = json!({"portMapping": {"port": PORT, "protocol": "http"}});
    if let (Value::Object(wanted), Value::Object(more)) = (&mut wanted, listener) {
        wanted.extend(more.clone());
    }
    let mut dns = json!({"hostname": "s.test", "responseType": response_type});
    if let Some(preference) = preference {
        dns["ipPreference"] = preference.into();
    }
    json!({"listeners": [wanted], "serviceDiscovery": {"dns": dns}})
}

#[test]
fn dns_gives_one_address_or_all_of_the_family_that_is_preferred() -> Result<()> {
    within_hub(|hub| async {
        let addresses = ["127.0.1.1", "127.0.1.2", "::1"];
        let named = Named::start(hub, &addresses, spec("ENDPOINTS", None, &json!({}))).await?;
        named.until_only(&[0, 1]).await?;
        for (preference, places) in [
            ("IPv6_ONLY", &[2][..]),
            ("IPv4_ONLY", &[0, 1]),
            ("IPv6_PREFERRED", &[2]),
            ("IPv4_PREFERRED", &[0, 1]),
        ] {
            named.respec(spec("ENDPOINTS", Some(preference), &json!({}))).await?;
            named.until_only(places).await?;
        }
        // The mesh's own preference holds where a node has none.
        named
            .bed
            .put("meshes/m", json!({"spec": {"serviceDiscovery": {"ipPreference": "IPv6_ONLY"}}}))
            .await?;
        named.respec(spec("ENDPOINTS", None, &json!({}))).await?;
        named.until_only(&[2]).await?;
        named.bed.put("meshes/m", json!({"spec": {}})).await?;

        named.respec(spec("LOADBALANCER", None, &json!({}))).await?;
        named.until_only(&[0]).await?;
        named.resolver.set("s.test", &["127.0.1.2".parse()?]);
        named.until_only(&[1]).await?;
        Ok(())
    })
}

#[test]
fn an_instance_that_fails_is_left_out_and_comes_back() -> Result<()> {
    within_hub(|hub| async {
        let outliers = |percent: u32| {
            json!({"outlierDetection": {
                "maxServerErrors": 3, "interval": {"unit": "ms", "value": 200},
                "baseEjectionDuration": {"unit": "s", "value": 2}, "maxEjectionPercent": percent
            }})
        };
        let named =
            Named::start(hub, &["127.0.1.1", "127.0.1.2"], spec("ENDPOINTS", None, &outliers(1))).await?;
        // Not 503, which would be retried on the other.
        named.apps[0].fail(u64::MAX, 500);
        eventually("the one that fails is ejected", PATIENCE, || async {
            named.caller.call("s.test").send().await?;
            let ejected =
                named.caller.total("cluster.cds_egress_m_s_.*outlier_detection.ejections_active").await?;
            ensure!(ejected == 1, "{ejected} are ejected");
            Ok(())
        })
        .await?;
        named.apps.iter().map(App::take_requests).for_each(|_| ());
        named.until_only(&[1]).await?;
        named.apps[0].fail(0, 200);
        named.until_only(&[0, 1]).await?;
        let stats = named.caller.stats("cluster.cds_egress_m_s_.*ejections_enforced_total").await?;
        assert!(stats.iter().all(|(_, value)| *value >= 1), "{stats:?}");
        // Both fail: of them all is left out what the percentage allows, and one in any case.
        named.apps.iter().for_each(|app| app.fail(u64::MAX, 500));
        for (percent, expected) in [(1, 1), (100, 2)] {
            named.respec(spec("ENDPOINTS", None, &outliers(percent))).await?;
            eventually(&format!("{expected} are ejected at {percent} %"), PATIENCE, || async {
                named.caller.call("s.test").send().await?;
                let ejected =
                    named.caller.total("cluster.cds_egress_m_s_.*outlier_detection.ejections_active").await?;
                ensure!(ejected == expected, "{ejected} are ejected");
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}
