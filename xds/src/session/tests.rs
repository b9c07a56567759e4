//! Conformance, one sentence per test. Snapshots and responses are written alike: `C a@1 b@2; L in@1` is
//! clusters `a` with content 1 and `b` with content 2 and a listener; `C -a` is the removal of a cluster.
//! Clusters whose name begins with `e` discover their endpoints by EDS.

mod bounds;
mod delta;
mod nack;
mod ordering;
mod random;
mod sharing;
mod sotw;

use std::collections::BTreeMap;

use prost::Message;

use super::{Ask, ProtocolError, Request, Response, Service, Session, Variant};
use crate::{
    pb::envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, DiscoveryType},
            },
            endpoint::v3::ClusterLoadAssignment,
            listener::v3::Listener,
            route::v3::RouteConfiguration,
        },
        extensions::transport_sockets::tls::v3::Secret,
    },
    resource::{Resource, ResourceType},
    snapshot::Snapshot,
};

const LETTERS: [(&str, ResourceType); 5] = [
    ("C", ResourceType::Cluster),
    ("E", ResourceType::Endpoint),
    ("L", ResourceType::Listener),
    ("R", ResourceType::Route),
    ("S", ResourceType::Secret),
];

fn kind(letter: &str) -> ResourceType {
    LETTERS.iter().find(|(it, _)| *it == letter).map(|(_, kind)| *kind).expect("a letter of a kind")
}

fn letter(kind: ResourceType) -> &'static str {
    LETTERS.iter().find(|(_, it)| *it == kind).map(|(letter, _)| *letter).expect("every kind has a letter")
}

/// A resource whose content can be told from its bytes.
fn resource(kind: ResourceType, name: &str, content: &str) -> Resource {
    let content = content.to_owned();
    match kind {
        ResourceType::Cluster => {
            let discovery = if name.starts_with('e') { DiscoveryType::Eds } else { DiscoveryType::Static };
            let discovery = Some(ClusterDiscoveryType::Type(discovery.into()));
            let message =
                Cluster { alt_stat_name: content, cluster_discovery_type: discovery, ..Default::default() };
            Resource::new(kind, name, &message)
        }
        ResourceType::Endpoint => {
            Resource::new(kind, name, &ClusterLoadAssignment { cluster_name: content, ..Default::default() })
        }
        ResourceType::Listener => {
            Resource::new(kind, name, &Listener { stat_prefix: content, ..Default::default() })
        }
        ResourceType::Route => {
            Resource::new(kind, name, &RouteConfiguration { name: content, ..Default::default() })
        }
        ResourceType::Secret => Resource::new(kind, name, &Secret { name: content, ..Default::default() }),
    }
}

fn content(resource: &Resource) -> String {
    let value = resource.value().clone();
    match resource.kind() {
        ResourceType::Cluster => Cluster::decode(value).unwrap().alt_stat_name,
        ResourceType::Endpoint => ClusterLoadAssignment::decode(value).unwrap().cluster_name,
        ResourceType::Listener => Listener::decode(value).unwrap().stat_prefix,
        ResourceType::Route => RouteConfiguration::decode(value).unwrap().name,
        ResourceType::Secret => Secret::decode(value).unwrap().name,
    }
}

pub(crate) fn snapshot(text: &str) -> Snapshot {
    let groups = text.split(';').map(str::trim).filter(|group| !group.is_empty());
    groups
        .flat_map(|group| {
            let (letter, resources) = group.split_once(' ').unwrap_or((group, ""));
            resources.split_whitespace().map(move |it| {
                let (name, content) = it.split_once('@').expect("name@content");
                resource(kind(letter), name, content)
            })
        })
        .collect()
}

fn version(letter: &str, text: &str) -> String {
    let (name, content) = text.split_once('@').expect("name@content");
    resource(kind(letter), name, content).version().to_owned()
}

fn show(response: &Response) -> String {
    let mut parts = vec![letter(response.kind).to_owned()];
    parts.extend(response.resources.iter().map(|it| format!("{}@{}", it.name(), content(it))));
    parts.extend(response.removed.iter().map(|name| format!("-{name}")));
    parts.join(" ")
}

/// A scripted client with its session and the newest snapshot.
struct Peer {
    session: Session,
    variant: Variant,
    snapshot: Snapshot,
    nonces: BTreeMap<ResourceType, String>,
    names: BTreeMap<ResourceType, Vec<String>>,
    last: Vec<Response>,
}

impl Peer {
    fn new(variant: Variant, service: Service, snapshot_text: &str) -> Self {
        Self {
            session: Session::new(variant, service, 7),
            variant,
            snapshot: snapshot(snapshot_text),
            nonces: BTreeMap::new(),
            names: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    fn sotw(snapshot: &str) -> Self {
        Self::new(Variant::Sotw, Service::Aggregated, snapshot)
    }

    fn delta(snapshot: &str) -> Self {
        Self::new(Variant::Delta, Service::Aggregated, snapshot)
    }

    fn drain(&mut self) -> Vec<String> {
        self.last.clear();
        while let Some(response) = self.session.next_response(&self.snapshot) {
            self.nonces.insert(response.kind, response.nonce.clone());
            self.last.push(response);
            assert!(self.last.len() < 100, "the session never stops: {:?}", self.last);
        }
        self.last.iter().map(show).collect()
    }

    fn request(&self, letter: &str, ask: Ask) -> Request {
        let kind = kind(letter);
        Request {
            node: Some("node".into()),
            type_url: kind.type_url().into(),
            nonce: self.nonces.get(&kind).cloned().unwrap_or_default(),
            rejection: None,
            ask,
        }
    }

    fn give(&mut self, request: Request) -> Vec<String> {
        self.session.on_request(request).expect("a request within the protocol");
        self.drain()
    }

    /// The newest snapshot becomes this.
    fn see(&mut self, text: &str) -> Vec<String> {
        self.snapshot = snapshot(text);
        self.drain()
    }

    /// SotW: these names from now on. Delta: these names in addition.
    fn ask(&mut self, letter: &str, names: &[&str]) -> Vec<String> {
        let request = self.asking(letter, names);
        self.give(request)
    }

    fn asking(&mut self, letter: &str, names: &[&str]) -> Request {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.names.insert(kind(letter), names.clone());
        self.request(letter, self.form(names))
    }

    fn form(&self, names: Vec<String>) -> Ask {
        match self.variant {
            Variant::Sotw => Ask::Names(names),
            Variant::Delta => changes(names, &[], &[]),
        }
    }

    /// Answers the last response of a kind.
    fn answer(&mut self, letter: &str, rejection: Option<&str>) -> Vec<String> {
        let names = match self.variant {
            Variant::Sotw => self.names.get(&kind(letter)).cloned().unwrap_or_default(),
            Variant::Delta => Vec::new(),
        };
        let request =
            Request { rejection: rejection.map(Into::into), ..self.request(letter, self.form(names)) };
        self.give(request)
    }

    fn ack(&mut self, letter: &str) -> Vec<String> {
        self.answer(letter, None)
    }

    fn nack(&mut self, letter: &str, text: &str) -> Vec<String> {
        self.answer(letter, Some(text))
    }

    fn unsubscribe(&mut self, letter: &str, names: &[&str]) -> Vec<String> {
        self.give(self.request(letter, changes(Vec::new(), names, &[])))
    }

    fn accepted(&self, letter: &str, name: &str) -> Option<&str> {
        self.session.status().accepted(kind(letter), name)
    }

    fn rejected(&self, letter: &str, name: &str) -> Option<(String, bool)> {
        let status = self.session.status().resource(kind(letter), name)?;
        status.rejected.as_ref().map(|it| (it.version.to_string(), it.suspected))
    }

    fn is_synced(&self) -> bool {
        self.session.status().is_synced(&self.snapshot)
    }
}

fn changes(subscribe: Vec<String>, unsubscribe: &[&str], initial: &[(&str, &str)]) -> Ask {
    let owned = |(name, version): &(&str, &str)| (name.to_string(), version.to_string());
    Ask::Changes {
        subscribe,
        unsubscribe: unsubscribe.iter().map(ToString::to_string).collect(),
        initial: initial.iter().map(owned).collect(),
    }
}

const NOTHING: [&str; 0] = [];
