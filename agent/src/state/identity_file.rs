//! The certificate and its key on disk.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use signet_policies::{identity::SpiffeId, time::Timestamp};
use signet_sds::{
    keypair::KeyPair,
    secret::Secrets,
    signer::Signed,
    translate::{certificates, private_key, revocation_lists},
    verify::{Refused, trust, verify},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    IDENTITY, StateDir, StateError,
    seal::{CannotOpen, Sealed},
};

/// No identity that we wrote is larger, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The file, all in PEM. What is read is believed only after it was verified anew.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum IdentityFile {
    #[serde(rename = "1")]
    V1 { key: Zeroizing<String>, chain: String, bundle: String },
    /// Knows what was revoked, and whether the certificate is the agent's first.
    #[serde(rename = "2")]
    V2 { key: Zeroizing<String>, chain: String, bundle: String, crls: String, first: bool },
    /// One of the others, sealed.
    #[serde(rename = "3")]
    V3(Sealed),
}

/// Why the file must not be used or overwritten; somebody has to look.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// It cannot be read.
    #[error("cannot read the certificate in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could have read the key, or have written it.
    #[error(
        "{path} has mode {mode:04o} and owner {owner}: others may know the key in it; remove the file, and make a \
         new token"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
}

/// Why what the file holds is of no use (any more); a token helps.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is no identity file.
    #[error("the file cannot be understood: {0}")]
    Malformed(String),
    /// It is sealed.
    #[error("the file cannot be opened: {0}")]
    Sealed(#[from] CannotOpen),
    /// Expired, for another workload, or otherwise not what is wanted now.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl StateDir {
    /// Reads what was held, as [`verify`] finds it good for `identity` at `now`. `None` where there is none.
    ///
    /// # Errors
    /// [`IdentityFileError`] when somebody has to look; `Ok(Some(Err(_)))` says why what is there is of no use.
    pub fn read_identity(
        &self,
        identity: &SpiffeId,
        now: Timestamp,
    ) -> Result<Option<Result<Secrets, Unusable>>, IdentityFileError> {
        let path = self.identity_path();
        let unreadable = |source| IdentityFileError::Unreadable { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let meta = file.metadata().map_err(unreadable)?;
        let (mode, owner) = (meta.mode() & 0o7777, meta.uid());
        if mode & OTHERS != 0 || owner != rustix::process::geteuid().as_raw() {
            return Err(IdentityFileError::Exposed { path, mode, owner });
        }
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_FILE).read_to_end(&mut text).map_err(unreadable)?;
        Ok(Some(self.parse(&text, identity, now)))
    }

    fn parse(&self, text: &[u8], identity: &SpiffeId, now: Timestamp) -> Result<Secrets, Unusable> {
        match read(text)? {
            IdentityFile::V3(sealed) => {
                let key = self.cache_key.as_ref().ok_or(CannotOpen::NoKey)?;
                parse(read(&key.open(&sealed, now)?)?, identity, now)
            }
            plain @ (IdentityFile::V1 { .. } | IdentityFile::V2 { .. }) => parse(plain, identity, now),
        }
    }

    /// Keeps what is held now, sealed where there is a key for that.
    ///
    /// # Errors
    /// [`StateError`]; the file that was there before is still there.
    pub fn write_identity(&self, secrets: &Secrets, now: Timestamp) -> Result<(), StateError> {
        let leaf = secrets.leaf();
        let file = IdentityFile::V2 {
            key: private_key(leaf.key().pkcs8()),
            chain: certificates(leaf.chain()),
            bundle: certificates(secrets.bundle().roots()),
            crls: revocation_lists(secrets.bundle().crls()),
            first: leaf.is_first(),
        };
        let failed = |source| StateError::Io { action: "encode", path: self.identity_path(), source };
        let encode = |file: &IdentityFile| {
            let text = serde_json::to_vec_pretty(file).map_err(|error| failed(error.into()))?;
            Ok::<_, StateError>(Zeroizing::new(text))
        };
        let mut text = encode(&file)?;
        if let Some(key) = &self.cache_key {
            let sealed = key.seal(&text, leaf.validity().not_after(), now).map_err(failed)?;
            text = encode(&IdentityFile::V3(sealed))?;
        }
        self.replace(IDENTITY, &text)
    }
}

fn read(text: &[u8]) -> Result<IdentityFile, Unusable> {
    serde_json::from_slice(text).map_err(|error| Unusable::Malformed(error.to_string()))
}

fn parse(file: IdentityFile, identity: &SpiffeId, now: Timestamp) -> Result<Secrets, Unusable> {
    let malformed = |error: &dyn std::fmt::Display| Unusable::Malformed(error.to_string());
    let (key, chain, bundle, crls, first) = match file {
        IdentityFile::V1 { key, chain, bundle } => (key, chain, bundle, String::new(), false),
        IdentityFile::V2 { key, chain, bundle, crls, first } => (key, chain, bundle, crls, first),
        IdentityFile::V3(_) => return Err(malformed(&"it is sealed twice")),
    };
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|error| malformed(&error))?;
    let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());
    let key = KeyPair::from_pkcs8(key).map_err(|error| malformed(&error))?;
    let read = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = read(&chain).map_err(|error| malformed(&error))?;
    let bundle = read(&bundle).map_err(|error| malformed(&error))?;
    let crls = CertificateRevocationListDer::pem_slice_iter(crls.as_bytes()).collect::<Result<Vec<_>, _>>();
    let crls = crls.map_err(|error| malformed(&error))?;
    let held = verify(Signed { chain, bundle: bundle.clone() }, key, identity, now)?;
    let held = if first { held.marked_first() } else { held };
    Ok(trust(&held, bundle, crls, now)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt,
        time::{Duration, SystemTime, UNIX_EPOCH},
    };

    use signet_sds::testing::{Answer, FakeSigner};

    use super::*;

    const LIFE: Duration = Duration::from_secs(3600);

    fn moment() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn identity(name: &str) -> SpiffeId {
        format!("spiffe://signet.internal/mesh/m/virtual-node/{name}").parse().unwrap()
    }

    fn secrets() -> Secrets {
        let signer = FakeSigner::new(&identity("a"), std::sync::Arc::new(moment), LIFE);
        let key = KeyPair::generate().unwrap();
        let signed = signer.certificate(Answer::Good, &key.request(&identity("a")).unwrap());
        verify(signed, key, &identity("a"), moment().into()).unwrap().marked_first()
    }

    fn kept() -> (tempfile::TempDir, StateDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let secrets = secrets();
        state.write_identity(&secrets, moment().into()).unwrap();
        (folder, state, secrets)
    }

    #[test]
    fn what_was_kept_comes_back_with_its_key_from_a_file_that_only_the_owner_reads() {
        let (_folder, state, secrets) = kept();
        let mode = fs::metadata(state.identity_path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let back = state.read_identity(&identity("a"), moment().into()).unwrap().unwrap().unwrap();
        assert_eq!(back.leaf().serial(), secrets.leaf().serial());
        assert_eq!(back.leaf().key().pkcs8(), secrets.leaf().key().pkcs8());
        assert_eq!(back.bundle(), secrets.bundle());
        assert!(back.leaf().is_first(), "when it is renewed was decided before");
    }

    #[test]
    fn the_first_form_of_the_file_is_read_for_ever() {
        let (_folder, state, secrets) = kept();
        let leaf = secrets.leaf();
        let file = IdentityFile::V1 {
            key: private_key(leaf.key().pkcs8()),
            chain: certificates(leaf.chain()),
            bundle: certificates(secrets.bundle().roots()),
        };
        let text = serde_json::to_string(&file).unwrap();
        assert!(
            text.starts_with(r#"{"version":"1","key":"-----BEGIN PRIVATE KEY"#),
            "as it was written then"
        );
        state.replace(IDENTITY, text.as_bytes()).unwrap();
        let back = state.read_identity(&identity("a"), moment().into()).unwrap().unwrap().unwrap();
        assert_eq!(back.leaf().serial(), leaf.serial());
        assert!(!back.leaf().is_first());
    }

    #[test]
    fn a_sealed_file_shows_no_key_and_is_opened_by_its_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        fs::write(&key_file, "0123456789abcdef0123456789abcdef").unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        let open = |with_key: bool| {
            let key = with_key.then(|| super::super::CacheKey::read(&key_file, None).unwrap());
            StateDir::open(&folder.path().join("state")).unwrap().sealed_with(key)
        };
        let read = |state: &StateDir, now: SystemTime| {
            state.read_identity(&identity("a"), now.into()).unwrap().unwrap()
        };
        let secrets = secrets();
        let state = open(false);
        state.write_identity(&secrets, moment().into()).unwrap();
        drop(state);
        let state = open(true);
        assert!(read(&state, moment()).is_ok(), "one that was kept before there was a key is taken");
        state.write_identity(&secrets, moment().into()).unwrap();
        let text = fs::read_to_string(state.identity_path()).unwrap();
        assert!(text.contains(r#""version": "3""#) && !text.contains("PRIVATE"), "{text}");
        let back = read(&state, moment()).unwrap();
        assert_eq!(back.leaf().key().pkcs8(), secrets.leaf().key().pkcs8());
        assert!(matches!(read(&state, moment() + 2 * LIFE), Err(Unusable::Sealed(CannotOpen::TooOld))));
        drop(state);
        assert!(matches!(read(&open(false), moment()), Err(Unusable::Sealed(CannotOpen::NoKey))));
        fs::write(&key_file, "another key, another key, another key").unwrap();
        assert!(matches!(read(&open(true), moment()), Err(Unusable::Sealed(CannotOpen::Key))));
    }

    #[test]
    fn an_expired_a_foreign_and_a_broken_file_are_of_no_use_and_say_why() {
        let (_folder, state, _) = kept();
        let late = state.read_identity(&identity("a"), (moment() + LIFE * 2).into()).unwrap().unwrap();
        assert!(matches!(late, Err(Unusable::Refused(Refused::Time { .. }))));
        let foreign = state.read_identity(&identity("b"), moment().into()).unwrap().unwrap();
        assert!(matches!(foreign, Err(Unusable::Refused(Refused::Identity { .. }))));
        for junk in [
            &b""[..],
            b"{}",
            b"{\"version\":\"1\",\"key\":\"\",\"chain\":\"\",\"bundle\":\"\"}",
            &[0; 2 << 20],
        ] {
            state.replace(IDENTITY, junk).unwrap();
            let broken = state.read_identity(&identity("a"), moment().into()).unwrap().unwrap();
            assert!(matches!(broken, Err(Unusable::Malformed(_))));
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used_at_all() {
        let (_folder, state, _) = kept();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(state.identity_path(), fs::Permissions::from_mode(mode)).unwrap();
            let exposed = state.read_identity(&identity("a"), moment().into()).unwrap_err();
            assert!(matches!(exposed, IdentityFileError::Exposed { mode: found, .. } if found == mode));
        }
    }

    #[test]
    fn no_file_is_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        assert!(state.read_identity(&identity("a"), moment().into()).unwrap().is_none());
    }
}
