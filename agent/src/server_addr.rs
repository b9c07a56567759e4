//! Where the Signet server is.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;

/// Host and port of the server's gRPC listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddr {
    host: String,
    port: u16,
}

/// Why a text is no server address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no server address; it has the form HOST:PORT, as in signet.example.com:7443 or [::1]:7443")]
pub struct InvalidServerAddr(String);

impl ServerAddr {
    /// A DNS name or an IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, where it is an IP address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// Parses `HOST:PORT`; `https://` may come before it.
impl FromStr for ServerAddr {
    type Err = InvalidServerAddr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidServerAddr(text.chars().take(300).collect());
        let (host, port) =
            text.strip_prefix("https://").unwrap_or(text).rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map_err(|_| invalid())?.to_string(),
            // An IPv4 address is spelt with the letters of names.
            None if !host.is_empty() && host.chars().all(is_in_names) => host.to_owned(),
            None => return Err(invalid()),
        };
        Ok(Self { host, port })
    }
}

fn is_in_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_and_others_are_refused() {
        for (text, printed) in [
            ("localhost:7443", "localhost:7443"),
            ("127.0.0.1:7443", "127.0.0.1:7443"),
            ("[::1]:7443", "[::1]:7443"),
            ("https://signet.example.com:443", "signet.example.com:443"),
        ] {
            assert_eq!(text.parse::<ServerAddr>().unwrap().to_string(), printed);
        }
        for text in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "a b:1",
            "::1:7443",
            "[x]:1",
            "h/p:1",
            "http://h:1",
        ] {
            assert!(text.parse::<ServerAddr>().is_err(), "{text:?}");
        }
    }
}
