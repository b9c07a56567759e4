//! What an Envoy says that it runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use signet_xds::{ResourceType, json};

/// What an Envoy runs of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// The version that it says it runs.
    pub(super) active: Option<String>,
    /// What that is.
    pub(super) config: Option<Value>,
    pub(super) warming: Option<String>,
    /// Its words on the last version that it refused.
    pub(super) refused: Option<String>,
}

/// Everything that came over xDS, by kind and name.
pub(super) type Running = BTreeMap<(&'static str, String), Runs>;

/// What a `/config_dump` says.
pub(super) fn running(dump: &Value) -> Running {
    let mut all = Running::new();
    for (member, is_active) in [("dynamic_active_clusters", true), ("dynamic_warming_clusters", false)] {
        for one in each(dump, member) {
            let Some(name) = text(&one["cluster"]["name"]) else { continue };
            let runs = all.entry(("cluster", name)).or_default();
            let version = text(&one["version_info"]);
            if is_active {
                runs.active = version;
                runs.config = config(ResourceType::Cluster, &one["cluster"]);
            } else {
                runs.warming = version;
            }
            runs.refused = text(&one["error_state"]["details"]).or(runs.refused.take());
        }
    }
    for one in each(dump, "dynamic_listeners") {
        let Some(name) = text(&one["name"]) else { continue };
        let runs = all.entry(("listener", name)).or_default();
        runs.active = text(&one["active_state"]["version_info"]);
        runs.config = config(ResourceType::Listener, &one["active_state"]["listener"]);
        runs.warming = text(&one["warming_state"]["version_info"]);
        runs.refused = text(&one["error_state"]["details"]);
    }
    for one in each(dump, "dynamic_route_configs") {
        let Some(name) = text(&one["route_config"]["name"]) else { continue };
        let runs = all.entry(("route", name)).or_default();
        runs.active = text(&one["version_info"]);
        runs.config = config(ResourceType::Route, &one["route_config"]);
        runs.refused = text(&one["error_state"]["details"]);
    }
    all
}

fn each<'a>(dump: &'a Value, member: &'static str) -> impl Iterator<Item = &'a Value> {
    let lists = dump["configs"].as_array().into_iter().flatten();
    lists.filter_map(move |config| config[member].as_array()).flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// As the server would write it, so that a duration or a number is not another one for how it is written. What only a
/// newer Envoy could have written is taken as it is.
fn config(kind: ResourceType, dumped: &Value) -> Option<Value> {
    let mut config = dumped.clone();
    // Of the envelope.
    config.as_object_mut()?.remove("@type");
    Some(json::rewritten(kind, &config).unwrap_or(config))
}

/// The hosts of every cluster, as `address:port`.
pub(super) fn hosts(clusters: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let statuses = clusters["cluster_statuses"].as_array().into_iter().flatten();
    let host = |host: &Value| {
        let socket = &host["address"]["socket_address"];
        let (address, port) = (socket["address"].as_str()?, socket["port_value"].as_u64()?);
        Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
    };
    let hosts = |status: &Value| {
        let hosts = status["host_statuses"].as_array().into_iter().flatten().filter_map(host).collect();
        Some((status["name"].as_str()?.to_owned(), hosts))
    };
    statuses.filter_map(hosts).collect()
}
