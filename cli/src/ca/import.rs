//! `signet ca import`: an operator's root or intermediate.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use signet_ca::{Authority, Import, ImportedKey, Pkcs11Uri, PrivateKey, Random, ledger::AuthorityChange};
use signet_policies::time::Clock;

use super::{
    FolderArgs, custody,
    local::{Folder, KeysArgs},
    passphrase, tell,
};
use crate::format::Format;

/// Examples for `--help`.
pub(super) const HELP: &str = "Examples:\n  \
    signet ca import --root root.pem --key root.key                (the server signs with your root)\n  \
    signet ca import --root root.pem                               (your root's key stays with you; see signet ca csr)\n  \
    signet ca import --root root.pem --intermediate intermediate.pem --key intermediate.key\n  \
    signet ca import --root root.pem --key 'pkcs11:token=hsm;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so'\n\n\
    Stop the server, or do it before its first start: an import never replaces a root, which `signet ca rotate start --root \
    --root-file` does. Everything is verified before anything is written: the key is the certificate's, each certificate is \
    signed by the next and the last by the root, all are valid now and may sign what stands below them, none names another \
    trust domain, and a certificate signed for a trial is accepted as agents verify it. An intermediate's file holds its own certificate first, then \
    those between it and the root. It must allow a path length of 1, since it signs issuers. A key file is PKCS #8 \
    (`openssl pkcs8 -topk8`), of P-256, P-384, RSA or Ed25519, for its owner alone; its copy in the data folder is \
    sealed if there is a passphrase.";

/// Flags of `signet ca import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    keys: KeysArgs,
    /// The root's certificate, PEM
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// An intermediate's certificate and those between it and the root, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    intermediate: Option<PathBuf>,
    /// The key of the intermediate, or else of the root: a file, or the PKCS #11 URI of a key on a token
    #[arg(long, value_name = "FILE|URI")]
    key: Option<String>,
    /// What the key file is sealed with now: a file of one line
    #[arg(long, value_name = "FILE", requires = "key")]
    key_passphrase_file: Option<PathBuf>,
    /// How to say what was done
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Takes a root or an intermediate over.
///
/// # Errors
/// The server runs, or what was given is not fit; nothing was changed then.
pub(super) async fn run(args: ImportArgs, clock: Clock) -> Result<()> {
    let root = read(&args.root)?;
    let intermediate = args.intermediate.as_deref().map(read).transpose()?;
    let mut custody = args.keys.custody.custody()?;
    let key = match args.key.as_deref() {
        Some(uri) if uri.starts_with("pkcs11:") => {
            let uri: Pkcs11Uri = uri.parse().map_err(|error| crate::WrongUsage(format!("--key: {error}")))?;
            if custody.token.is_none() {
                custody.token = Some(custody::open(&uri)?);
            }
            Some(ImportedKey::Token(uri))
        }
        Some(path) => {
            let sealed = args.key_passphrase_file.as_deref().map(passphrase::read).transpose()?;
            Some(ImportedKey::File(PrivateKey::read(Path::new(path), sealed.as_ref())?))
        }
        None => None,
    };
    let folder = Folder::open(&args.folder.data_dir, clock)?;
    let (name, change) = match (&intermediate, &key) {
        (Some(_), _) => ("intermediate", AuthorityChange::Imported),
        (None, Some(_)) => ("root", AuthorityChange::Imported),
        (None, None) => ("root", AuthorityChange::Installed),
    };
    let import = Import { root: &root, intermediate: intermediate.as_deref(), key };
    let trust_domain = &args.keys.trust_domain;
    let adopted =
        Authority::import(&folder.keys, custody, import, trust_domain, &Random::system(), folder.now())?;
    folder.record(change, name, &adopted).await?;
    tell(args.format, json!({ "imported": name }), name, "imported", &adopted);
    Ok(())
}

/// The text of a file of certificates.
pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
