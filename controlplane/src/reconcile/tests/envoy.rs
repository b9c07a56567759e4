//! A proxy that follows a script: the real protocol on the server's side, and on its own what a test tells it.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message;
use signet_xds::{
    ResourceType, Session,
    pb::envoy::config::{cluster::v3::Cluster, listener::v3::Listener},
    server::Feed,
    session::{Ask, Request, Response, Service, Variant},
};

use crate::{
    proxies::{Proxies, Said},
    translate::{Proxy, naming},
};

/// What it does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Habit {
    Accepts,
    /// Takes it and says nothing.
    KeepsSilent,
    /// Refuses whatever is new of a kind and keeps what it had.
    Refuses(ResourceType),
}

pub(super) struct Envoy {
    pub(super) proxy: Proxy,
    pub(super) habit: Habit,
    stream: Option<Stream>,
    /// What it runs, encoded, by kind and name.
    runs: BTreeMap<(ResourceType, String), Vec<u8>>,
}

struct Stream {
    feed: Feed,
    session: Session,
    unanswered: Vec<Response>,
}

impl Envoy {
    pub(super) fn connect(proxies: &Arc<Proxies>, proxy: Proxy) -> Self {
        Self::asking(proxies, proxy, &[ResourceType::Cluster, ResourceType::Listener])
    }

    /// One that asks for these kinds, and for no others yet.
    pub(super) fn asking(proxies: &Arc<Proxies>, proxy: Proxy, kinds: &[ResourceType]) -> Self {
        let mut envoy = Self { proxy, habit: Habit::Accepts, stream: None, runs: BTreeMap::new() };
        envoy.open(proxies, kinds);
        envoy
    }

    /// Opens a stream and says what it runs, as Envoy does.
    pub(super) fn reconnect(&mut self, proxies: &Arc<Proxies>) {
        self.open(proxies, &[ResourceType::Cluster, ResourceType::Listener]);
    }

    fn open(&mut self, proxies: &Arc<Proxies>, kinds: &[ResourceType]) {
        let feed = proxies.connect(self.proxy.clone(), Said { envoy: Some("1.40.0".into()), instance: None });
        let session = Session::new(Variant::Delta, Service::Aggregated, 0);
        let mut stream = Stream { feed, session, unanswered: Vec::new() };
        for kind in kinds.iter().copied() {
            let held = self.runs.iter().filter(|((of, _), _)| *of == kind);
            let initial = held.map(|((_, name), value)| (name.clone(), version(kind, name, value))).collect();
            stream.says(&self.proxy, kind, "", None, initial);
        }
        stream.feed.observer.changed(stream.session.status());
        self.stream = Some(stream);
    }

    /// Its stream ends; it goes on with what it runs.
    pub(super) fn vanish(&mut self) {
        self.stream = None;
    }

    /// Whether the server has ended its stream for good.
    pub(super) fn is_cut_off(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.feed.snapshots.has_changed().is_err())
    }

    /// Whether the server has something new for it.
    pub(super) fn is_woken(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.feed.snapshots.has_changed().unwrap_or(true))
    }

    /// Takes what the server has for it, and answers by habit. Says whether anything happened.
    pub(super) fn turn(&mut self) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let snapshot = stream.feed.snapshots.borrow_and_update().clone();
        let mut busy = false;
        if let Some(snapshot) = snapshot {
            while let Some(response) = stream.session.next_response(&snapshot) {
                stream.unanswered.push(response);
                stream.feed.observer.changed(stream.session.status());
                busy = true;
            }
        }
        if self.habit == Habit::KeepsSilent || stream.unanswered.is_empty() {
            return busy;
        }
        for response in std::mem::take(&mut stream.unanswered) {
            let held = |name: &str| self.runs.get(&(response.kind, name.to_owned()));
            let is_new = response
                .resources
                .iter()
                .any(|it| held(it.name()).is_none_or(|held| *held != it.value()[..]));
            if is_new && self.habit == Habit::Refuses(response.kind) {
                stream.says(
                    &self.proxy,
                    response.kind,
                    &response.nonce,
                    Some("no such thing"),
                    BTreeMap::new(),
                );
                continue;
            }
            for resource in &response.resources {
                self.runs.insert((response.kind, resource.name().to_owned()), resource.value().to_vec());
            }
            for name in &response.removed {
                self.runs.remove(&(response.kind, name.to_string()));
            }
            stream.says(&self.proxy, response.kind, &response.nonce, None, BTreeMap::new());
        }
        stream.feed.observer.changed(stream.session.status());
        true
    }

    /// What it accepts on a port: `plaintext`, `tls`, or both with a `+`; empty where it does not listen.
    pub(super) fn accepts(&self, port: u16) -> String {
        let name = naming::ingress_listener(self.proxy.ingress_address, port.try_into().unwrap());
        let Some(value) = self.runs.get(&(ResourceType::Listener, name)) else {
            return String::new();
        };
        let chains = Listener::decode(&**value).unwrap().filter_chains;
        let kinds: Vec<&str> = chains.iter().map(|chain| chain.name.rsplit('_').next().unwrap()).collect();
        kinds.join("+")
    }

    /// How it calls a cluster: `plaintext` or `tls`; empty where it does not know it.
    pub(super) fn dials(&self, cluster: &str) -> &'static str {
        match self.runs.get(&(ResourceType::Cluster, cluster.to_owned())) {
            None => "",
            Some(value) if Cluster::decode(&**value).unwrap().transport_socket.is_some() => "tls",
            Some(_) => "plaintext",
        }
    }
}

/// The version that a resource of these bytes has.
fn version(kind: ResourceType, name: &str, value: &[u8]) -> String {
    let resource = match kind {
        ResourceType::Cluster => signet_xds::Resource::new(kind, name, &Cluster::decode(value).unwrap()),
        ResourceType::Listener => signet_xds::Resource::new(kind, name, &Listener::decode(value).unwrap()),
        ResourceType::Endpoint | ResourceType::Route | ResourceType::Secret => {
            unreachable!("never asked for")
        }
    };
    resource.version().to_owned()
}

impl Stream {
    fn says(
        &mut self,
        proxy: &Proxy,
        kind: ResourceType,
        nonce: &str,
        rejection: Option<&str>,
        initial: BTreeMap<String, String>,
    ) {
        let request = Request {
            node: Some(proxy.workload.to_string()),
            type_url: kind.type_url().into(),
            nonce: nonce.into(),
            rejection: rejection.map(Into::into),
            ask: Ask::Changes { subscribe: Vec::new(), unsubscribe: Vec::new(), initial },
        };
        self.session.on_request(request).unwrap();
    }
}
