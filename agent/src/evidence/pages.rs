//! Envoy's own pages: which listeners end TLS, and which certificates are loaded.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::Deserialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::join::pb::LoadedCertificate;

/// The extension of a chain that ends TLS.
pub(super) const TLS: &str = "envoy.transport_sockets.tls";
/// Certificates that are told of; a proxy has one or two.
const MOST: usize = 64;

/// A listener some of whose chains end TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TlsListener {
    /// Where it can be called from this host.
    pub(super) address: SocketAddr,
    /// It goes by the original destination of redirected traffic, so a call from here reaches none of its chains.
    pub(super) is_redirected: bool,
}

/// The listeners of `/config_dump?resource=dynamic_listeners` that end TLS.
pub(super) fn tls_listeners(dump: &Value) -> Vec<TlsListener> {
    let configs = dump["configs"].as_array().map(Vec::as_slice).unwrap_or_default();
    configs.iter().filter_map(|config| tls_listener(&config["active_state"]["listener"])).collect()
}

fn tls_listener(listener: &Value) -> Option<TlsListener> {
    let chains = listener["filter_chains"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all = chains.iter().chain([&listener["default_filter_chain"]]);
    all.find(|chain| chain["transport_socket"]["name"] == TLS)?;
    let socket = &listener["address"]["socket_address"];
    let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
    let ip = match socket["address"].as_str()?.parse().ok()? {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    let is_redirected = chains.iter().any(|chain| !chain["filter_chain_match"]["destination_port"].is_null());
    Some(TlsListener { address: SocketAddr::new(ip, port), is_redirected })
}

#[derive(Deserialize)]
struct Certs {
    #[serde(default)]
    certificates: Vec<Context>,
}

/// One TLS context; Envoy has one for each chain and each cluster.
#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    cert_chain: Vec<Certificate>,
}

#[derive(Deserialize)]
struct Certificate {
    #[serde(default)]
    path: String,
    serial_number: String,
    #[serde(default)]
    subject_alt_names: Vec<Name>,
    valid_from: String,
    expiration_time: String,
}

#[derive(Deserialize)]
struct Name {
    uri: Option<String>,
}

/// The certificates with keys of `/certs`, each once, in the order of their serials.
///
/// # Errors
/// It is not such a page.
pub(super) fn loaded(page: &[u8]) -> Result<Vec<LoadedCertificate>, serde_json::Error> {
    let certs: Certs = serde_json::from_slice(page)?;
    let all = certs.certificates.into_iter().flat_map(|context| context.cert_chain);
    let told = |certificate: Certificate| {
        let Certificate { path, serial_number, subject_alt_names, valid_from, expiration_time } = certificate;
        LoadedCertificate {
            serial: serial_number,
            path,
            uris: subject_alt_names.into_iter().filter_map(|name| name.uri).take(4).collect(),
            not_before_unix: seconds(&valid_from),
            not_after_unix: seconds(&expiration_time),
        }
    };
    let by_serial: BTreeMap<_, _> = all.map(told).map(|told| (told.serial.clone(), told)).collect();
    Ok(by_serial.into_values().take(MOST).collect())
}

/// Seconds since the epoch; 0 for what is no moment.
fn seconds(moment: &str) -> i64 {
    OffsetDateTime::parse(moment, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listener(address: &str, chains: Value) -> Value {
        let socket = json!({"socket_address": {"address": address, "port_value": 8080}});
        json!({"active_state": {"listener": {"address": socket, "filter_chains": chains}}})
    }

    #[test]
    fn only_listeners_that_end_tls_are_called_and_those_for_redirected_traffic_are_known() {
        let tls = json!({"transport_socket": {"name": TLS}});
        let plain = json!({});
        let redirected =
            json!({"filter_chain_match": {"destination_port": 8080}, "transport_socket": {"name": TLS}});
        let dump = json!({"configs": [
            listener("10.0.0.1", json!([plain, tls])),
            listener("10.0.0.2", json!([plain])),
            listener("0.0.0.0", json!([tls])),
            listener("0.0.0.0", json!([redirected])),
            {"warming_state": {}},
        ]});
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let expected = [
            TlsListener { address: address("10.0.0.1:8080"), is_redirected: false },
            TlsListener { address: address("127.0.0.1:8080"), is_redirected: false },
            TlsListener { address: address("127.0.0.1:8080"), is_redirected: true },
        ];
        assert_eq!(tls_listeners(&dump), expected);
        assert!(tls_listeners(&json!("junk")).is_empty());
    }

    #[test]
    fn each_certificate_that_envoy_holds_is_told_once() {
        let certificate = |serial: &str| {
            json!({"path": "<inline>", "serial_number": serial, "days_until_expiration": "0",
                "subject_alt_names": [{"uri": "spiffe://a/b"}, {"dns": "x"}],
                "valid_from": "2026-11-26T14:47:15Z", "expiration_time": "2026-11-27T14:48:15Z"})
        };
        let context = |serial| json!({"ca_cert": [certificate("ca")], "cert_chain": [certificate(serial)]});
        let page = json!({"certificates": [context("b"), context("a"), context("b"), {"ca_cert": []}]});
        let told = loaded(page.to_string().as_bytes()).unwrap();
        let serials: Vec<_> = told.iter().map(|certificate| certificate.serial.as_str()).collect();
        assert_eq!(serials, ["a", "b"]);
        assert_eq!(told[0].uris, ["spiffe://a/b"]);
        assert_eq!((told[0].not_before_unix, told[0].not_after_unix), (1_795_704_435, 1_795_790_895));
        assert!(loaded(b"junk").is_err());
    }
}
