use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::{access::Policy, api::sigv4::Credentials as _};
use signet_durable::Database;

const CREDENTIALS: &str = "arn:aws:signet:us-east-1:000000000000:credentials/any";

fn open(folder: &std::path::Path, seal: u8) -> Keyring {
    let database = Database::open(&folder.join("store")).unwrap();
    Keyring::open(database, Seal::new(&[seal; 32]), CREDENTIALS).unwrap()
}

fn new(id: &str, policy: Value) -> NewKey {
    NewKey {
        access_key_id: id.into(),
        secret: Zeroizing::new(format!("secret of {id}")),
        nonce: [id.len().try_into().unwrap(); NONCE_LENGTH],
        name: "somebody".into(),
        policy: Policy::parse(policy).unwrap(),
        created_at: 7,
    }
}

fn is_known(ring: &Keyring, id: &str) -> bool {
    ring.signer(id).is_some()
}

#[tokio::test]
async fn key_pairs_their_state_and_their_policies_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(folder.path(), 1);
    ring.create(new("ADMIN", Policy::administrator())).await.unwrap();
    ring.create(new("READER", Policy::read_only())).await.unwrap();
    ring.create(new("GONE1", Policy::read_only())).await.unwrap();
    ring.set_enabled("READER", false).await.unwrap();
    assert_eq!(ring.delete("GONE1").await.unwrap().access_key_id, "GONE1");
    let before = ring.list();
    drop(ring);

    let ring = open(folder.path(), 1);
    assert_eq!(ring.list(), before);
    assert_eq!(
        (is_known(&ring, "ADMIN"), is_known(&ring, "READER"), is_known(&ring, "GONE1")),
        (true, false, false)
    );
    ring.set_enabled("READER", true).await.unwrap();
    let signer = ring.signer("READER").unwrap();
    assert_eq!(signer.principal.policy.document(), &Policy::read_only());
    assert_eq!((&*signer.principal.user, &*signer.principal.access_key_id), ("somebody", "READER"));
}

#[tokio::test]
async fn secrets_are_on_disk_only_sealed_and_useless_with_another_seal() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(folder.path(), 1);
    ring.create(new("ADMIN", Policy::administrator())).await.unwrap();
    drop(ring);
    for entry in std::fs::read_dir(folder.path().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|window| window == b"secret"), "{}", path.display());
        }
    }
    let ring = open(folder.path(), 2);
    assert!(!is_known(&ring, "ADMIN"));
    let [key] = ring.list().try_into().unwrap();
    assert!(key.enabled && !key.administrator && key.unusable.unwrap().contains("sealed with another key"));
    // Who cannot sign administers nothing, so it may go.
    ring.delete("ADMIN").await.unwrap();
}

#[tokio::test]
async fn the_last_administrator_can_neither_be_disabled_nor_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(folder.path(), 1);
    let by_hand = json!({"Statement": [
        {"Effect": "Allow", "Action": "signet:*Credentials", "Resource": "arn:aws:signet:*:*:credentials/*"},
    ]});
    ring.create(new("ADMIN", Policy::administrator())).await.unwrap();
    ring.create(new("READER", Policy::read_only())).await.unwrap();
    let last = Err(KeyringError::LastAdministrator("ADMIN".into()));
    assert_eq!(ring.set_enabled("ADMIN", false).await, last);
    assert_eq!(ring.delete("ADMIN").await, last);

    ring.create(new("OTHER1", by_hand)).await.unwrap();
    ring.set_enabled("OTHER1", false).await.unwrap();
    assert_eq!(ring.delete("ADMIN").await, last, "a disabled one does not count");
    ring.set_enabled("OTHER1", true).await.unwrap();
    ring.delete("ADMIN").await.unwrap();
    assert_eq!(
        ring.set_enabled("OTHER1", false).await,
        Err(KeyringError::LastAdministrator("OTHER1".into()))
    );
}

#[tokio::test]
async fn of_two_administrators_who_disable_each_other_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(folder.path(), 1);
    ring.create(new("A", Policy::administrator())).await.unwrap();
    ring.create(new("BB", Policy::administrator())).await.unwrap();
    let (one, other) = tokio::join!(ring.set_enabled("A", false), ring.set_enabled("BB", false));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test]
async fn ids_are_not_taken_twice_and_names_are_those_of_users() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(folder.path(), 1);
    ring.create(new("A", Policy::administrator())).await.unwrap();
    let again = ring.create(new("A", Policy::read_only())).await;
    assert_eq!(again, Err(KeyringError::Exists("A".into())));
    assert!(ring.list()[0].administrator, "the first one is still there");
    for name in ["", "a b", "a/b", "é", &"x".repeat(65)] {
        let refused = ring.create(NewKey { name: name.into(), ..new("B", Policy::read_only()) }).await;
        assert_eq!(refused, Err(KeyringError::Name), "{name:?}");
    }
    assert_eq!(ring.set_enabled("B", true).await, Err(KeyringError::Unknown("B".into())));
    assert_eq!(ring.delete("B").await, Err(KeyringError::Unknown("B".into())));
    assert_eq!(ring.owner("A").as_deref(), Ok("somebody"));
}
