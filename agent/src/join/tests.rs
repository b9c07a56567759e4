//! The client before a server that speaks the real wire over real TLS.

use signet_sds::{
    testing::{Answer, MiniCa},
    translate::certificates,
};
use tokio::net::TcpListener;
use tonic::{Code, Status};

use super::*;
use crate::testing::{NODE, SERVER, Setup, TOKEN, TestServer, start, wall_clock};

fn workload() -> Workload {
    Workload::virtual_node("m", "a").unwrap()
}

fn token() -> Option<Token> {
    Some(Token::new(&Zeroizing::new(format!("  {TOKEN}\n"))))
}

fn anchors(root: &rustls_pki_types::CertificateDer<'_>) -> Anchors {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificates(std::slice::from_ref(root))).unwrap();
    Anchors::read(file.path(), None).unwrap()
}

fn known(server: &TestServer) -> Server {
    Server {
        addr: server.addr.to_string().parse().unwrap(),
        anchors: anchors(&server.root),
        clock: Arc::clone(&server.clock),
    }
}

fn asked(server: &TestServer) -> Vec<String> {
    server.asked.borrow().clone()
}

/// Asks for a certificate as the rotator does.
async fn ask(signer: &NodeSigner, held: Option<Arc<Secrets>>) -> Result<Arc<Secrets>, SignerError> {
    let identity = NODE.parse().unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = signer.sign(key.request(&identity).unwrap(), held).await?;
    Ok(Arc::new(verify(signed, key, &identity, (signer.server.clock)().into()).unwrap()))
}

fn is_refused(answer: &Result<Arc<Secrets>, SignerError>) -> bool {
    matches!(answer, Err(SignerError::Refused(_)))
}

#[tokio::test]
async fn the_token_is_traded_once_and_from_then_on_the_certificate_speaks() {
    let server = start(Setup::default()).await;
    let signer = NodeSigner::new(known(&server), workload(), token());
    let first = ask(&signer, None).await.unwrap();
    let second = ask(&signer, Some(Arc::clone(&first))).await.unwrap();
    assert_ne!(first.leaf().serial(), second.leaf().serial());
    assert_eq!(asked(&server), [format!("join {TOKEN}"), format!("renew {NODE}")]);
}

#[tokio::test]
async fn without_a_token_and_a_certificate_nothing_is_asked_and_the_way_out_is_named() {
    let server = start(Setup::default()).await;
    let signer = NodeSigner::new(known(&server), workload(), None);
    let Err(SignerError::Refused(text)) = ask(&signer, None).await else { panic!("refused") };
    assert!(text.contains("signet token create --mesh m --virtual-node a"), "{text}");
    assert!(asked(&server).is_empty());
}

#[tokio::test]
async fn a_token_that_is_used_already_is_refused() {
    let server = start(Setup::default()).await;
    for expected in [true, false] {
        let signer = NodeSigner::new(known(&server), workload(), token());
        let answer = ask(&signer, None).await;
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
        assert_eq!(is_refused(&answer), !expected);
    }
}

#[tokio::test]
async fn a_server_that_is_not_the_server_is_told_nothing() {
    let imposter = start(Setup { identity: NODE, ..Setup::default() }).await;
    let answer = ask(&NodeSigner::new(known(&imposter), workload(), token()), None).await;
    assert!(is_refused(&answer), "a certificate of our CA, but a node's: {answer:?}");
    let subpath =
        start(Setup { identity: "spiffe://signet.internal/signet/server/x", ..Setup::default() }).await;
    assert!(is_refused(&ask(&NodeSigner::new(known(&subpath), workload(), token()), None).await));

    let stranger = start(Setup::default()).await;
    let other = MiniCa::new(&"signet.internal".parse().unwrap(), (stranger.clock)());
    let server = Server { anchors: anchors(other.root()), ..known(&stranger) };
    let answer = ask(&NodeSigner::new(server, workload(), token()), None).await;
    assert!(is_refused(&answer), "the right name under another root: {answer:?}");
    for server in [imposter, subpath, stranger] {
        assert!(asked(&server).is_empty(), "no token was shown");
    }
}

#[tokio::test]
async fn a_token_is_kept_until_it_got_a_certificate_and_not_shown_where_a_renewal_may_still_come() {
    let server = start(Setup { answer: Err(Status::unavailable("later")), ..Setup::default() }).await;
    let signer = NodeSigner::new(known(&server), workload(), token());
    assert!(ask(&signer, None).await.is_err());
    let (identity, key) = (NODE.parse().unwrap(), KeyPair::generate().unwrap());
    let signed = server.signer.certificate(Answer::Good, &key.request(&identity).unwrap());
    let held = verify(signed, key, &identity, (server.clock)().into()).unwrap();
    assert!(ask(&signer, Some(Arc::new(held))).await.is_err());
    assert_eq!(asked(&server), [format!("join {TOKEN}"), format!("renew {NODE}")]);
    assert!(signer.token().is_some());

    let server = start(Setup::default()).await;
    let signer = NodeSigner::new(known(&server), workload(), token());
    ask(&signer, None).await.unwrap();
    assert!(signer.token().is_none(), "it is good for one key, and that has its certificate");
}

#[tokio::test]
async fn an_absent_server_is_no_refusal() {
    let server = start(Setup::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let signer = NodeSigner::new(Server { addr: gone, ..known(&server) }, workload(), token());
    let answer = ask(&signer, None).await;
    assert!(matches!(answer, Err(SignerError::Unavailable(_))), "{answer:?}");
    assert!(signer.token().is_some(), "the token is kept for the next time");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_no_refusal_and_costs_no_more_than_the_deadline() {
    let ca = MiniCa::new(&"signet.internal".parse().unwrap(), wall_clock()());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        addr: listener.local_addr().unwrap().to_string().parse().unwrap(),
        anchors: anchors(ca.root()),
        clock: wall_clock(),
    };
    let asked = tokio::time::Instant::now();
    let answer = ask(&NodeSigner::new(server, workload(), token()), None).await;
    assert!(matches!(answer, Err(SignerError::Unavailable(_))), "{answer:?}");
    assert_eq!(asked.elapsed().as_secs(), DEADLINE.as_secs());
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_accept_is_a_refusal_and_a_token_is_the_way_back() {
    let server = start(Setup { trusts_its_own: false, ..Setup::default() }).await;
    let held = ask(&NodeSigner::new(known(&server), workload(), token()), None).await.unwrap();
    let answer = ask(&NodeSigner::new(known(&server), workload(), None), Some(held)).await;
    assert!(is_refused(&answer), "{answer:?}");

    let server = start(Setup { trusts_its_own: false, ..Setup::default() }).await;
    let other = start(Setup::default()).await;
    let held = ask(&NodeSigner::new(known(&other), workload(), token()), None).await.unwrap();
    ask(&NodeSigner::new(known(&server), workload(), token()), Some(held)).await.unwrap();
    assert_eq!(asked(&server), [format!("join {TOKEN}")]);
}

#[test]
fn whose_certificate_was_revoked_is_not_sent_to_look_for_another_root() {
    let said = |alert| CallError::NotAccepted(rustls::Error::AlertReceived(alert)).to_string();
    let revoked = said(rustls::AlertDescription::CertificateRevoked);
    assert!(revoked.contains("signet ca allow") && !revoked.contains("root"), "{revoked}");
    let unknown = said(rustls::AlertDescription::UnknownCA);
    assert!(unknown.contains("root was changed") && unknown.contains("a new token"), "{unknown}");
}

#[tokio::test]
async fn statuses_that_may_pass_are_told_from_those_that_do_not() {
    let cases = [
        (Code::InvalidArgument, true),
        (Code::Unauthenticated, true),
        (Code::PermissionDenied, true),
        (Code::Unimplemented, true),
        (Code::Unavailable, false),
        (Code::ResourceExhausted, false),
        (Code::Internal, false),
        (Code::DeadlineExceeded, false),
    ];
    for (code, refused) in cases {
        let answer = Err(Status::new(code, "because"));
        let server = start(Setup { answer, ..Setup::default() }).await;
        let answer = ask(&NodeSigner::new(known(&server), workload(), token()), None).await;
        assert_eq!(is_refused(&answer), refused, "{answer:?}");
        let text = answer.unwrap_err().to_string();
        assert!(text.contains("because") && text.contains(&server.addr.to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_sends_an_agent_away_for_a_while_is_no_refusal_and_the_while_is_heard() {
    let mut status = Status::new(Code::ResourceExhausted, "too many");
    for (pushback, heard) in [("1500", Some(1500)), ("-1", None), ("soon", None)] {
        status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
        let server = start(Setup { answer: Err(status.clone()), ..Setup::default() }).await;
        let answer = ask(&NodeSigner::new(known(&server), workload(), token()), None).await.unwrap_err();
        let away = if let SignerError::Busy { after, .. } = answer { Some(after.as_millis()) } else { None };
        assert_eq!(away, heard, "{pushback}");
    }
}

#[tokio::test]
async fn a_certificate_is_obtained_without_an_agent_and_a_wrong_one_is_not() {
    let server = start(Setup::default()).await;
    let secrets = obtain(known(&server), &workload(), token().unwrap()).await.unwrap();
    assert_eq!(secrets.leaf().identity().to_string(), NODE);
    let server = start(Setup { answer: Ok(Answer::SomebodyElses), ..Setup::default() }).await;
    let refused = obtain(known(&server), &workload(), token().unwrap()).await;
    assert!(matches!(refused, Err(ObtainError::Unusable(_))), "{refused:?}");
}

#[test]
fn a_token_and_a_server_are_printed_without_the_token() {
    assert_eq!(format!("{:?}", token()), "Some(Token(elided))");
    assert_eq!(SERVER.parse::<SpiffeId>().unwrap().to_string(), SERVER);
}
