use std::collections::VecDeque;

use proptest::prelude::*;
use signet_policies::{
    identity::{SpiffeId, TrustDomain, Workload},
    mtls::Mode,
};

use super::*;
use crate::model::{Certificate, Listener, ListenerTls, PortMapping, Protocol, Trust, Validation};

fn asked(mode: Mode, secret: &str) -> Standing {
    let validation = Validation {
        trust: Trust::Sds { secret_name: "ROOTCA".into() },
        subject_alternative_names: Vec::new(),
    };
    let certificate = match secret {
        "file" => Certificate::File { certificate_chain: "/c.pem".into(), private_key: "/c.key".into() },
        secret => Certificate::Sds { secret_name: secret.into() },
    };
    let mapping = PortMapping { port: 8080.try_into().unwrap(), protocol: Protocol::Http };
    let tls = Some(ListenerTls { mode, certificate, validation: Some(validation) });
    let domain: TrustDomain = "td".parse().unwrap();
    let workload = Workload::virtual_node("m", "a").unwrap();
    Standing::asked_for(&workload, &Listener { tls, ..Listener::new(mapping) }, &domain)
}

/// Both ends at once, in few letters: what is offered, and `>` what is dialed.
fn shown(port: &Port) -> String {
    let offer = match (port.standing.offer.plaintext, &port.standing.offer.tls) {
        (true, None) => "plaintext",
        (true, Some(_)) => "both",
        (false, Some(_)) => "tls",
        (false, None) => "nothing",
    };
    let identities = |ids: &BTreeSet<SpiffeId>| ids.iter().map(|id| id.path()).collect::<Vec<_>>().join("|");
    match &port.standing.dial {
        Dial::Plaintext => format!("{offer} > plaintext"),
        Dial::Tls { identities: ids } => format!("{offer} > tls to {}", identities(ids)),
        Dial::Unverified => format!("{offer} > tls to whoever answers"),
    }
}

/// Everything that is published on the way, where everybody follows at once.
fn way(port: &mut Port, asked: &Standing) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..20 {
        if port.advance(asked) {
            seen.push(shown(port));
        }
        port.follows(End::Servers);
        port.follows(End::Clients);
    }
    assert_eq!(port.standing, *asked);
    seen
}

#[test]
fn from_disabled_to_strict_goes_by_way_of_both_and_back_again() {
    let node = "/mesh/m/virtual-node/a";
    let mut port = Port::at(asked(Mode::Disabled, "default"));
    let forth =
        ["both > plaintext".to_owned(), format!("both > tls to {node}"), format!("tls > tls to {node}")];
    assert_eq!(way(&mut port, &asked(Mode::Strict, "default")), forth);
    let back =
        [format!("both > tls to {node}"), "both > plaintext".to_owned(), "plaintext > plaintext".to_owned()];
    assert_eq!(way(&mut port, &asked(Mode::Disabled, "default")), back);
}

#[test]
fn clients_stop_to_verify_before_a_server_shows_a_file_and_begin_again_after_it() {
    let node = "/mesh/m/virtual-node/a";
    let mut port = Port::at(asked(Mode::Strict, "default"));
    let unverified = "tls > tls to whoever answers".to_owned();
    let forth = [unverified.clone(), unverified.clone()];
    assert_eq!(way(&mut port, &asked(Mode::Strict, "file")), forth, "the second is the server's");
    let back = [unverified, format!("tls > tls to {node}")];
    assert_eq!(way(&mut port, &asked(Mode::Strict, "default")), back);
}

#[test]
fn a_server_changes_its_identity_only_when_every_client_knows_both() {
    let mut port = Port::at(asked(Mode::Strict, "spiffe://td/old"));
    let steps = ["tls > tls to /new|/old", "tls > tls to /new|/old", "tls > tls to /new"];
    assert_eq!(way(&mut port, &asked(Mode::Strict, "spiffe://td/new")), steps);
}

#[test]
fn a_server_that_leaves_tls_keeps_its_old_chain_as_it_was_until_clients_have_left() {
    let strict = asked(Mode::Strict, "default");
    let mut port = Port::at(strict.clone());
    assert!(port.advance(&asked(Mode::Disabled, "default")));
    assert_eq!(port.standing.offer.tls, strict.offer.tls);
}

#[test]
fn nothing_moves_while_servers_do_not_follow() {
    let mut port = Port::at(asked(Mode::Disabled, "default"));
    let strict = asked(Mode::Strict, "default");
    assert!(port.advance(&strict));
    for _ in 0..3 {
        port.follows(End::Clients);
        assert!(!port.advance(&strict), "moved to {}", shown(&port));
    }
}

#[test]
fn plaintext_is_not_dropped_while_clients_do_not_follow() {
    let mut port = Port::at(asked(Mode::Disabled, "default"));
    let strict = asked(Mode::Strict, "default");
    port.advance(&strict);
    port.follows(End::Servers);
    assert!(port.advance(&strict));
    for _ in 0..3 {
        port.follows(End::Servers);
        assert!(!port.advance(&strict), "moved to {}", shown(&port));
        assert!(port.standing.offer.plaintext);
    }
}

/// A proxy that takes in what is published when it pleases, in order.
#[derive(Clone, Debug)]
struct Slow<T> {
    runs: T,
    queue: VecDeque<T>,
}

impl<T: Clone + PartialEq> Slow<T> {
    fn at(state: &T) -> Self {
        Self { runs: state.clone(), queue: VecDeque::new() }
    }

    fn told(&mut self, state: &T) {
        if self.queue.back().unwrap_or(&self.runs) != state {
            self.queue.push_back(state.clone());
        }
    }

    fn acts(&mut self) {
        if let Some(next) = self.queue.pop_front() {
            self.runs = next;
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Ask(Mode, &'static str),
    ServerActs(usize),
    ClientActs(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![Just(Mode::Disabled), Just(Mode::Permissive), Just(Mode::Strict)];
    let secret = prop_oneof![Just("default"), Just("spiffe://td/x"), Just("spiffe://td/y"), Just("file")];
    prop_oneof![
        1 => (mode, secret).prop_map(|(mode, secret)| Event::Ask(mode, secret)),
        4 => (0..2usize).prop_map(Event::ServerActs),
        4 => (0..2usize).prop_map(Event::ClientActs),
    ]
}

proptest! {
    #[test]
    fn no_client_ever_dials_what_some_server_does_not_serve(events in prop::collection::vec(event(), 1..80)) {
        let mut wish = asked(Mode::Disabled, "default");
        let mut port = Port::at(wish.clone());
        let mut servers = vec![Slow::at(&port.standing.offer); 2];
        let mut clients = vec![Slow::at(&port.standing.dial); 2];
        // At the end everybody acts until nothing is left to do.
        let epilogue = (0..200).map(|n| if n % 2 == 0 { Event::ServerActs(n / 2 % 2) } else { Event::ClientActs(n / 2 % 2) });
        for event in events.into_iter().chain(epilogue) {
            match event {
                Event::Ask(mode, secret) => wish = asked(mode, secret),
                Event::ServerActs(which) => servers[which].acts(),
                Event::ClientActs(which) => clients[which].acts(),
            }
            for _ in 0..3 {
                port.advance(&wish);
                servers.iter_mut().for_each(|server| server.told(&port.standing.offer));
                clients.iter_mut().for_each(|client| client.told(&port.standing.dial));
                if servers.iter().all(|server| server.runs == port.standing.offer && server.queue.is_empty()) {
                    port.follows(End::Servers);
                }
                if clients.iter().all(|client| client.runs == port.standing.dial && client.queue.is_empty()) {
                    port.follows(End::Clients);
                }
            }
            for server in &servers {
                for client in &clients {
                    prop_assert!(server.runs.serves(&client.runs), "{:?} does not serve {}", server.runs, client.runs);
                }
            }
        }
        prop_assert_eq!(&port.standing, &wish);
        prop_assert!(!port.awaits(End::Servers) && !port.awaits(End::Clients));
    }

    #[test]
    fn a_port_comes_back_from_memory_as_it_was(asks in prop::collection::vec(event(), 1..20)) {
        let mut port = Port::at(asked(Mode::Disabled, "default"));
        for event in asks {
            match event {
                Event::Ask(mode, secret) => drop(port.advance(&asked(mode, secret))),
                Event::ServerActs(_) => port.follows(End::Servers),
                Event::ClientActs(_) => port.follows(End::Clients),
            }
            let id = crate::translate::PortId {
                workload: Workload::virtual_node("m", "a").unwrap(),
                port: 8080.try_into().unwrap(),
            };
            let record = crate::reconcile::memory::write(&port).unwrap();
            prop_assert_eq!(crate::reconcile::memory::read(&id, &record).unwrap(), port.clone());
        }
    }
}
