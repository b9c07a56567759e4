use super::*;

fn key() -> (tempfile::TempDir, LogKey) {
    let folder = tempfile::tempdir().unwrap();
    let key = LogKey::make(&folder.path().join("key.pem"), None).unwrap();
    (folder, key)
}

const HEAD: Head = Head { size: 1234, root: [0xab; 32] };
const ORIGIN: &str = "signet.internal/signet/ledger";

#[test]
fn a_checkpoint_opens_with_its_verifier_and_with_no_other() {
    let (_folder, key) = key();
    let verifier = LogVerifier::new(ORIGIN.to_owned(), key.public());
    let note = Checkpoint::sign(ORIGIN, HEAD, &key).note().to_owned();
    assert_eq!(Checkpoint::open(&note, &verifier).unwrap().head(), HEAD);
    let (_folder, other) = self::key();
    let other = LogVerifier::new(ORIGIN.to_owned(), other.public());
    assert_eq!(Checkpoint::open(&note, &other), Err(InvalidCheckpoint::Signature));
    let renamed = LogVerifier::new("other.test/signet/ledger".to_owned(), key.public());
    assert_eq!(Checkpoint::open(&note, &renamed), Err(InvalidCheckpoint::Origin));
}

#[test]
fn no_byte_of_a_checkpoint_can_be_altered() {
    let (_folder, key) = key();
    let verifier = LogVerifier::new(ORIGIN.to_owned(), key.public());
    let note = Checkpoint::sign(ORIGIN, HEAD, &key).note().as_bytes().to_vec();
    // The last byte is the line's end, and signs nothing.
    for place in 0..note.len() - 1 {
        let mut altered = note.clone();
        altered[place] ^= 1;
        let Ok(altered) = String::from_utf8(altered) else { continue };
        assert!(Checkpoint::open(&altered, &verifier).is_err(), "byte {place}");
    }
}

#[test]
fn signatures_of_witnesses_may_stand_beside() {
    let (_folder, key) = key();
    let verifier = LogVerifier::new(ORIGIN.to_owned(), key.public());
    let note = Checkpoint::sign(ORIGIN, HEAD, &key).note().to_owned();
    let (text, ours) = note.split_once("\n\n").unwrap();
    let witnessed = format!("{text}\n\n\u{2014} witness.test AAAAAAAA\n{ours}");
    assert_eq!(Checkpoint::open(&witnessed, &verifier).unwrap().head(), HEAD);
    let bare = format!("{text}\n\n\u{2014} witness.test AAAAAAAA\n");
    assert_eq!(Checkpoint::open(&bare, &verifier), Err(InvalidCheckpoint::Signature));
}

#[test]
fn a_verifier_key_is_read_as_it_is_written_and_as_the_notes_of_others_have_it() {
    let (_folder, key) = key();
    let verifier = LogVerifier::new(ORIGIN.to_owned(), key.public());
    assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
    // The key of Go's checksum database, as its client has it.
    let known = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(known.parse::<LogVerifier>().unwrap().to_string(), known);
    for wrong in ["", "a+b+c", "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"] {
        assert_eq!(wrong.parse::<LogVerifier>(), Err(InvalidCheckpoint::Key), "{wrong}");
    }
}
