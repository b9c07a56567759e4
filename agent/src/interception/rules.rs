//! What is redirected, and what is not.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    str::FromStr,
};

use thiserror::Error;

/// The chain for others' traffic.
pub(super) const INGRESS: &str = "APPMESH_INGRESS";
/// The chain for the application's own.
pub(super) const EGRESS: &str = "APPMESH_EGRESS";
/// Most ports that one rule can list.
const MOST_PORTS: usize = 15;
/// Administrators keep their way in, whatever else is ignored.
const SSH: u16 = 22;

/// What is wanted; checked by [`Rules::check`] before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Envoy's port for others' traffic.
    pub ingress_port: u16,
    /// Envoy's port for the application's own.
    pub egress_port: u16,
    /// Ports that the application serves; without any, only its own calls are redirected.
    pub app_ports: Vec<u16>,
    /// Whose traffic is left alone: Envoy's, or it would be sent to itself.
    pub ignored_uid: Option<u32>,
    /// The same, by group.
    pub ignored_gid: Option<u32>,
    /// Ports elsewhere that are called directly; 22 always is.
    pub ignored_ports: Vec<u16>,
    /// Addresses elsewhere that are called directly, of both families.
    pub ignored_ips: Vec<Network>,
}

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

/// An address, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no address and no range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no IP address and no range such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

/// Why rules would do harm.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRules {
    /// Envoy's own calls would come back to it.
    #[error(
        "whose traffic is Envoy's? Say --ignore-uid or --ignore-gid (APPMESH_IGNORE_UID, APPMESH_IGNORE_GID), such as \
         1337; without it Envoy's own calls would be sent back to it for ever"
    )]
    NobodyIgnored,
    /// It means nothing.
    #[error("port 0 can neither be served nor called")]
    Zero,
    /// Envoy would be sent its own ports.
    #[error("port {0} is Envoy's own, so it cannot be the application's too")]
    Envoys(u16),
    /// They would be one listener.
    #[error("port {0} cannot be both Envoy's ingress and its egress")]
    Same(u16),
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNetwork(text.chars().take(64).collect());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(one, two)| (one, Some(two)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(whole), str::parse).map_err(|_| invalid())?;
        if prefix > whole { Err(invalid()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Family {
    fn holds(self, network: &Network) -> bool {
        network.address.is_ipv4() == (self == Self::V4)
    }

    /// The program that saves, or restores, its tables.
    pub(super) fn program(self, what: &str) -> String {
        match self {
            Self::V4 => format!("iptables-{what}"),
            Self::V6 => format!("ip6tables-{what}"),
        }
    }
}

impl Rules {
    /// Whether they do what they are for.
    ///
    /// # Errors
    /// The first harm that they would do.
    pub fn check(&self) -> Result<(), InvalidRules> {
        if self.ignored_uid.is_none() && self.ignored_gid.is_none() {
            return Err(InvalidRules::NobodyIgnored);
        }
        let envoys = [self.ingress_port, self.egress_port];
        if envoys.iter().chain(&self.app_ports).chain(&self.ignored_ports).any(|port| *port == 0) {
            return Err(InvalidRules::Zero);
        }
        if self.ingress_port == self.egress_port {
            return Err(InvalidRules::Same(self.egress_port));
        }
        let taken = self.app_ports.iter().find(|port| envoys.contains(port));
        taken.map_or(Ok(()), |port| Err(InvalidRules::Envoys(*port)))
    }

    /// As `iptables-restore --noflush` reads them, the same text for the same rules. Whatever was in the two chains
    /// before goes, but what leads to them must not be there yet.
    #[must_use]
    pub fn render(&self, family: Family) -> String {
        self.restore(family, &[])
    }

    /// As [`Rules::render`], after `first`, in the same transaction.
    pub(super) fn restore(&self, family: Family, first: &[String]) -> String {
        let lines = self.lines(family);
        let mark = mark(&lines);
        let mut text = format!("*nat\n:{INGRESS} - [0:0]\n:{EGRESS} - [0:0]\n");
        let mut say = |line: &str| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        first.iter().for_each(|line| say(line));
        say(&format!("-A PREROUTING -p tcp -m addrtype ! --src-type LOCAL {mark} -j {INGRESS}"));
        say(&format!("-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL {mark} -j {EGRESS}"));
        lines.iter().for_each(|line| say(line));
        say("COMMIT");
        text
    }

    /// By which the rules that are there are known to be these.
    pub(super) fn mark(&self, family: Family) -> String {
        mark(&self.lines(family))
    }

    /// What is in the two chains.
    pub(super) fn lines(&self, family: Family) -> Vec<String> {
        let mut lines = Vec::new();
        for ports in sorted(&self.app_ports).chunks(MOST_PORTS) {
            let (ports, to) = (list(ports), self.ingress_port);
            lines.push(format!(
                "-A {INGRESS} -p tcp -m multiport --dports {ports} -j REDIRECT --to-ports {to}"
            ));
        }
        let owners = [("uid", self.ignored_uid), ("gid", self.ignored_gid)];
        for (kind, id) in owners.into_iter().filter_map(|(kind, id)| Some((kind, id?))) {
            lines.push(format!("-A {EGRESS} -m owner --{kind}-owner {id} -j RETURN"));
        }
        let ignored: Vec<u16> = self.ignored_ports.iter().copied().chain([SSH]).collect();
        for ports in sorted(&ignored).chunks(MOST_PORTS) {
            lines.push(format!("-A {EGRESS} -p tcp -m multiport --dports {} -j RETURN", list(ports)));
        }
        for network in self.ignored_ips.iter().filter(|network| family.holds(network)) {
            lines.push(format!("-A {EGRESS} -d {network} -j RETURN"));
        }
        lines.push(format!("-A {EGRESS} -p tcp -j REDIRECT --to-ports {}", self.egress_port));
        lines
    }
}

/// A comment on the two rules that lead to the chains: a sum of what is in them (FNV-1a, 64 bits).
fn mark(lines: &[String]) -> String {
    let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
    let sum = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("-m comment --comment signet:{sum:016x}")
}

fn sorted(ports: &[u16]) -> Vec<u16> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            ingress_port: 15_000,
            egress_port: 15_001,
            app_ports: (8080..8096).rev().collect(),
            ignored_uid: Some(1337),
            ignored_gid: Some(1338),
            ignored_ports: vec![7000, 22],
            ignored_ips: ["169.254.170.2", "10.1.0.0/16", "fd00::/8"]
                .map(|text| text.parse().unwrap())
                .into(),
        }
    }

    #[test]
    fn the_rules_of_both_families_are_these() {
        insta::assert_snapshot!(format!("{}{}", rules().render(Family::V4), rules().render(Family::V6)));
    }

    #[test]
    fn without_ports_of_the_application_only_its_own_calls_are_redirected() {
        let lines = Rules { app_ports: Vec::new(), ..rules() }.lines(Family::V4);
        assert!(lines.iter().all(|line| line.starts_with("-A APPMESH_EGRESS")), "{lines:?}");
    }

    #[test]
    fn rules_that_would_do_harm_are_refused() {
        assert_eq!(rules().check(), Ok(()));
        let cases = [
            (Rules { ignored_uid: None, ignored_gid: None, ..rules() }, InvalidRules::NobodyIgnored),
            (Rules { app_ports: vec![80, 0], ..rules() }, InvalidRules::Zero),
            (Rules { app_ports: vec![15_001], ..rules() }, InvalidRules::Envoys(15_001)),
            (Rules { ingress_port: 15_001, ..rules() }, InvalidRules::Same(15_001)),
        ];
        for (wrong, reason) in cases {
            assert_eq!(wrong.check(), Err(reason));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "fd00::/129", "example.com", "10.0.0.0/8/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert_eq!("10.0.0.7".parse::<Network>().unwrap().to_string(), "10.0.0.7/32");
    }
}
