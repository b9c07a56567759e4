//! Bad input: refused, one line in the log that says why, and nothing changed.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};

use super::*;
use crate::fixtures::{FullLedger, openssl};

fn changed(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = csr_params_for(&node("a"));
    change(&mut params);
    csr_of(&params)
}

fn uri(name: &str) -> SanType {
    SanType::URI(node(name).spiffe_id(&fixtures::trust_domain()).to_string().try_into().unwrap())
}

fn with_broken_signature() -> Vec<u8> {
    let mut csr = sound_csr("a");
    let name = csr.windows(14).position(|window| window == b"virtual-node/a").unwrap();
    csr[name + 13] = b'b';
    csr
}

fn with_rsa_1024() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let arguments = ["req", "-new", "-newkey", "rsa:1024", "-nodes", "-subj", "/", "-outform", "DER"];
    let (made, said) = openssl(&[&arguments[..], &["-keyout", &path("key"), "-out", &path("csr")]].concat());
    assert!(made, "{said}");
    std::fs::read(path("csr")).unwrap()
}

/// Requests that nobody gets a certificate for, with the status and a word of the reason.
fn bad_requests() -> Vec<(&'static str, Vec<u8>, Code, &'static str)> {
    use Code::{InvalidArgument as Invalid, PermissionDenied as Denied};
    let otherwise = |usage| changed(|params| params.extended_key_usages = vec![usage]);
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let twice = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0]);
    vec![
        ("CA:TRUE", changed(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), Invalid, "CA:TRUE"),
        (
            "keyCertSign",
            changed(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
            Invalid,
            "keyCertSign",
        ),
        ("code signing", otherwise(ExtendedKeyUsagePurpose::CodeSigning), Invalid, "another use"),
        ("the name of another node", sound_csr("b"), Denied, "may not hold"),
        ("the name of a stranger", sound_csr("c"), Denied, "may not hold"),
        (
            "the server's name",
            changed(|p| {
                let id = fixtures::trust_domain().server_id().to_string();
                p.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
            }),
            Denied,
            "may not hold",
        ),
        (
            "the DNS name of another node",
            changed(|p| p.subject_alt_names.push(dns("b.apps.local"))),
            Denied,
            "DNS name",
        ),
        ("two URIs", changed(|p| p.subject_alt_names.push(uri("b"))), Invalid, "2 URIs"),
        ("one URI twice", changed(|p| p.subject_alt_names.push(uri("a"))), Invalid, "2 URIs"),
        (
            "an extension twice",
            changed(|p| p.custom_extensions = vec![twice.clone(), twice]),
            Invalid,
            "twice",
        ),
        ("a broken signature", with_broken_signature(), Invalid, "signature"),
        ("RSA 1024", with_rsa_1024(), Invalid, "1024 bits"),
        ("1 MiB of junk", vec![0x30; 1024 * 1024], Invalid, "1048576 bytes"),
        ("nothing", vec![], Invalid, "cannot be read"),
        (
            "a URI with a line break",
            changed(|p| {
                p.subject_alt_names =
                    vec![SanType::URI("spiffe://signet.internal/a\nINFO forged".try_into().unwrap())];
            }),
            Invalid,
            "the path holds",
        ),
    ]
}

#[tokio::test]
async fn a_join_with_a_bad_request_is_refused_with_one_line_and_keeps_its_token() {
    let fixture = Fixture::new();
    let token = fixture.token(&node("a")).await;
    for (case, csr, code, reason) in bad_requests() {
        let log = Log::new();
        let status = fixture.join(&token, csr).await.unwrap_err();
        assert_eq!(status.code(), code, "{case}: {status}");
        let [line] = &log.take()[..] else { panic!("{case}: not one line") };
        assert!(
            line.contains("WARN") && line.contains("caller=\"mesh/my-mesh/virtualNode/a\""),
            "{case}: {line}"
        );
        assert!(line.contains(reason) && !line.contains(&token), "{case}: {line}");
        assert!(status.message().contains(reason), "{case}: {status}");
        assert!(fixture.records().await.is_empty(), "{case}");
    }
    assert!(fixture.join(&token, sound_csr("a")).await.is_ok());
}

#[tokio::test]
async fn a_renewal_with_a_bad_request_is_refused_with_one_line() {
    let fixture = Fixture::new();
    for (case, csr, code, reason) in bad_requests() {
        let log = Log::new();
        let status = fixture.renew(Some(holder(&node("a"))), csr, 0).await.unwrap_err();
        assert_eq!(status.code(), code, "{case}: {status}");
        let [line] = &log.take()[..] else { panic!("{case}: not one line") };
        let caller = "caller=\"spiffe://signet.internal/mesh/my-mesh/virtual-node/a\"";
        assert!(line.contains(caller) && line.contains(reason), "{case}: {line}");
        assert!(fixture.records().await.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_with_one_answer_for_all_and_one_line_that_says_why_and_not_which() {
    let fixture = Fixture::new();
    let used = fixture.token(&node("a")).await;
    fixture.join(&used, sound_csr("a")).await.unwrap();
    let (tokens, a) = (&fixture.service.tokens, node("a"));
    let long_ago = NOW - crate::MIN_TOKEN_LIFE;
    let expired = tokens.create(&a, crate::MIN_TOKEN_LIFE, "AKIA1", long_ago, &fixture.random).await.unwrap();
    let expired = expired.reveal().to_owned();
    let unknown = format!("sgt_{}", "0".repeat(64));
    for (token, reason) in
        [(&used, "used before"), (&expired, "expired"), (&unknown, "unknown"), (&String::new(), "unknown")]
    {
        let log = Log::new();
        let status = fixture.join(token, sound_csr("a")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        // To the letter: whoever guesses is not told how close the guess was.
        let told =
            "the join token is not valid: unknown, used or expired; make another with `signet token create`";
        assert_eq!((status.message(), status.details()), (told, &b""[..]), "{reason}");
        let [line] = &log.take()[..] else { panic!("{reason}: not one line") };
        assert!(line.contains(reason) && (token.is_empty() || !line.contains(token.as_str())), "{line}");
    }
    assert_eq!(fixture.records().await.len(), 1);
}

#[tokio::test]
async fn a_node_that_does_not_exist_neither_joins_nor_renews() {
    let fixture = Fixture::new();
    let gone = node("gone");
    let token = fixture.token(&gone).await;
    let joined = fixture.join(&token, csr_of(&csr_params())).await.unwrap_err();
    let renewed = fixture.renew(Some(holder(&gone)), csr_of(&csr_params()), 0).await.unwrap_err();
    for status in [joined, renewed] {
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("does not exist"), "{status}");
    }
    assert_eq!(fixture.service.tokens.peek(&token, NOW), Ok(gone));
    assert!(fixture.records().await.is_empty());
}

#[tokio::test]
async fn only_holders_of_a_workloads_certificate_renew() {
    let fixture = Fixture::new();
    let id = |text: &str| Caller::Holder(text.parse::<SpiffeId>().unwrap());
    let callers = [
        (None, Code::Unauthenticated),
        (Some(Caller::Anonymous), Code::Unauthenticated),
        (Some(Caller::Joining(node("a"))), Code::Unauthenticated),
        (Some(id("spiffe://signet.internal/signet/server")), Code::PermissionDenied),
        (Some(id("spiffe://other.test/mesh/my-mesh/virtual-node/a")), Code::PermissionDenied),
        (Some(holder(&node("b"))), Code::PermissionDenied),
    ];
    for (caller, code) in callers {
        let log = Log::new();
        let status = fixture.renew(caller.clone(), sound_csr("a"), 0).await.unwrap_err();
        assert_eq!(status.code(), code, "{caller:?}: {status}");
        assert_eq!(log.take().len(), 1, "{caller:?}");
    }
    assert!(fixture.records().await.is_empty());
}

#[tokio::test]
async fn lives_outside_the_bounds_are_refused() {
    let fixture = Fixture::new();
    for seconds in [1, 299, 90 * 86_400 + 1, u64::MAX] {
        let status = fixture.renew(Some(holder(&node("a"))), sound_csr("a"), seconds).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{seconds}: {status}");
    }
    assert!(fixture.records().await.is_empty());
}

#[tokio::test]
async fn a_ledger_that_cannot_write_withholds_the_certificate_and_is_not_shown_to_the_caller() {
    let fixture = Fixture::with(Arc::new(FullLedger));
    let log = Log::new();
    let token = fixture.token(&node("a")).await;
    let joined = fixture.join(&token, sound_csr("a")).await.unwrap_err();
    let renewed = fixture.renew(Some(holder(&node("a"))), sound_csr("a"), 0).await.unwrap_err();
    for status in [joined, renewed] {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("no space"), "{status}");
    }
    let lines = log.take();
    let lines: Vec<_> = lines.iter().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.contains("no space left on device")), "{lines:?}");
    // The token was used up first, so that it never makes certificates of two keys.
    let another = VerifiedCsr::from_der(&sound_csr("a")).unwrap();
    let redeemed = fixture.service.tokens.redeem(&token, another.key(), NOW).await;
    assert_eq!(redeemed, Err(TokenError::Used));
}

/// A registry that has lost everything.
struct NoNodes;

impl Registry for NoNodes {
    fn registration(&self, _workload: &Workload) -> Option<Registration> {
        None
    }
}

/// Each step of a join, in its order, made to fail by itself.
type Break = fn(&mut Fixture);

#[tokio::test]
async fn whichever_step_on_the_way_to_a_certificate_fails_none_is_given_and_none_recorded() {
    let steps: [(&str, Break, Code); 6] = [
        (
            "admission",
            |fixture| {
                let limits = Limits { at_once: 0, waiting: 0, ..Limits::DEFAULT };
                fixture.service.admission = Admission::new(limits, fixtures::clock());
            },
            Code::ResourceExhausted,
        ),
        ("registration", |fixture| fixture.service.registry = Arc::new(NoNodes), Code::PermissionDenied),
        (
            "decision",
            |fixture| fixture.service.terms.trust_domain = "other.test".parse().unwrap(),
            Code::PermissionDenied,
        ),
        (
            "token",
            |fixture| {
                let folder = tempfile::tempdir().unwrap();
                fixture.service.tokens = JoinTokens::new(Database::open(folder.path()).unwrap()).unwrap();
            },
            Code::Unauthenticated,
        ),
        (
            "signature",
            |fixture| {
                // The issuer has ended.
                let late: Timestamp = Timestamp::from_unix(NOW.unix() + 4_000 * 86_400);
                let at = std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(late.unix()).unwrap());
                let ledger = Arc::new(MemoryLedger::default());
                let random = Random::dangerously_from_seed(2);
                let authority = Arc::new(fixtures::authority().1);
                fixture.service.issuing = Issuing::new(authority, ledger, random, Arc::new(move || at));
            },
            Code::Unavailable,
        ),
        (
            "record",
            |fixture| fixture.service.issuing = fixtures::issuing(Arc::new(FullLedger)).1,
            Code::Unavailable,
        ),
    ];
    let log = Log::new();
    for (step, spoil, code) in steps {
        let mut fixture = Fixture::new();
        let token = fixture.token(&node("a")).await;
        let ledger = fixture.service.issuing.clone();
        spoil(&mut fixture);
        let refused = fixture.join(&token, sound_csr("a")).await.unwrap_err();
        assert_eq!(refused.code(), code, "{step}: {refused}");
        assert!(ledger.ledger().list(None, 10).await.unwrap().is_empty(), "{step}");
        assert!(fixture.records().await.is_empty(), "{step}");
        assert!(!log.take().is_empty(), "{step} is not logged");
    }
}

#[tokio::test]
async fn a_connection_that_outlived_its_certificate_as_in_a_machine_that_slept_renews_nothing() {
    let fixture = Fixture::new();
    for (end, is_issued) in [(NOW, true), (NOW - Duration::from_secs(1), false)] {
        let mut request = Request::new(RenewRequest { csr: sound_csr("a"), lifetime_secs: 0 });
        let peer = NodePeer { end: Some(end), ..NodePeer::of(holder(&node("a"))) };
        request.extensions_mut().insert(Arc::new(peer));
        let renewed = fixture.service.renew(request).await;
        assert_eq!(renewed.is_ok(), is_issued, "{end}");
        if let Err(refused) = renewed {
            assert_eq!(refused.code(), Code::Unauthenticated);
            assert!(refused.message().contains("ended at"), "{}", refused.message());
        }
    }
    assert_eq!(fixture.records().await.len(), 1);
}
