//! Health checks of each kind: an instance that fails its own is left out, and called again when it passes.

use super::discovery::{Named, PORT};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use signet_tests::{
    bed::{
        app::{App, Kind},
        namespace::{Hub, within_hub},
    },
    eventually,
};
use std::time::Duration;

const ADDRESSES: [&str; 2] = ["127.0.1.1", "127.0.1.2"];
/// Two checks, five seconds apart (the API takes no less), and the time of a machine that does much else.
const TWO_CHECKS: Duration = Duration::from_secs(30);

/// A listener of the node that is found at both addresses.
struct Checked {
    check: &'static str,
    protocol: &'static str,
    port: u16,
    /// By address; the one that is gone listens no more.
    apps: [Option<App>; 2],
}

impl Checked {
    fn new(hub: &Hub, place: u16, check: &'static str, protocol: &'static str) -> Result<Self> {
        let mut checked = Self { check, protocol, port: PORT + place, apps: [None, None] };
        // The first port's are the harness's own.
        if place > 0 {
            for address in 0..2 {
                checked.appear(hub, address)?;
            }
        }
        Ok(checked)
    }

    fn appear(&mut self, hub: &Hub, address: usize) -> Result<()> {
        let name = ADDRESSES[address];
        let listener = hub.namespace.listen(&format!("{name}:{}", self.port))?;
        self.apps[address] = Some(App::on(name, listener, Kind::Http)?);
        Ok(())
    }

    fn listener(&self) -> Value {
        json!({
            "portMapping": {"port": self.port, "protocol": self.protocol},
            "healthCheck": {
                "protocol": self.check, "path": "/health", "healthyThreshold": 2, "unhealthyThreshold": 2,
                "intervalMillis": 5000, "timeoutMillis": 2000
            }
        })
    }

    /// The second instance fails its checks, or passes them again. A check by TCP fails where nobody listens.
    fn set_healthy(&mut self, hub: &Hub, healthy: bool) -> Result<()> {
        match (self.check, healthy) {
            ("tcp", true) => self.appear(hub, 1)?,
            ("tcp", false) => self.apps[1] = None,
            _ => self.apps[1].as_ref().context("an application")?.set_healthy(healthy),
        }
        Ok(())
    }

    async fn stat(&self, named: &Named, name: &str) -> Result<u64> {
        let cluster = format!("^cluster.cds_egress_m_s_{}_{}", self.protocol, self.port);
        named.caller.total(&format!("{cluster}.*{name}$")).await
    }

    /// Waits until Envoy takes this many of the two to be healthy.
    async fn until(&self, named: &Named, healthy: u64) -> Result<()> {
        eventually(&format!("{healthy} pass the {} check", self.check), TWO_CHECKS, || async {
            let found = self.stat(named, "membership_healthy").await?;
            ensure!(found == healthy, "{found} of two");
            Ok(())
        })
        .await
    }

    /// Who answers twelve calls, none of which is tried again.
    async fn answering(&self, named: &Named) -> Result<Vec<&'static str>> {
        let retries = self.stat(named, "upstream_rq_retry").await?;
        let call = named.caller.call(&format!("s.test:{}", self.port));
        let call = if self.protocol == "http" { call } else { call.h2() };
        let mut answering = Vec::new();
        for _ in 0..12 {
            let answer = call.send().await?;
            ensure!(answer.code() == 200, "{}: {answer:?}", self.check);
            let known = ADDRESSES.into_iter().find(|name| *name == answer.app());
            answering.push(known.context("another application")?);
        }
        answering.sort_unstable();
        answering.dedup();
        ensure!(self.stat(named, "upstream_rq_retry").await? == retries, "{}: tried again", self.check);
        Ok(answering)
    }
}

#[test]
fn an_instance_that_fails_its_check_is_not_called_until_it_passes_again_whatever_the_check() -> Result<()> {
    within_hub(|hub| async {
        let mut all = Vec::new();
        for (place, (check, protocol)) in
            (0..).zip([("http", "http"), ("http2", "http2"), ("grpc", "grpc"), ("tcp", "http")])
        {
            all.push(Checked::new(&hub, place, check, protocol)?);
        }
        let listeners: Vec<Value> = all.iter().map(Checked::listener).collect();
        let dns = json!({"dns": {"hostname": "s.test", "responseType": "ENDPOINTS"}});
        let spec = json!({"listeners": listeners, "serviceDiscovery": dns});
        let mut named = Named::start(hub, &ADDRESSES, spec).await?;
        let mut own = std::mem::take(&mut named.apps).into_iter().map(Some);
        all[0].apps = [own.next().flatten(), own.next().flatten()];
        for checked in &all {
            checked.until(&named, 2).await?;
            assert_eq!(checked.answering(&named).await?, ADDRESSES, "{}", checked.check);
        }
        for (healthy, expected) in [(false, &ADDRESSES[..1]), (true, &ADDRESSES[..])] {
            for checked in &mut all {
                checked.set_healthy(&named.hub, healthy)?;
            }
            for checked in &all {
                checked.until(&named, if healthy { 2 } else { 1 }).await?;
                let answering = checked.answering(&named).await?;
                assert_eq!(answering, expected, "{} checks, healthy: {healthy}", checked.check);
            }
        }
        for checked in &all {
            let failures = checked.stat(&named, "health_check.failure").await?;
            assert!(failures >= 2, "{}: {failures} failed", checked.check);
            if checked.check != "tcp" {
                let counts = |app: &App| (app.take_checks(), app.take_checks_by_h2());
                for (asked, by_h2) in checked.apps.iter().flatten().map(counts) {
                    let expected = if checked.check == "http" { 0 } else { asked };
                    assert!(
                        asked > 0 && by_h2 == expected,
                        "{}: {by_h2} of {asked} by HTTP/2",
                        checked.check
                    );
                }
            }
        }
        Ok(())
    })
}
