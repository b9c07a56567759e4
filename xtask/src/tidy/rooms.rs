//! Which module may name what, inside the crates.

use super::breach::Breach;
use super::source::Source;

/// Modules of one crate and the paths that their production code must not name.
struct Room {
    folder: &'static str,
    /// Empty: the whole crate.
    modules: &'static [&'static str],
    banned: &'static [&'static str],
    mend: &'static str,
}

const ROOMS: [Room; 10] = [
    Room {
        folder: "policies",
        modules: &[],
        banned: &[
            "tokio",
            "tonic",
            "prost",
            "rand",
            "std::fs",
            "std::process",
            "std::thread",
            "Instant::now",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "UnixListener",
        ],
        mend: "policies are pure: take what is needed as an argument",
    },
    Room {
        folder: "audit",
        modules: &[],
        banned: &["tokio", "tonic", "prost", "rand", "std::fs", "std::process", "TcpStream", "Instant::now"],
        mend: "an audit is a computation: `cli` brings the inventory and takes the report",
    },
    Room {
        folder: "xds",
        modules: &["session", "snapshot", "resource"],
        banned: &["tokio", "tokio_stream", "tokio_util", "tonic"],
        mend: "the protocol has no I/O: streams and tasks belong to `xds::server`",
    },
    Room {
        folder: "ca",
        modules: &["csr", "authority", "profile"],
        banned: &["tokio", "crate::ledger"],
        mend: "issuing is a computation: `ca::service` brings the parts together",
    },
    Room {
        folder: "sds",
        modules: &["rotator"],
        banned: &["tonic", "signet_ca"],
        mend: "the rotator knows a `Signer` only: transports belong to whoever implements it",
    },
    Room {
        folder: "controlplane",
        modules: &["model"],
        banned: &["prost", "tokio", "signet_xds", "crate::store", "crate::api", "crate::translate"],
        mend: "the model is plain data: let the other side convert from it",
    },
    Room {
        folder: "controlplane",
        modules: &["api"],
        banned: &["signet_xds", "crate::translate"],
        mend: "the API writes to the store: proxies learn of it from `reconcile`",
    },
    Room {
        folder: "controlplane",
        modules: &["translate"],
        banned: &["tokio", "crate::store", "crate::api"],
        mend: "translation is a pure function of the model: pass what it needs",
    },
    Room {
        folder: "controlplane",
        modules: &["reconcile"],
        banned: &["crate::api"],
        mend: "data flows one way: put what both need into the model or the store",
    },
    Room {
        folder: "agent",
        modules: &[],
        banned: &["signet_xds", "signet_ca", "signet_controlplane"],
        mend: "the agent knows `policies` and `sds`: use what they offer",
    },
];

/// What only the edge of the program may touch.
const EDGE: [(&str, &[&str], &str); 5] = [
    ("std::env", &["cli", "tests", "xtask"], "only `cli` reads the environment: pass the value in"),
    ("SystemTime::now", &["cli", "tests", "xtask"], "pass `now`, or the clock that `cli` made"),
    ("envoy_types", &["xds"], "Envoy's protobufs come through `signet_xds::pb`"),
    ("sled::open", &["durable"], OPEN_SLED),
    ("sled::Config", &["durable"], OPEN_SLED),
];

const OPEN_SLED: &str =
    "sled's own flush does not outlive a power cut: open it with `signet_durable::Database`";

/// The one module of `xds` that names Envoy's protobufs.
const PROTOBUFS: Room = Room {
    folder: "xds",
    modules: &["pb"],
    banned: &["envoy_types"],
    mend: "name it in `xds::pb`, which is the one door to them",
};

/// Looks at production code only: tests may use what they like.
pub(crate) fn check(source: &Source) -> Vec<Breach> {
    let Some(module) = source.module.as_deref() else {
        return Vec::new();
    };
    let mut breaches = Vec::new();
    for named in source.paths.iter().filter(|named| !source.is_test_line(named.line)) {
        let path = named.resolved(module);
        let rooms = ROOMS.iter().filter(|room| room.covers(source)).map(|room| (room.banned, room.mend));
        let edge = EDGE.iter().filter(|(_, folders, _)| !folders.contains(&source.folder.as_str()));
        let edge = edge.map(|(banned, _, mend)| (std::slice::from_ref(banned), *mend));
        let door = (source.folder == PROTOBUFS.folder && !PROTOBUFS.covers(source))
            .then_some((PROTOBUFS.banned, PROTOBUFS.mend));
        for (banned, mend) in rooms.chain(edge).chain(door) {
            if let Some(banned) = banned.iter().find(|banned| names(&path, banned)) {
                let what = format!("`{}` must not use `{banned}`", place(source, module));
                breaches.push(Breach::new(&source.path, named.line, what, mend));
            }
        }
    }
    breaches.dedup();
    breaches
}

/// A rule whose module was renamed would guard nothing from then on.
pub(crate) fn dead_rules(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for room in ROOMS.iter().chain([&PROTOBUFS]) {
        for module in room.modules {
            let lives = |source: &&Source| {
                source.folder == room.folder
                    && source.module.as_ref().is_some_and(|own| own.join("::") == *module)
            };
            if !sources.iter().any(|source| lives(&source)) {
                let what = format!(
                    "the rule about `{}::{module}` guards nothing: there is no such module",
                    room.folder
                );
                let mend = "give the rule the module's new name";
                breaches.push(Breach::new("xtask/src/tidy/rooms.rs", 1, what, mend));
            }
        }
    }
    breaches
}

impl Room {
    fn covers(&self, source: &Source) -> bool {
        let Some(top) = source.module.as_ref().map(|module| module.first().map_or("", String::as_str)) else {
            return false;
        };
        source.folder == self.folder && (self.modules.is_empty() || self.modules.contains(&top))
    }
}

/// Whether `banned` stands somewhere in the path: `std::time::SystemTime::now` names `SystemTime::now`.
fn names(path: &[String], banned: &str) -> bool {
    let banned: Vec<_> = banned.split("::").collect();
    path.windows(banned.len()).any(|window| window.iter().zip(&banned).all(|(a, b)| a == b))
}

fn place(source: &Source, module: &[String]) -> String {
    [std::slice::from_ref(&source.folder), module].concat().join("::")
}

#[cfg(test)]
mod tests {
    use super::super::source::TextFile;
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::parse(&TextFile { path: path.to_owned(), text: text.to_owned() })
    }

    fn faults(path: &str, text: &str) -> Vec<String> {
        check(&source(path, text)).into_iter().map(|breach| breach.what).collect()
    }

    #[test]
    fn every_room_is_guarded_against_everything_it_bans() {
        for room in &ROOMS {
            let modules = if room.modules.is_empty() { &["lib"] } else { room.modules };
            for (module, banned) in
                modules.iter().flat_map(|module| room.banned.iter().map(move |b| (module, b)))
            {
                let path = format!("{}/src/{module}/inner.rs", room.folder);
                let found = faults(&path, &format!("use {banned}::Thing;"));
                assert_eq!(found.len(), 1, "{path} names {banned}: {found:?}");
                assert!(found[0].ends_with(&format!("must not use `{banned}`")), "{found:?}");
            }
        }
    }

    #[test]
    fn the_edges_are_guarded_in_every_other_crate() {
        let reads = "fn a() -> Option<String> { std::env::var(\"A\").ok() }";
        let now = "use std::time::SystemTime;\nfn a() { SystemTime::now(); }";
        let envoy = "use envoy_types::pb::envoy;";
        for folder in ["policies", "durable", "ca", "sds", "controlplane", "agent", "xds"] {
            for text in [reads, now] {
                assert_eq!(faults(&format!("{folder}/src/lib.rs"), text).len(), 1, "{folder}: {text}");
            }
            assert_eq!(faults(&format!("{folder}/src/server.rs"), envoy).len(), 1, "{folder}");
        }
        assert!(faults("cli/src/main.rs", reads).is_empty() && faults("cli/src/main.rs", now).is_empty());
        assert!(faults("xds/src/pb.rs", envoy).is_empty());
        for text in ["fn a() { sled::open(b); }", "use sled::{Config, Tree};"] {
            assert_eq!(faults("ca/src/ledger/sled.rs", text).len(), 1, "{text}");
            assert!(faults("durable/src/lib.rs", text).is_empty(), "{text}");
        }
        assert!(faults("ca/build.rs", reads).is_empty(), "a build script is spoken to by its environment");
    }

    #[test]
    fn a_ban_is_seen_however_it_is_written() {
        for text in [
            "use crate::store::Store;",
            "use crate::{model::Mesh, store::{self, Store}};",
            "use super::super::store;",
            "fn a(s: &crate::store::Store) {}",
            "fn a() { super::super::store::open(); }",
        ] {
            assert_eq!(faults("controlplane/src/translate/tls.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn tests_comments_neighbours_and_like_names_are_free() {
        for text in [
            "// use tokio::spawn;",
            "#[cfg(test)]\nmod tests { use tokio::test; }",
            "use crate::storefront::Shop;",
            "use super::listener::store_name;",
        ] {
            assert!(faults("controlplane/src/translate/tls.rs", text).is_empty(), "{text}");
        }
        assert!(faults("xds/src/server.rs", "use tonic::Status;").is_empty());
    }

    #[test]
    fn a_rule_about_a_module_that_is_gone_is_a_breach() {
        let count = dead_rules(&[]).len();
        let found = dead_rules(&[source("ca/src/csr.rs", "")]);
        assert_eq!(found.len(), count - 1);
        assert!(!found.iter().any(|breach| breach.what.contains("ca::csr")));
    }
}
