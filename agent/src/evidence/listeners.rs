//! What the proxy's listeners accept: by Envoy's configuration in force, and by a connection without TLS where nothing
//! should take one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::pages::TLS;
use crate::join::pb::{
    ListenerStatus,
    listener_status::{Probe, Tickets},
};

/// How long an answer may take. Who takes plaintext answers at once, or waits for more.
const PATIENCE: Duration = Duration::from_secs(1);
/// No request of any protocol, so that no application is asked for anything, and not the start of a TLS record.
const WORDS: &[u8] = b"signet plaintext probe\r\n\r\n";
/// The first byte of an alert (RFC 8446, section 5.1).
const ALERT: u8 = 21;

/// Remembers what came of each probe, so that a configuration is tried once.
#[derive(Debug, Default)]
pub(super) struct Probes(BTreeMap<SocketAddr, (String, Probe)>);

/// The chains of one port.
#[derive(Clone, Debug, Default, PartialEq)]
struct Port {
    status: ListenerStatus,
    /// Where it can be called from this host; `None` where its traffic is redirected to it.
    address: Option<SocketAddr>,
    /// The configuration, to see whether it changed.
    told: String,
}

impl Probes {
    /// What is accepted, of `most` ports at most.
    pub(super) async fn look(&mut self, dump: &Value, most: usize) -> Vec<ListenerStatus> {
        let mut found: Vec<Port> = ports(dump).into_values().take(most).collect();
        for port in &mut found {
            let Some(address) =
                port.address.filter(|_| port.status.takes_tls && !port.status.takes_plaintext)
            else {
                continue;
            };
            let known = self.0.get(&address).filter(|(told, _)| *told == port.told).map(|(_, probe)| *probe);
            let probe = match known {
                Some(probe) => probe,
                None => probe(address).await,
            };
            if probe != Probe::Unspecified {
                self.0.insert(address, (port.told.clone(), probe));
            }
            port.status.set_plaintext_probe(probe);
        }
        let addresses: Vec<SocketAddr> = found.iter().filter_map(|port| port.address).collect();
        self.0.retain(|address, _| addresses.contains(address));
        found.into_iter().map(|port| port.status).collect()
    }
}

/// The ports of `/config_dump?resource=dynamic_listeners`.
fn ports(dump: &Value) -> BTreeMap<u16, Port> {
    let mut ports = BTreeMap::new();
    for config in dump["configs"].as_array().into_iter().flatten() {
        let listener = &config["active_state"]["listener"];
        let socket = &listener["address"]["socket_address"];
        let Some(own) = socket["port_value"].as_u64().and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        let address = socket["address"].as_str().and_then(|ip| ip.parse().ok()).map(|ip| callable(ip, own));
        let chains = listener["filter_chains"].as_array().into_iter().flatten();
        let default = Some(&listener["default_filter_chain"]).filter(|chain| chain.is_object());
        for chain in chains.chain(default) {
            let redirected = chain["filter_chain_match"]["destination_port"].as_u64();
            let redirected = redirected.and_then(|port| u16::try_from(port).ok());
            let port: &mut Port = ports.entry(redirected.unwrap_or(own)).or_default();
            port.status.port = u32::from(redirected.unwrap_or(own));
            port.address = address.filter(|_| redirected.is_none());
            take(port, chain);
        }
    }
    ports
}

/// Adds what a chain accepts.
fn take(port: &mut Port, chain: &Value) {
    port.told.push_str(&chain["transport_socket"].to_string());
    let status = &mut port.status;
    if chain["transport_socket"]["name"] != TLS {
        status.takes_plaintext = true;
        return;
    }
    let context = &chain["transport_socket"]["typed_config"];
    let requires = context["require_client_certificate"].as_bool().unwrap_or(false);
    status.requires_client_certificate =
        requires && (!status.takes_tls || status.requires_client_certificate);
    status.takes_tls = true;
    // The weaker the later in the enumeration.
    status.set_tickets(status.tickets().max(tickets(context)));
    let params = &context["common_tls_context"]["tls_params"];
    // `TLSv1_2`; TLS_AUTO is the default.
    if let Some(version) =
        params["tls_minimum_protocol_version"].as_str().filter(|text| text.starts_with("TLSv"))
    {
        let version = version.replace('_', ".");
        if status.lowest_protocol.is_empty() || version < status.lowest_protocol {
            status.lowest_protocol = version;
        }
    }
    let suites = params["cipher_suites"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Suites of equal preference stand between brackets.
    let suites = suites.flat_map(|group| group.trim_matches(['[', ']']).split('|'));
    status.cipher_suites.extend(suites.take(32).map(str::to_owned));
}

/// How a TLS context resumes sessions without state. Envoy makes keys of its own where it is given none.
fn tickets(context: &Value) -> Tickets {
    let is_given = |member: &str| !context[member].is_null();
    if is_given("session_ticket_keys") || is_given("session_ticket_keys_sds_secret_config") {
        Tickets::GivenKeys
    } else if context["disable_stateless_session_resumption"] == true {
        Tickets::None
    } else {
        Tickets::OwnKeys
    }
}

fn callable(ip: IpAddr, port: u16) -> SocketAddr {
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, port)
}

/// Whether a connection without TLS is served. Nothing is known where there is no connection at all.
async fn probe(address: SocketAddr) -> Probe {
    let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(address)).await else {
        return Probe::Unspecified;
    };
    let mut first = [0; 1];
    let exchange = async {
        stream.write_all(WORDS).await?;
        stream.read(&mut first).await
    };
    match timeout(PATIENCE, exchange).await {
        // Closed, reset, or an alert of TLS.
        Ok(Ok(0) | Err(_)) => Probe::Refused,
        Ok(Ok(_)) if first == [ALERT] => Probe::Refused,
        Ok(Ok(_)) => Probe::Accepted,
        // It waits for more of this.
        Err(_) => Probe::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;

    fn tls(requires: bool, params: Value) -> Value {
        json!({"transport_socket": {"name": TLS, "typed_config": {
            "require_client_certificate": requires, "common_tls_context": {"tls_params": params}}}})
    }

    fn dump(address: SocketAddr, chains: Value) -> Value {
        let socket =
            json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
        json!({"configs": [{"active_state": {"listener": {"address": socket, "filter_chains": chains}}}]})
    }

    #[test]
    fn what_each_port_accepts_is_read_from_all_of_its_chains() {
        let at: SocketAddr = "10.0.0.1:8080".parse().unwrap();
        let of = |chains: Value| {
            ports(&dump(at, chains)).into_values().map(|port| port.status).collect::<Vec<_>>()
        };
        let params = json!({"tls_minimum_protocol_version": "TLSv1_2", "cipher_suites": ["[A|B]", "C"]});
        let strict = ListenerStatus {
            port: 8080,
            takes_tls: true,
            requires_client_certificate: true,
            lowest_protocol: "TLSv1.2".to_owned(),
            cipher_suites: ["A", "B", "C"].map(str::to_owned).to_vec(),
            tickets: Tickets::OwnKeys.into(),
            ..ListenerStatus::default()
        };
        assert_eq!(of(json!([tls(true, params)])), [strict]);
        let both =
            of(json!([{"filter_chain_match": {"transport_protocol": "raw_buffer"}}, tls(false, json!({}))]));
        assert!(both[0].takes_plaintext && both[0].takes_tls && !both[0].requires_client_certificate);
        let mixed = of(json!([tls(true, json!({})), tls(false, json!({}))]));
        assert!(!mixed[0].requires_client_certificate, "one chain lets everybody in");
        let chain = |member: &str, value: Value| {
            let mut chain = tls(true, json!({}));
            chain["transport_socket"]["typed_config"][member] = value;
            chain
        };
        let without = || chain("disable_stateless_session_resumption", json!(true));
        let given = || chain("session_ticket_keys", json!({"keys": [{}]}));
        let own = || tls(true, json!({}));
        let tickets = |chains: Value| of(chains)[0].tickets();
        assert_eq!(tickets(json!([without()])), Tickets::None);
        assert_eq!(tickets(json!([without(), own()])), Tickets::OwnKeys, "the weaker one counts");
        assert_eq!(tickets(json!([given(), without(), own()])), Tickets::GivenKeys);
        let mut redirected = tls(true, json!({}));
        redirected["filter_chain_match"] = json!({"destination_port": 9090});
        let found = ports(&dump(at, json!([redirected, {}])));
        assert_eq!(found.keys().collect::<Vec<_>>(), [&8080, &9090]);
        assert_eq!((found[&9090].address, found[&8080].status.takes_plaintext), (None, true));
        assert!(ports(&json!("junk")).is_empty());
    }

    #[tokio::test]
    async fn a_listener_that_closes_or_alerts_refuses_plaintext_and_one_that_answers_or_waits_takes_it() {
        let mut tasks = JoinSet::new();
        let mut serve = async |answer: Option<&'static [u8]>| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tasks.spawn(async move {
                let mut kept = Vec::new();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _ = stream.read(&mut [0; 1024]).await;
                    match answer {
                        Some(answer) => stream.write_all(answer).await.unwrap(),
                        None => kept.push(stream),
                    }
                }
            });
            address
        };
        let mut outcomes = Vec::new();
        for answer in
            [Some(b"" as &[u8]), Some(b"\x15\x03\x03\x00\x02\x02\x28"), Some(b"HTTP/1.1 400 "), None]
        {
            let address = serve(answer).await;
            let chains = json!([tls(true, json!({}))]);
            let found = Probes::default().look(&dump(address, chains), 8).await;
            outcomes.push(found[0].plaintext_probe());
        }
        assert_eq!(outcomes, [Probe::Refused, Probe::Refused, Probe::Accepted, Probe::Accepted]);
        let plain = serve(Some(b"x")).await;
        let found = Probes::default().look(&dump(plain, json!([{}])), 8).await;
        assert_eq!(found[0].plaintext_probe(), Probe::Unspecified, "who says so is not asked");
    }

    #[tokio::test]
    async fn a_configuration_is_tried_once_and_another_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut probes = Probes::default();
        let first = dump(address, json!([tls(true, json!({}))]));
        let mut calls = 0;
        for (dump, is_tried) in
            [(&first, true), (&first, false), (&dump(address, json!([tls(false, json!({}))])), true)]
        {
            let accepted = async {
                let accepted = timeout(Duration::from_millis(200), listener.accept()).await;
                calls += usize::from(accepted.is_ok());
            };
            let (found, ()) = tokio::join!(probes.look(dump, 8), accepted);
            assert_eq!(found[0].plaintext_probe(), Probe::Refused);
            assert_eq!(calls > 0, is_tried);
            calls = 0;
        }
    }
}
