//! Statements 35 to 42: what is in a secret. 37 and 38 are about a change of roots, and proved where it is steered.

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use signet_xds::pb::{
    envoy::config::core::v3::{DataSource, Node, data_source::Specifier},
    google::protobuf::{Struct, Value, value::Kind},
};

use super::*;
use crate::{
    rotator::{Backoff, Command, Rotation, rotator},
    testing::anchored,
};

fn pem(source: Option<DataSource>) -> Vec<u8> {
    let Some(Specifier::InlineBytes(bytes)) = source.unwrap().specifier else { panic!("inline bytes") };
    bytes
}

/// Key and chain of a secret that holds a certificate.
fn parts(secret: Secret) -> (Vec<u8>, CertificateDer<'static>) {
    let Some(Type::TlsCertificate(certificate)) = secret.r#type else { panic!("a certificate") };
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem(certificate.private_key)).unwrap();
    let chain = CertificateDer::from_pem_slice(&pem(certificate.certificate_chain)).unwrap();
    (key.secret_pkcs8_der().to_vec(), chain)
}

fn is_a_pair((key, certificate): &(Vec<u8>, Vec<u8>)) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let key = KeyPair::from_pkcs8(zeroize::Zeroizing::new(key.clone())).unwrap();
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    certificate.public_key().raw == key.public_key()
}

/// Whatever an authority answers that is not exactly what was asked for never reaches the socket; the rules one by one
/// are in the tests of `verify`.
#[tokio::test(start_paused = true)]
async fn s35_a_leaf_with_the_wrong_key_chain_time_or_name_is_never_sent() {
    let identity: SpiffeId = OWN.parse().unwrap();
    let clock = anchored(moment());
    let signer = Arc::new(FakeSigner::new(&identity, Arc::clone(&clock), LIFE));
    let wrong = [
        Answer::OtherKey,
        Answer::OtherRoot,
        Answer::Expired,
        Answer::Early,
        Answer::SomebodyElses,
        Answer::TwoNames,
        Answer::ClientOnly,
    ];
    let rotation = Rotation {
        identity,
        signer: Arc::clone(&signer),
        clock: Arc::clone(&clock),
        rng: rand::SeedableRng::seed_from_u64(1),
        backoff: Backoff::DEFAULT,
        held: None,
        keeper: Box::new(|_| {}),
    };
    let (mut handle, task) = rotator(rotation);
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    let first = handle.secrets.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    signer.script(&wrong);
    handle.commands.send(Command::RotateNow).await.unwrap();
    signer.called(1 + wrong.len()).await;
    assert!(
        Arc::ptr_eq(&first, handle.secrets.borrow().as_ref().unwrap()),
        "seven wrong answers changed nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_no_client_ever_sees_a_key_and_a_certificate_that_do_not_belong_together() {
    // Pairs are dear to make; what may mix them is the serving, which does not care how often it served one before.
    let pairs: Vec<_> = (0..64).map(|_| secrets()).collect();
    let served = serve(Some(Arc::clone(&pairs[0])));
    let mut clients = JoinSet::new();
    for name in ["default", OWN, "default", OWN] {
        let mut stream = Sotw::open(&served, &[name]).await;
        clients.spawn(async move {
            let mut heard = std::collections::BTreeSet::new();
            while heard.len() < 40 {
                let (key, certificate) = parts(stream.next().await.remove(0));
                heard.insert((key, certificate.to_vec()));
            }
            heard
        });
    }
    let publishing = async {
        for turn in 0.. {
            served.publish(&pairs[turn % pairs.len()]);
            if turn >= 100_000 || turn % 64 == 0 {
                sleep(Duration::from_micros(100)).await;
            }
        }
    };
    let heard = tokio::select! { heard = clients.join_all() => heard, () = publishing => unreachable!() };
    let heard: Vec<_> = heard.into_iter().flatten().collect();
    assert!(heard.len() > 100, "{}", heard.len());
    assert!(heard.iter().all(is_a_pair), "a mixed pair");
}

#[tokio::test]
async fn s39_an_expired_certificate_is_not_sent_though_its_end_was_slept_through() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let mut before = Sotw::open(&served, &["default"]).await;
    before.next().await;
    // The machine was suspended: the rotator has not looked at the clock yet.
    let end = held.leaf().validity().not_after().unix();
    served.clock.store(end, Ordering::Relaxed);
    let mut last = Sotw::open(&served, &["default"]).await;
    assert_eq!(last.next().await.len(), 1, "on its last second it is valid");
    served.clock.store(end + 1, Ordering::Relaxed);
    let mut late = Sotw::open(&served, &["default"]).await;
    late.is_silent().await;
    // Then it has looked, and the roots are served again.
    served.secrets.send_replace(None);
    late.is_silent().await;
    let mut roots = Sotw::open(&served, &["ROOTCA"]).await;
    assert_eq!(roots.next().await, [expected(&held, "ROOTCA")]);
    before.is_silent().await;
}

#[tokio::test]
async fn s40_roots_in_another_order_are_no_change() {
    let both = with_another_root(&secrets());
    let served = serve(Some(Arc::clone(&both)));
    let mut stream = Sotw::open(&served, &["ROOTCA"]).await;
    stream.next().await;
    let roots = both.bundle().roots().iter().rev().chain(both.bundle().roots()).cloned().collect();
    let Trust { roots, crls } = Trust { roots, crls: Vec::new() };
    let turned = Arc::new(trust(&both, roots, crls, moment().into()).unwrap());
    assert!(!Arc::ptr_eq(&both, &turned));
    served.publish(&turned);
    stream.is_silent().await;
}

/// One trust domain is verified by Envoy's own rules, which honour revocation lists; a node may ask for the SPIFFE
/// validator.
#[tokio::test]
async fn s41_a_node_chooses_its_validator_and_a_choice_that_makes_no_sense_is_passed_over() {
    let served = serve(Some(secrets()));
    let string = |text: &str| Kind::StringValue(text.to_owned());
    let cases = [
        (string("spiffe"), true),
        (string("trusted_ca"), false),
        (string("SPIFFE!"), false),
        (Kind::BoolValue(true), false),
        (Kind::NumberValue(1.0), false),
        (Kind::StructValue(Struct::default()), false),
    ];
    for (kind, is_spiffe) in cases {
        let fields = [(Validator::MEMBER.to_owned(), Value { kind: Some(kind.clone()) })].into();
        let node = Some(Node { metadata: Some(Struct { fields }), ..Node::default() });
        let first = DiscoveryRequest { node, ..request(&["ROOTCA"]) };
        let mut stream = Peer::connect(&served.path).await.sotw(first).await;
        let secret = stream.next().await.remove(0);
        let Some(Type::ValidationContext(context)) = secret.r#type else { panic!("a context") };
        assert_eq!(context.custom_validator_config.is_some(), is_spiffe, "{kind:?}");
        assert_eq!(context.trusted_ca.is_none(), is_spiffe, "{kind:?}");
        let is_told = |list: &[Delivery]| matches!(list, [one] if one.ignores_lists == is_spiffe);
        served.until("whoever asks is told which streams pass lists over", is_told).await;
    }
}

/// Who may call is said where the roots are referred to, in a combined context: what is served combines with it, as it
/// says nothing of names itself. A real Envoy is held to it in the suite of `signet-tests`.
#[tokio::test]
async fn s42_the_roots_leave_room_for_the_names_of_authorised_peers() {
    let held = secrets();
    let Some(Type::ValidationContext(context)) = expected(&held, "ROOTCA").r#type else {
        panic!("a context")
    };
    assert!(context.match_typed_subject_alt_names.is_empty());
    let leaf: &Leaf = held.leaf();
    assert_eq!(leaf.identity().to_string(), OWN, "one URI SAN, which such names match");
}
