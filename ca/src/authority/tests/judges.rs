//! What others say of our certificates: OpenSSL, webpki, pkilint.

use std::{fs, path::PathBuf, time::Duration};

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use signet_policies::issuance::DEFAULT_LEAF_LIFE;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};

use crate::{
    fixtures::{NOW, authority, csr, grant_for, node, openssl, pkilint, serial, server_grant},
    pem,
};

const LEAF: &str = "spiffe://signet.internal/mesh/my-mesh/virtual-node/a";
const SERVER: &str = "spiffe://signet.internal/signet/server";
const DOMAIN: &str = "spiffe://signet.internal";

/// One certificate of every kind, in files and in memory.
struct Every {
    folder: tempfile::TempDir,
    root: Vec<u8>,
    leaf: Vec<Vec<u8>>,
    server: Vec<Vec<u8>>,
}

impl Every {
    fn new() -> Self {
        let (folder, authority) = authority();
        let root = authority.bundle()[0].clone();
        let leaf =
            authority.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), serial(1), NOW).unwrap();
        let (_, server) = authority.issue_with_new_key(&server_grant(), serial(2), NOW).unwrap();
        let every = Self { folder, root, leaf: leaf.chain_der(), server: server.chain_der() };
        let kinds = [("root", &every.root), ("leaf", &every.leaf[0]), ("leaf-issuer", &every.leaf[1])];
        for (kind, der) in
            kinds.into_iter().chain([("server", &every.server[0]), ("server-issuer", &every.server[1])])
        {
            fs::write(every.path(kind), pem::encode("CERTIFICATE", der).as_bytes()).unwrap();
        }
        every
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{kind}.crt"))
    }

    /// OpenSSL's verdict on a leaf as certificate of a server or a client.
    fn verify(&self, kind: &str, purpose: &str, moment: i64, more: &[&str]) -> (bool, String) {
        let [root, issuer, leaf] = ["root", &format!("{kind}-issuer"), kind]
            .map(|kind| self.path(kind).to_str().unwrap().to_owned());
        let moment = moment.to_string();
        let arguments =
            ["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &issuer, "-attime", &moment];
        openssl(&[&arguments[..], &["-purpose", purpose], more, &[&leaf]].concat())
    }
}

#[test]
fn openssl_accepts_leaves_as_servers_and_clients_within_their_lives_and_in_no_other_way() {
    let every = Every::new();
    let [now, start, end] = [0, -60, 86_400].map(|offset| NOW.unix() + offset);
    for kind in ["leaf", "server"] {
        for purpose in ["sslserver", "sslclient"] {
            for (moment, accepted) in
                [(now, true), (start, true), (end - 1, true), (start - 1, false), (end + 1, false)]
            {
                let (verified, said) = every.verify(kind, purpose, moment, &[]);
                assert_eq!(verified, accepted, "{kind} {purpose} at {moment}: {said}");
            }
        }
        for purpose in ["smimesign", "crlsign", "timestampsign"] {
            assert!(!every.verify(kind, purpose, now, &[]).0, "{kind} {purpose}");
        }
    }
    assert!(every.verify("leaf", "sslserver", now, &["-verify_hostname", "a.apps.local"]).0);
    assert!(!every.verify("leaf", "sslserver", now, &["-verify_hostname", "b.apps.local"]).0);
}

#[test]
fn openssl_reads_the_names_and_the_limits_that_we_wrote() {
    let every = Every::new();
    let text = |kind: &str| {
        let path = every.path(kind);
        let (read, said) = openssl(&["x509", "-noout", "-text", "-in", path.to_str().unwrap()]);
        assert!(read, "{said}");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let leaf = text("leaf");
    let usage = "X509v3 Extended Key Usage: TLS Web Server Authentication, TLS Web Client Authentication";
    for expected in [
        &format!("X509v3 Subject Alternative Name: critical URI:{LEAF}, DNS:a.apps.local X509v3"),
        "Key Usage: critical Digital Signature X509v3",
        usage,
    ] {
        assert!(leaf.contains(expected), "{expected} is not in {leaf}");
    }
    assert!(text("server").contains(&format!("critical URI:{SERVER}, DNS:signet.example.net X509v3")));
    for (kind, path_length) in [("root", 1), ("leaf-issuer", 0), ("server-issuer", 0)] {
        let text = text(kind);
        for expected in [
            format!("X509v3 Subject Alternative Name: URI:{DOMAIN} X509v3"),
            "Key Usage: critical Certificate Sign, CRL Sign".to_owned(),
            format!("Basic Constraints: critical CA:TRUE, pathlen:{path_length}"),
        ] {
            assert!(text.contains(&expected), "{expected} is not in {text}");
        }
    }
}

#[test]
fn webpki_accepts_leaves_as_servers_and_clients() {
    let every = Every::new();
    let root = CertificateDer::from(every.root.as_slice());
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let now = u64::try_from(NOW.unix()).unwrap();
    let chains = [(&every.leaf, LEAF, "a.apps.local"), (&every.server, SERVER, "signet.example.net")];
    for (chain, uri, dns) in chains {
        let [leaf, issuer] = [0, 1].map(|place| CertificateDer::from(chain[place].as_slice()));
        let leaf = EndEntityCert::try_from(&leaf).unwrap();
        let verify = |moment: u64, usage| {
            let moment = UnixTime::since_unix_epoch(Duration::from_secs(moment));
            let algorithms = &[ring::ECDSA_P256_SHA256];
            leaf.verify_for_usage(
                algorithms,
                &anchors,
                std::slice::from_ref(&issuer),
                moment,
                usage,
                None,
                None,
            )
            .map(|_| ())
        };
        for usage in [KeyUsage::server_auth, KeyUsage::client_auth] {
            assert_eq!(verify(now, usage()), Ok(()));
            assert!(verify(now - 61, usage()).is_err());
            assert!(verify(now + 86_401, usage()).is_err());
        }
        assert_eq!(leaf.valid_uri_names().collect::<Vec<_>>(), [uri]);
        assert_eq!(leaf.valid_dns_names().collect::<Vec<_>>(), [dns]);
        let other = ServerName::try_from("b.apps.local").unwrap();
        assert!(leaf.verify_is_valid_for_subject_name(&other).is_err());
        // Without the issuer there is no way to the root.
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let algorithms = &[ring::ECDSA_P256_SHA256];
        let alone =
            leaf.verify_for_usage(algorithms, &anchors, &[], moment, KeyUsage::server_auth(), None, None);
        assert!(alone.is_err());
    }
}

/// pkilint's URI check knows a fixed list of schemes, and `spiffe`, which SPIFFE (X509-SVID, section 2)
/// demands, is not among them: it objects to every SPIFFE certificate there is. So that is the one thing it
/// must say, of the one URI, and nothing else.
#[test]
fn pkilint_finds_nothing_in_any_kind_of_certificate_but_the_scheme_that_it_does_not_know() {
    let every = Every::new();
    let kinds = [
        ("root", DOMAIN),
        ("leaf-issuer", DOMAIN),
        ("leaf", LEAF),
        ("server-issuer", DOMAIN),
        ("server", SERVER),
    ];
    for (kind, uri) in kinds {
        let report: serde_json::Value = serde_json::from_str(&pkilint(&every.path(kind))).unwrap();
        let findings = report["results"].as_array().unwrap().iter();
        let findings: Vec<_> =
            findings.flat_map(|result| result["finding_descriptions"].as_array().unwrap().clone()).collect();
        let [finding] = findings.as_slice() else { panic!("{kind}: {findings:#?}") };
        assert_eq!(finding["code"], "pkix.invalid_uri_syntax", "{kind}");
        assert_eq!(finding["message"], format!("Invalid URI syntax: \"{uri}\""), "{kind}");
    }
}
