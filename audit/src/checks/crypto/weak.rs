//! C03: keys that are broken, or known to others.

use std::sync::LazyLock;

use num_bigint::BigUint;

use crate::{
    certificate::{Certificate, KeyKind},
    check::Check,
    evidence::Evidence,
    finding::{Fault, Severity, Subject},
    inventory::Need,
};

pub(crate) const WEAK_KEY: Check = Check {
    id: "C03",
    name: "weak-key",
    title: "No key is one that others know or can compute",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "Generators with too few states and faulty chips made keys that anybody can look up or factor.",
    how: "RSA: an odd exponent of 65537 or more, no small factor, and not the shape of the chips of 2017 (ROCA, \
          CVE-2017-15361). P-256: a point of the curve that is not a small multiple of the generator. And none of the \
          thresholds' blockedKeys, which is where lists such as Debian's of 2008 go.",
    fix: "Make a new key elsewhere, and revoke what has the old one.",
    run,
};

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    let blocked = &evidence.thresholds.blocked_keys;
    let fault = |(subject, certificate): (Subject, &Certificate)| {
        let hash = hex::encode(certificate.key.hash);
        let said = match blocked.iter().any(|blocked| blocked.eq_ignore_ascii_case(&hash)) {
            true => Some("it is on the list of blocked keys"),
            false => weakness(&certificate.key.kind),
        };
        said.map(|said| Fault::new(subject, format!("its key is weak: {said}")).seen(format!("key {hash}")))
    };
    evidence.certificates().filter_map(fault).collect()
}

fn weakness(kind: &KeyKind) -> Option<&'static str> {
    match kind {
        KeyKind::Rsa { modulus, exponent } => rsa(modulus, exponent),
        KeyKind::P256(point) => p256(point),
        KeyKind::P384(_) | KeyKind::Ed25519 | KeyKind::Other(_) => None,
    }
}

/// The first primes behind 2.
const PRIMES: [u32; 53] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223,
    227, 229, 233, 239, 241, 251,
];

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<&'static str> {
    let exponent = BigUint::from_bytes_be(exponent);
    if exponent < BigUint::from(65_537_u32) || !exponent.bit(0) {
        return Some("the exponent is even, or below 65537");
    }
    if modulus.last().is_none_or(|last| last & 1 == 0) {
        return Some("the modulus is even");
    }
    let residue =
        |prime: u32| modulus.iter().fold(0_u32, |rest, octet| (rest << 8 | u32::from(*octet)) % prime);
    if PRIMES.iter().any(|prime| residue(*prime) == 0) {
        return Some("the modulus has a small factor");
    }
    // Those chips made primes whose rest by each small prime is a power of 65537, so the modulus' rest is one too.
    // An honest modulus passes all of these by chance once in 2^27.
    let is_power = |prime: u32| {
        let (rest, generator) = (residue(prime), 65_537 % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * generator % prime;
            power == rest
        })
    };
    PRIMES
        .iter()
        .take_while(|prime| **prime <= 167)
        .all(|prime| is_power(*prime))
        .then_some("the modulus has the shape that faulty chips made (ROCA)")
}

/// NIST P-256 (SEC 2, section 2.4.2): y² = x³ − 3x + b modulo p.
struct Curve {
    p: BigUint,
    b: BigUint,
}

static P256: LazyLock<Option<Curve>> = LazyLock::new(|| {
    let number = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16);
    Some(Curve {
        p: number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")?,
        b: number("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")?,
    })
});

/// The first octets of x of the generator and of its multiples by 2 and 3: the keys 1, 2 and 3.
const SMALL_MULTIPLES: [[u8; 8]; 3] = [
    [0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47],
    [0x7c, 0xf2, 0x7b, 0x18, 0x8d, 0x03, 0x4f, 0x7e],
    [0x5e, 0xcb, 0xe4, 0xd1, 0xa6, 0x33, 0x0a, 0x44],
];

fn p256(point: &[u8]) -> Option<&'static str> {
    let (Some(4), Some((x, y))) = (point.first(), point.get(1..65).map(|rest| rest.split_at(32))) else {
        return Some("it is no uncompressed point");
    };
    if SMALL_MULTIPLES.iter().any(|known| x.starts_with(known)) {
        return Some("it is a small multiple of the generator");
    }
    let curve = P256.as_ref()?;
    let [x, y] = [x, y].map(BigUint::from_bytes_be);
    if x >= curve.p || y >= curve.p {
        return Some("a coordinate is outside the field");
    }
    // x³ − 3x + b, kept positive by adding 3p.
    let right = (&x * &x * &x + &curve.p * 3_u32 + &curve.b - &x * 3_u32) % &curve.p;
    ((&y * &y) % &curve.p != right).then_some("the point is not on the curve")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    const MODULUS: &str = "b4a53ccf64c6264acc41e8d8fe2d878de39708fdf69357f640f7be1bac39f2f5\
        af4620ed3d78121d1413bce88a1a0fc34a909ef0deb667a2e94a2fcc2fba3d25\
        63328091c9a625226c144f23ce01e8549c1823aa2fbe6047c7a95bfc2321c962\
        b40faf61a4e0eeedc910e30e2ea383f087045717f91dd2fd849159f341e3c729";

    #[test]
    fn a_point_of_the_curve_passes_and_one_beside_it_does_not() {
        // The public key of the private key in RFC 6979, appendix A.2.5.
        let text = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
        let mut point = octets(text);
        assert_eq!(p256(&point), None);
        point[64] ^= 1;
        assert_eq!(p256(&point), Some("the point is not on the curve"));
    }

    #[test]
    fn a_coordinate_is_below_the_prime() {
        let prime = octets("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
        let below = BigUint::from_bytes_be(&prime) - 1_u32;
        let (below, one) = (below.to_bytes_be(), [&[0; 31][..], &[1]].concat());
        let said = |x: &[u8], y: &[u8]| p256(&[&[4], x, y].concat());
        for (x, y) in [(&prime, &one), (&one, &prime)] {
            assert_eq!(said(x, y), Some("a coordinate is outside the field"));
        }
        for (x, y) in [(&below, &one), (&one, &below)] {
            assert_eq!(said(x, y), Some("the point is not on the curve"));
        }
    }

    /// The generator and its multiples by 2, 3 and 4.
    const MULTIPLES: [&str; 4] = [
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        "047cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc4766997807775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1",
        "045ecbe4d1a6330a44c8f7ef951d4bf165e6c6b721efada985fb41661bc6e7fd6c8734640c4998ff7e374b06ce1a64a2ecd82ab036384fb83d9a79b127a27d5032",
        "04e2534a3532d08fbba02dde659ee62bd0031fe2db785596ef509302446b030852e0f1575a4c633cc719dfee5fda862d764efc96c3f30ee0055c42c23f184ed8c6",
    ];

    #[test]
    fn the_generator_and_its_double_and_triple_are_keys_that_everybody_knows() {
        let weak = Some("it is a small multiple of the generator");
        for (text, said) in MULTIPLES.into_iter().zip([weak, weak, weak, None]) {
            assert_eq!(weakness(&KeyKind::P256(octets(text))), said, "{text}");
        }
    }

    #[test]
    fn an_rsa_key_with_an_even_number_a_small_factor_or_a_small_exponent_is_weak() {
        // The product of two primes of 512 bits, made once with OpenSSL.
        let modulus = octets(MODULUS);
        let said = |modulus: &[u8], exponent: &[u8]| {
            weakness(&KeyKind::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
        };
        assert_eq!(said(&modulus, &[1, 0, 1]), None);
        assert_eq!(said(&modulus, &[3]), Some("the exponent is even, or below 65537"));
        assert_eq!(said(&modulus, &[1, 0, 2]), Some("the exponent is even, or below 65537"));
        let mut even = modulus.clone();
        *even.last_mut().unwrap() &= 0xfe;
        assert_eq!(said(&even, &[1, 0, 1]), Some("the modulus is even"));
        assert_eq!(said(&[255], &[1, 0, 1]), Some("the modulus has a small factor"));
    }

    #[test]
    fn a_factor_is_looked_for_among_the_odd_primes_below_256() {
        let modulus = BigUint::from_bytes_be(&octets(MODULUS));
        let is_prime = |number: &u32| (2..*number).all(|divisor| !number.is_multiple_of(divisor));
        for prime in (3..260).filter(is_prime) {
            let said = rsa(&(&modulus * prime).to_bytes_be(), &[1, 0, 1]);
            assert_eq!(said, (prime < 256).then_some("the modulus has a small factor"), "{prime}");
        }
    }

    #[test]
    fn a_modulus_by_powers_of_65537_is_told_from_another() {
        // 65537^k is a power of 65537 by every prime; it has the shape, whatever its factors.
        let shaped = BigUint::from(65_537_u32).pow(128).to_bytes_be();
        let exponent = [1, 0, 1];
        assert_eq!(rsa(&shaped, &exponent), Some("the modulus has the shape that faulty chips made (ROCA)"));
        // 2^1023 + 1155 is odd, has no small factor of the list, and no such shape.
        let other = (BigUint::from(1_u32) << 1023_u32) + 1155_u32;
        let clean = (0_u32..2000)
            .map(|step| (&other + 2 * step).to_bytes_be())
            .find(|modulus| rsa(modulus, &exponent) != Some("the modulus has a small factor"))
            .unwrap();
        assert_eq!(rsa(&clean, &exponent), None);
        assert_eq!(rsa(&clean, &[3]), Some("the exponent is even, or below 65537"));
        assert_eq!(
            rsa(&(BigUint::from(3_u32) * &other).to_bytes_be(), &exponent),
            Some("the modulus has a small factor")
        );
    }
}
