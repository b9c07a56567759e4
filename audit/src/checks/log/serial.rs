//! A04: serial numbers (RFC 5280, section 4.1.2.2).

use std::collections::BTreeMap;

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Evidence, Leaf},
    finding::{Fault, Severity},
    inventory::Need,
};

pub(crate) const SERIAL: Check = Check {
    id: "A04",
    name: "serial",
    title: "Serial numbers are unique, positive, random, and at most 20 octets long",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der],
    why: "Revocation goes by serial: two certificates with one serial are revoked together or not at all. A serial that can \
          be foreseen helps whoever looks for collisions of the signature's hash.",
    how: "All serials are compared with each other; each must be positive and hold at least 64 bits, and none may lie within \
          2^32 of another, as a counter's do.",
    fix: "Revoke the certificate, and look for what else that signer issued.",
    run,
};

/// Most octets.
const LONGEST: usize = 20;
/// Fewest octets, of which the first is not zero: at least 64 random bits are asked for, and one in 2^56 honest ones
/// of 128 bits is that short.
const SHORTEST: usize = 9;
/// Two honest serials of 128 bits lie closer than this once in 2^96.
const COUNTER: u128 = 1 << 32;

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut by_number: BTreeMap<&[u8], Vec<&Leaf<'_>>> = BTreeMap::new();
    for (leaf, certificate) in evidence.readable() {
        if let Some(said) = form(certificate) {
            faults.push(Fault::new(leaf.subject(), said).keyed("form"));
        }
        by_number.entry(&certificate.serial).or_default().push(leaf);
    }
    for leaves in by_number.values().filter(|leaves| leaves.len() > 1) {
        let message = format!("{} certificates have this serial", leaves.len());
        let others = leaves.iter().map(|leaf| leaf.record.spiffe_id.as_str());
        faults.extend(
            leaves
                .first()
                .map(|first| others.fold(Fault::new(first.subject(), message).keyed("twice"), Fault::seen)),
        );
    }
    faults.extend(counted(&by_number));
    faults
}

fn form(certificate: &Certificate) -> Option<String> {
    let octets = certificate.serial.as_slice();
    let magnitude: &[u8] = match octets {
        [0, rest @ ..] => rest,
        all => all,
    };
    match octets.first() {
        None => Some("it has no serial".to_owned()),
        Some(first) if first & 0x80 != 0 => Some("the serial is negative".to_owned()),
        Some(_) if octets.len() > LONGEST => {
            Some(format!("the serial has {} octets, at most {LONGEST} are allowed", octets.len()))
        }
        Some(_) if magnitude.len() < SHORTEST => {
            Some(format!("the serial has {} bits at most, which is no random number", magnitude.len() * 8))
        }
        Some(_) => None,
    }
}

/// Serials next to each other, which random ones never are. Short ones are reported for that.
fn counted(by_number: &BTreeMap<&[u8], Vec<&Leaf<'_>>>) -> Vec<Fault> {
    let mut numbers: Vec<(u128, &Leaf<'_>)> = by_number
        .iter()
        .filter(|(octets, _)| octets.len() >= SHORTEST)
        .filter_map(|(octets, leaves)| Some((low(octets)?, *leaves.first()?)))
        .collect();
    numbers.sort_by_key(|(number, _)| *number);
    let near = |pair: &&[(u128, &Leaf<'_>)]| match pair {
        [(a, _), (b, _)] => b.abs_diff(*a) < COUNTER && a != b,
        _ => false,
    };
    let fault = |pair: &[(u128, &Leaf<'_>)]| {
        let [(_, a), (_, b)] = pair else { return None };
        let message = format!("the serial is next to {}, as a counter's would be", a.record.serial);
        Some(Fault::new(b.subject(), message).keyed("counter"))
    };
    numbers.windows(2).filter(near).filter_map(fault).collect()
}

/// The number's last 128 bits; `None` where it is longer, since a match of the rest says nothing then.
fn low(octets: &[u8]) -> Option<u128> {
    let significant: Vec<u8> = octets.iter().copied().skip_while(|octet| *octet == 0).collect();
    (significant.len() <= 16)
        .then(|| significant.iter().fold(0_u128, |number, octet| number << 8 | u128::from(*octet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_positive_and_of_9_to_20_octets() {
        let der = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.der().to_vec();
        let certificate = Certificate::read(&der).unwrap();
        let said = |octets: &[u8]| form(&Certificate { serial: octets.to_vec(), ..certificate.clone() });
        for (octets, says) in [
            (&[0x40_u8; 9] as &[u8], None),
            (&[0x40; 20], None),
            (&[&[0][..], &[0x90; 9]].concat(), None),
            (&[0x40; 8], Some("the serial has 64 bits at most")),
            (&[&[0][..], &[0x90; 8]].concat(), Some("the serial has 64 bits at most")),
            (&[0x40; 21], Some("the serial has 21 octets, at most 20")),
            (&[0x90; 16], Some("the serial is negative")),
            (&[], Some("it has no serial")),
        ] {
            let found = said(octets);
            assert_eq!(found.is_some(), says.is_some(), "{octets:?}: {found:?}");
            assert!(
                says.is_none_or(|says| found.as_ref().unwrap().starts_with(says)),
                "{octets:?}: {found:?}"
            );
        }
    }

    #[test]
    fn serials_of_up_to_128_bits_are_compared_as_numbers() {
        let sign = [&[0, 0x80][..], &[7; 15]].concat();
        assert_eq!(low(&sign), Some(u128::from_be_bytes(sign[1..].try_into().unwrap())));
        assert_eq!((low(&[1, 0, 2]), low(&[])), (Some(0x1_0002), Some(0)));
        assert_eq!(low(&[1; 17]), None);
    }
}
