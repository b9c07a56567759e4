//! Any sequence of writes, beside a model of the rules that is too simple to be wrong: it looks at everything,
//! every time.

use std::collections::BTreeMap;

use super::*;

const HOUR: u64 = 60 * 60 * 1000;

/// What came of a write, as far as callers tell the cases apart.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Done { version: u64, spec: String },
    Missing,
    MissingTarget,
    Exists,
    TokenReused,
    InUse,
    Disagrees,
    Other(String),
}

impl Outcome {
    fn of(answer: Result<Arc<Resource>, StoreError>) -> Self {
        match answer {
            Ok(found) => {
                Self::Done { version: found.metadata.version, spec: found.document.text().get().to_owned() }
            }
            Err(StoreError::Refused(Refusal::Missing(_))) => Self::Missing,
            Err(StoreError::Refused(Refusal::MissingTarget(_))) => Self::MissingTarget,
            Err(StoreError::Refused(Refusal::Exists(_))) => Self::Exists,
            Err(StoreError::Refused(Refusal::TokenReused(_))) => Self::TokenReused,
            Err(StoreError::Refused(Refusal::HasChildren { .. } | Refusal::Referenced { .. })) => Self::InUse,
            Err(StoreError::Refused(Refusal::Disagrees(_))) => Self::Disagrees,
            Err(other) => Self::Other(other.to_string()),
        }
    }
}

#[derive(Clone, Debug)]
struct Thing {
    document: Document,
    version: u64,
    tags: BTreeMap<String, String>,
    /// Which of those that had the name.
    life: usize,
}

#[derive(Clone, Debug)]
struct Used {
    key: Key,
    life: usize,
    token: String,
    what: (bool, String, BTreeMap<String, String>),
    at: u64,
    version: u64,
}

#[derive(Clone, Debug, Default)]
struct World {
    things: BTreeMap<Key, Thing>,
    tokens: Vec<Used>,
    lives: usize,
}

impl World {
    fn apply(&mut self, write: &Write) -> Outcome {
        match write {
            Write::Create { document, token, tags, at, .. } => {
                self.put(true, document, token.as_deref(), plain(tags), *at)
            }
            Write::Update { document, token, at, .. } => {
                self.put(false, document, token.as_deref(), BTreeMap::new(), *at)
            }
            Write::Tag { key, tags } => self.retag(key, |there| there.extend(plain(tags))),
            Write::Untag { key, names } => {
                self.retag(key, |there| there.retain(|name, _| !names.contains(name)))
            }
            Write::Delete { key, .. } => self.delete(key),
        }
    }

    fn put(
        &mut self,
        is_new: bool,
        document: &Document,
        token: Option<&str>,
        tags: BTreeMap<String, String>,
        at: u64,
    ) -> Outcome {
        let (key, spec) = (document.key(), document.text().get().to_owned());
        let found = self.things.get(key).cloned();
        if !self.has_parents(key) || (!is_new && found.is_none()) {
            return Outcome::Missing;
        }
        let what = (is_new, spec.clone(), tags.clone());
        if let (Some(found), Some(token)) = (&found, token) {
            let is_it = |used: &&Used| {
                used.key == *key && used.life == found.life && used.token == token && at < used.at + 24 * HOUR
            };
            match self.tokens.iter().rev().find(is_it) {
                Some(used) if used.what == what => return Outcome::Done { version: used.version, spec },
                Some(_) => return Outcome::TokenReused,
                None => {}
            }
        }
        if is_new && found.is_some() {
            return Outcome::Exists;
        }
        if targets(document).iter().any(|target| !self.things.contains_key(target)) {
            return Outcome::MissingTarget;
        }
        let thing = match found {
            Some(found) => Thing { document: document.clone(), version: found.version + 1, ..found },
            None => {
                self.lives += 1;
                Thing { document: document.clone(), version: 1, tags, life: self.lives }
            }
        };
        let (version, life, key) = (thing.version, thing.life, key.clone());
        let before = self.things.insert(key.clone(), thing);
        if !self.is_coherent() {
            match before {
                Some(before) => self.things.insert(key, before),
                None => self.things.remove(&key),
            };
            return Outcome::Disagrees;
        }
        if let Some(token) = token {
            self.tokens.push(Used { key, life, token: token.to_owned(), what, at, version });
        }
        Outcome::Done { version, spec }
    }

    fn retag(&mut self, key: &Key, edit: impl FnOnce(&mut BTreeMap<String, String>)) -> Outcome {
        let Some(thing) = self.things.get_mut(key) else {
            return Outcome::Missing;
        };
        edit(&mut thing.tags);
        Outcome::Done { version: thing.version, spec: thing.document.text().get().to_owned() }
    }

    fn delete(&mut self, key: &Key) -> Outcome {
        let Some(thing) = self.things.get(key).cloned() else {
            return Outcome::Missing;
        };
        let relies = |(other, thing): (&Key, &Thing)| {
            other.collection().parent().as_ref() == Some(key) || targets(&thing.document).contains(key)
        };
        if self.things.iter().any(relies) {
            return Outcome::InUse;
        }
        self.things.remove(key);
        let version = thing.version + u64::from(key.kind() != Kind::Mesh);
        Outcome::Done { version, spec: thing.document.text().get().to_owned() }
    }

    fn has_parents(&self, key: &Key) -> bool {
        let parent = key.collection().parent();
        parent.is_none_or(|parent| self.things.contains_key(&parent) && self.has_parents(&parent))
    }

    fn ports(&self, key: &Key) -> Vec<u16> {
        match self.things.get(key).map(|thing| thing.document.spec()) {
            Some(Spec::VirtualNode(node)) => {
                node.listeners.iter().map(|listener| listener.port_mapping.port.get()).collect()
            }
            Some(Spec::VirtualRouter(router)) => {
                router.listeners.iter().map(|listener| listener.port.get()).collect()
            }
            Some(Spec::VirtualGateway(gateway)) => {
                gateway.listeners.iter().map(|listener| listener.port_mapping.port.get()).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Every port that is named is there, and is named where there are several.
    fn is_coherent(&self) -> bool {
        let names = |port: Option<std::num::NonZeroU16>, ports: Vec<u16>| match port {
            Some(port) => ports.contains(&port.get()),
            None => ports.len() < 2,
        };
        self.things.iter().all(|(key, thing)| {
            let parent = || key.collection().parent().map_or_else(Vec::new, |parent| self.ports(&parent));
            match thing.document.spec() {
                Spec::Route(route) => {
                    let node =
                        |name: &_| Key::VirtualNode { mesh: key.mesh().clone(), name: Clone::clone(name) };
                    let mut to = route.targets.iter();
                    names(route.port, parent())
                        && to.all(|target| names(target.port, self.ports(&node(&target.virtual_node))))
                }
                Spec::GatewayRoute(route) => {
                    let provider = targets(&thing.document)
                        .first()
                        .and_then(|service| targets(&self.things.get(service)?.document).first().cloned());
                    names(route.port, parent())
                        && provider.is_none_or(|provider| names(route.target_port, self.ports(&provider)))
                }
                Spec::Mesh(_)
                | Spec::VirtualNode(_)
                | Spec::VirtualService(_)
                | Spec::VirtualRouter(_)
                | Spec::VirtualGateway(_) => true,
            }
        })
    }
}

fn plain(tags: &Tags) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn targets(document: &Document) -> Vec<Key> {
    let mesh = || document.key().mesh().clone();
    match document.spec() {
        Spec::Route(route) => {
            let to = route.targets.iter();
            to.map(|target| Key::VirtualNode { mesh: mesh(), name: target.virtual_node.clone() }).collect()
        }
        Spec::VirtualService(service) => match service.provider.clone() {
            Some(Provider::VirtualNode(name)) => vec![Key::VirtualNode { mesh: mesh(), name }],
            Some(Provider::VirtualRouter(name)) => vec![Key::VirtualRouter { mesh: mesh(), name }],
            None => vec![],
        },
        Spec::GatewayRoute(route) => {
            vec![Key::VirtualService { mesh: mesh(), name: route.virtual_service.clone() }]
        }
        Spec::Mesh(_) | Spec::VirtualNode(_) | Spec::VirtualRouter(_) | Spec::VirtualGateway(_) => vec![],
    }
}

/// Names that meet, in one mesh most of the time.
const NAMES: [&str; 2] = ["a", "b"];

fn place(kind: Kind, mesh: &str, name: &str, parent: &str) -> String {
    match kind {
        Kind::Mesh => format!("mesh/{mesh}"),
        Kind::Route => format!("mesh/{mesh}/virtualRouter/{parent}/route/{name}"),
        Kind::GatewayRoute => format!("mesh/{mesh}/virtualGateway/{parent}/gatewayRoute/{name}"),
        Kind::VirtualNode | Kind::VirtualService | Kind::VirtualRouter | Kind::VirtualGateway => {
            format!("mesh/{mesh}/{}/{name}", kind.arn_segment())
        }
    }
}

fn any_spec(kind: Kind) -> BoxedStrategy<Value> {
    let name = || prop::sample::select(&NAMES[..]);
    let ports = |least: usize| {
        prop::sample::select(vec![vec![], vec![80], vec![81], vec![80, 81]])
            .prop_filter("too few", move |ports| ports.len() >= least)
    };
    let port = || prop::sample::select(vec![None, None, Some(80_u16), Some(81)]);
    match kind {
        Kind::Mesh => Just(json!({})).boxed(),
        Kind::VirtualNode => ports(0).prop_map(|ports| node(&ports)).boxed(),
        Kind::VirtualRouter => ports(1).prop_map(|ports| router(&ports)).boxed(),
        Kind::VirtualGateway => ports(1).prop_map(|ports| gateway(&ports)).boxed(),
        Kind::VirtualService => (0..3, name())
            .prop_map(|(kind, name)| match kind {
                0 => json!({}),
                1 => json!({"provider": {"virtualNode": {"virtualNodeName": name}}}),
                _ => json!({"provider": {"virtualRouter": {"virtualRouterName": name}}}),
            })
            .boxed(),
        Kind::Route => (name(), port(), port())
            .prop_map(|(name, matched, target)| {
                let mut spec = route(name);
                spec["httpRoute"]["match"] = json!({"prefix": "/", "port": matched});
                spec["httpRoute"]["action"]["weightedTargets"][0]["port"] = target.into();
                spec
            })
            .boxed(),
        Kind::GatewayRoute => (name(), port(), port())
            .prop_map(|(name, matched, target)| {
                let mut spec = gateway_route(name);
                spec["httpRoute"]["match"]["port"] = matched.into();
                spec["httpRoute"]["action"]["target"]["port"] = target.into();
                spec
            })
            .boxed(),
    }
}

/// A write, but for its time.
fn any_write_of_any_kind() -> impl Strategy<Value = Write> {
    let name = || prop::sample::select(&NAMES[..]);
    let mesh = prop::sample::select(vec!["a", "a", "a", "a", "a", "b"]);
    let token = prop::sample::select(vec![None, Some("t"), Some("u")]);
    let tags = prop::collection::btree_map(name().prop_map(str::to_owned), "[xy]", 0..2);
    prop::sample::select(&Kind::ALL[..])
        .prop_flat_map(move |kind| {
            (Just(kind), any_spec(kind), mesh.clone(), name(), name(), 0..10, token.clone(), tags.clone())
        })
        .prop_map(|(kind, spec, mesh, name, parent, action, token, tags)| {
            let at = key(&place(kind, mesh, name, parent));
            let document = || Document::parse(at.clone(), spec.clone()).unwrap();
            let (token, uid) = (token.map(str::to_owned), Uuid::new_v4());
            match action {
                0..=4 => Write::Create {
                    document: document(),
                    uid,
                    token,
                    tags: tags.into_iter().collect(),
                    at: 0,
                },
                5..=6 => Write::Update { document: document(), token, expected: None, at: 0 },
                7 => Write::Tag { key: at, tags: tags.into_iter().collect() },
                8 => Write::Untag { key: at, names: tags.into_keys().collect() },
                _ => Write::Delete { key: at, expected: None, at: 0 },
            }
        })
}

fn at(write: Write, now: u64) -> Write {
    match write {
        Write::Create { document, uid, token, tags, .. } => {
            Write::Create { document, uid, token, tags, at: now }
        }
        Write::Update { document, token, expected, .. } => {
            Write::Update { document, token, expected, at: now }
        }
        Write::Delete { key, expected, .. } => Write::Delete { key, expected, at: now },
        other @ (Write::Tag { .. } | Write::Untag { .. }) => other,
    }
}

async fn check_same(world: &World, store: &dyn Store) {
    for (key, thing) in &world.things {
        let found = store.get(key).await.unwrap();
        assert_eq!(
            (found.metadata.version, found.document.text().get()),
            (thing.version, thing.document.text().get())
        );
        assert_eq!(plain(&store.tags(key).await.unwrap()), thing.tags, "{key}");
        for children in key.children() {
            let listed = store.list(&children, None, 100).await.unwrap();
            let listed: Vec<_> = listed.iter().map(|found| found.document.key().clone()).collect();
            let expected = world.things.keys().filter(|other| other.collection() == children);
            assert_eq!(listed, expected.cloned().collect::<Vec<_>>());
        }
    }
    let meshes = store.list(&Collection::Meshes, None, 100).await.unwrap();
    assert_eq!(meshes.len(), world.things.keys().filter(|key| key.kind() == Kind::Mesh).count());
    check_nothing_dangles(&model(store));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_sequence_of_writes_comes_out_as_the_simple_model_says_on_every_back_end(
        writes in prop::collection::vec((any_write_of_any_kind(), 0..6_u64), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (memory, durable, mut world) = (MemoryStore::default(), open(folder.path()), World::default());
        let (mut now, mut done) = (1000 * HOUR, 0);
        runtime.block_on(async {
            // The parents of most writes are there from the start.
            let start = [creation("mesh/a", json!({})), creation("mesh/a/virtualNode/a", node(&[80])), creation("mesh/a/virtualRouter/a", router(&[80]))];
            for (write, hours) in start.into_iter().map(|write| (write, 0)).chain(writes) {
                now += hours * HOUR;
                let write = at(write, now);
                let expected = world.apply(&write);
                done += usize::from(matches!(expected, Outcome::Done { .. }));
                for store in [&memory as &dyn Store, &durable] {
                    let outcome = Outcome::of(store.write(write.clone()).await);
                    prop_assert_eq!(&outcome, &expected, "{:?}", write);
                }
            }
            check_same(&world, &memory).await;
            check_same(&world, &durable).await;
            Ok(())
        })?;
        drop(durable);
        let reopened = open(folder.path());
        runtime.block_on(check_same(&world, &reopened));
        prop_assert!(done >= 3);
    }
}
