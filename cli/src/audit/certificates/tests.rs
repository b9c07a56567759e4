use rcgen::{CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair};

use super::*;

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

struct Made {
    key: KeyPair,
    params: CertificateParams,
    der: Vec<u8>,
}

fn made() -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Made { key, params, der }
}

#[test]
fn certificates_are_read_whatever_tools_wrote_around_them() {
    let [one, two] = [made().der, made().der];
    let (first, second) = (pem("CERTIFICATE", &one), pem("CERTIFICATE", &two));
    let both = format!("{first}{second}");
    let key = pem("PRIVATE KEY", b"\x30\x00");
    for (what, text) in [
        ("as it is", both.clone().into_bytes()),
        ("CRLF", both.replace('\n', "\r\n").into_bytes()),
        ("CR alone", both.replace('\n', "\r").into_bytes()),
        ("indented, as in YAML", both.replace('\n', "\n    ").into_bytes()),
        ("without a line's end at the end", both.trim_end().as_bytes().to_vec()),
        ("a mark of UTF-8 first", format!("\u{feff}{both}").into_bytes()),
        (
            "text before and between",
            format!("Certificate:\n  Data:\n{first}\ns:CN = two\n{second}").into_bytes(),
        ),
        ("text that is no UTF-8", [b"subject=CN = Gr\xfcn\n", both.as_bytes()].concat()),
        ("a key before, between and after", format!("{key}{first}{key}{second}{key}").into_bytes()),
        ("an older label", format!("{first}{}", pem("X509 CERTIFICATE", &two)).into_bytes()),
    ] {
        assert_eq!(certificates(&text).unwrap(), [one.clone(), two.clone()], "{what}");
    }
    assert_eq!(certificates(&one).unwrap(), [one]);
}

#[test]
fn what_is_no_certificate_is_refused_by_what_it_is() {
    let Made { key, params, der } = made();
    let request = params.serialize_request(&key).unwrap().der().to_vec();
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2027, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::from_params(&params, &key)).unwrap().der().to_vec();
    let good = pem("CERTIFICATE", &der);
    let private = key.serialize_der();
    for (bytes, says) in [
        (Vec::new(), "is empty".to_owned()),
        (b"hello\n".to_vec(), "holds no certificate, PEM or DER".to_owned()),
        (vec![0xff, 0xfe, 0x2d, 0], "is UTF-16; save it as UTF-8".to_owned()),
        (b"0nce upon a time".to_vec(), "holds no certificate: it is neither PEM nor DER".to_owned()),
        (b"0".to_vec(), "holds no certificate: it is neither PEM nor DER".to_owned()),
        (b"0\x00".to_vec(), "holds no certificate: it is DER, and not of X.509".to_owned()),
        (private.clone(), "holds no certificate: it is a private key or PKCS #12, DER".to_owned()),
        (b"0\x03\x06\x01\x2a".to_vec(), "holds no certificate: it is PKCS #7, DER".to_owned()),
        (request.clone(), "holds no certificate: it is a request for one, DER".to_owned()),
        (list, "holds no certificate: it is a list of what is revoked, DER".to_owned()),
        (
            der[..200].to_vec(),
            format!("holds no certificate: it is cut short, at 200 of {} bytes", der.len()),
        ),
        (
            [&der[..], &der].concat(),
            format!("holds no certificate: {} bytes follow the one that it begins with", der.len()),
        ),
        (pem("PRIVATE KEY", &private).into_bytes(), "holds no certificate, but PRIVATE KEY".to_owned()),
        (
            format!("{0}{0}{1}", pem("EC PARAMETERS", b"x"), pem("EC PRIVATE KEY", b"x")).into_bytes(),
            "holds no certificate, but EC PARAMETERS, EC PRIVATE KEY".to_owned(),
        ),
        (good.as_bytes()[..150].to_vec(), "is damaged: PEM block 1 has no end".to_owned()),
        (b"-----BEGIN ".to_vec(), "is damaged: PEM block 1 has no end".to_owned()),
        (
            format!("{good}-----BEGIN CERTIFICATE-----\nAAAA").into_bytes(),
            "is damaged: PEM block 2 has no end".to_owned(),
        ),
        (
            good.replacen("\nM", "\n*", 1).into_bytes(),
            "is damaged: the lines of PEM block 1 are no Base64".to_owned(),
        ),
        (
            format!("{good}{}", pem("CERTIFICATE", &request)).into_bytes(),
            "is damaged: PEM block 2 holds no certificate: it is a request for one, DER".to_owned(),
        ),
    ] {
        let error = certificates(&bytes).unwrap_err().to_string();
        assert_eq!(error, says);
    }
}
