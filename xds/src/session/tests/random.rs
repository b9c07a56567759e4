//! Whatever a client and an operator do, in whatever order: a model of a client checks every response.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};

use super::*;

const NAMES: [&str; 3] = ["a", "ea", "eb"];

#[derive(Clone, Debug)]
enum Event {
    /// The operator's next configuration: kind, name, content.
    Configure(Vec<(ResourceType, &'static str, u8)>),
    /// The client answers the oldest response of a kind that it has not answered, perhaps naming a culprit.
    Answer {
        kind: ResourceType,
        rejects: bool,
        names: bool,
    },
    Ask(ResourceType, Vec<&'static str>),
    Drop(ResourceType, Vec<&'static str>),
    /// Anything at all under a nonce of its choice.
    Junk {
        kind: ResourceType,
        nonce: &'static str,
        names: Vec<&'static str>,
        rejects: bool,
    },
}

fn a_kind() -> impl Strategy<Value = ResourceType> {
    select(&ResourceType::ALL[..])
}

fn some_names() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(select(&["a", "ea", "eb", "*"][..]), 0..4)
}

fn an_event() -> impl Strategy<Value = Event> {
    let resource = (a_kind(), select(&NAMES[..]), 0..3_u8);
    let answer = (a_kind(), prop::bool::weighted(0.3), any::<bool>())
        .prop_map(|(kind, rejects, names)| Event::Answer { kind, rejects, names });
    let junk = (a_kind(), select(&["", "7-1", "7-2", "x"][..]), some_names(), any::<bool>())
        .prop_map(|(kind, nonce, names, rejects)| Event::Junk { kind, nonce, names, rejects });
    prop_oneof![
        3 => prop::collection::vec(resource, 0..10).prop_map(Event::Configure),
        6 => answer,
        2 => (a_kind(), some_names()).prop_map(|(kind, names)| Event::Ask(kind, names)),
        1 => (a_kind(), some_names()).prop_map(|(kind, names)| Event::Drop(kind, names)),
        1 => junk,
    ]
}

/// A client that checks what it is sent.
struct Client {
    peer: Peer,
    /// What it has of each kind.
    view: BTreeMap<(ResourceType, String), String>,
    unanswered: Vec<Response>,
    /// Versions that it rejected beyond doubt and that have been in every snapshot since.
    refused: BTreeSet<(ResourceType, String, String)>,
}

impl Client {
    fn new(variant: Variant) -> Self {
        let peer = Peer::new(variant, Service::Aggregated, "");
        Self { peer, view: BTreeMap::new(), unanswered: Vec::new(), refused: BTreeSet::new() }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Configure(resources) => {
                let resources = resources.into_iter();
                self.peer.snapshot = resources
                    .map(|(kind, name, content)| resource(kind, name, &content.to_string()))
                    .collect();
                let snapshot = &self.peer.snapshot;
                self.refused.retain(|(kind, name, version)| {
                    snapshot.get(*kind, name).is_some_and(|it| it.version() == version)
                });
            }
            Event::Answer { kind, rejects, names } => self.answer(kind, rejects, names),
            Event::Ask(kind, names) => self.ask(kind, names),
            Event::Drop(kind, names) => self.drop(kind, &names),
            Event::Junk { kind, nonce, names, rejects } => {
                let names: Vec<String> = names.into_iter().map(Into::into).collect();
                let mut request = self.request(kind, nonce.into(), self.peer.form(names));
                request.rejection = rejects.then(|| "junk".into());
                // Under a nonce that happens to be good it is a refusal of an unknown extent: begin anew.
                self.refused.clear();
                self.unanswered.retain(|it| (it.kind, &*it.nonce) != (kind, nonce));
                self.peer.session.on_request(request).unwrap();
            }
        }
        self.receive();
    }

    fn request(&self, kind: ResourceType, nonce: String, ask: Ask) -> Request {
        Request { node: Some("n".into()), type_url: kind.type_url().into(), nonce, rejection: None, ask }
    }

    fn names(&self, kind: ResourceType) -> Vec<String> {
        self.peer.names.get(&kind).cloned().unwrap_or_default()
    }

    fn ask(&mut self, kind: ResourceType, names: Vec<&'static str>) {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        // SotW: with the newest nonce, which also acknowledges; so it answers instead of asking when it can.
        let nonce = match self.peer.variant {
            Variant::Sotw => self.newest_nonce(kind),
            Variant::Delta => String::new(),
        };
        self.peer.names.insert(kind, names.clone());
        let request = self.request(kind, nonce.clone(), self.peer.form(names));
        self.unanswered.retain(|it| (it.kind, &it.nonce) != (kind, &nonce));
        self.peer.session.on_request(request).unwrap();
    }

    fn drop(&mut self, kind: ResourceType, names: &[&str]) {
        match self.peer.variant {
            Variant::Sotw => self.ask(kind, Vec::new()),
            Variant::Delta => {
                let request = self.request(kind, String::new(), changes(Vec::new(), names, &[]));
                self.peer.session.on_request(request).unwrap();
            }
        }
    }

    fn newest_nonce(&self, kind: ResourceType) -> String {
        self.peer.nonces.get(&kind).cloned().unwrap_or_default()
    }

    fn answer(&mut self, kind: ResourceType, rejects: bool, names: bool) {
        let Some(index) = self.unanswered.iter().position(|it| it.kind == kind) else {
            return;
        };
        let response = self.unanswered.remove(index);
        let ask = match self.peer.variant {
            Variant::Sotw => Ask::Names(self.names(kind)),
            Variant::Delta => changes(Vec::new(), &[], &[]),
        };
        let mut request = self.request(kind, response.nonce.clone(), ask);
        let current = response.nonce == self.newest_nonce(kind) || self.peer.variant == Variant::Delta;
        if rejects {
            let culprit = response.resources.iter().next();
            let named = culprit.filter(|_| names || response.resources.len() == 1);
            request.rejection = Some(named.map_or("?".into(), |it| format!("{}: no", it.name())));
            let (snapshot, status) = (&self.peer.snapshot, self.peer.session.status());
            let in_force = |it: &Resource| status.accepted(kind, it.name()) == Some(it.version());
            let is_new = |it: &&Resource| snapshot.get(kind, it.name()) == Some(it) && !in_force(it);
            if let Some(it) = named.filter(|it| current && is_new(it)) {
                self.refused.insert((kind, it.name().into(), it.version().into()));
            }
        }
        self.peer.session.on_request(request).unwrap();
    }

    /// Takes every response and checks it.
    fn receive(&mut self) {
        // A client forgets what it no longer asks for.
        let watches = &self.peer.session.watches;
        self.view.retain(|(kind, name), _| watches.of(*kind).interest.covers(name));
        self.peer.drain();
        for response in std::mem::take(&mut self.peer.last) {
            let kind = response.kind;
            let mut names = BTreeSet::new();
            let sent = response.resources.iter().map(Resource::name);
            for name in sent.chain(response.removed.iter().map(|name| &**name)) {
                assert!(names.insert(name.to_owned()), "{name} twice in {response:?}");
            }
            for it in &response.resources {
                let key = (kind, it.name().to_owned(), it.version().to_owned());
                assert!(!self.refused.contains(&key), "{it:?} again");
            }
            if self.peer.variant == Variant::Sotw {
                assert!(kind.is_wildcard() || !response.resources.is_empty(), "empty {kind} response");
                if kind.is_wildcard() {
                    self.view.retain(|(it, _), _| *it != kind);
                }
            }
            for it in &response.resources {
                self.view.insert((kind, it.name().into()), it.version().into());
            }
            for name in &response.removed {
                self.view.remove(&(kind, name.to_string()));
            }
            self.unanswered.push(response);
        }
    }

    /// Acknowledges everything until there is nothing left to acknowledge.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let Some(kind) = self.unanswered.first().map(|response| response.kind) else {
                return;
            };
            self.apply(Event::Answer { kind, rejects: false, names: false });
        }
        panic!("the session never comes to rest: {:?}", self.unanswered);
    }
}

/// Every resource once more with content that it never had, so that no rejection stands.
fn fresh() -> Vec<(ResourceType, &'static str, u8)> {
    let pairs = ResourceType::ALL.into_iter().flat_map(|kind| NAMES.map(|name| (kind, name)));
    pairs.filter(|(_, name)| *name != "eb").map(|(kind, name)| (kind, name, 9)).collect()
}

fn run(variant: Variant, events: Vec<Event>) {
    let mut client = Client::new(variant);
    for event in events {
        client.apply(event);
    }
    client.apply(Event::Configure(fresh()));
    client.settle();
    for kind in ResourceType::ALL {
        let names: Vec<&str> = if kind.is_wildcard() { vec!["*"] } else { NAMES.to_vec() };
        client.ask(kind, names);
        client.receive();
    }
    client.settle();
    assert!(client.peer.is_synced(), "{:?}", client.peer.session.status());
    let wanted: BTreeMap<_, _> = ResourceType::ALL
        .into_iter()
        .flat_map(|kind| client.peer.snapshot.resources(kind))
        .map(|it| ((it.kind(), it.name().to_owned()), it.version().to_owned()))
        .collect();
    // SotW does not say that an endpoint, route or secret is gone.
    client.view.retain(|key, _| {
        client.peer.variant == Variant::Delta || key.0.is_wildcard() || wanted.contains_key(key)
    });
    assert_eq!(client.view, wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_sotw_client_always_converges_and_is_never_sent_what_it_refused(
        events in prop::collection::vec(an_event(), 0..40)
    ) {
        run(Variant::Sotw, events);
    }

    #[test]
    fn a_delta_client_always_converges_and_is_never_sent_what_it_refused(
        events in prop::collection::vec(an_event(), 0..40)
    ) {
        run(Variant::Delta, events);
    }
}
