//! `signet ca …`: the authority's keys and certificates: at rest, beside a server that is stopped, and in use.

mod custody;
pub(crate) mod evidence;
mod forget;
mod import;
pub(crate) mod ledger;
mod local;
mod passphrase;
mod requests;
mod revoke;
mod rotate;
mod show;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signet_ca::{Adopted, Authority, Rotations};
use signet_durable::Database;
use signet_policies::time::Clock;

pub use self::{custody::CustodyArgs, passphrase::PassphraseArgs};
use crate::{WrongUsage, format::Format};

/// Subcommands of `signet ca`.
#[derive(Subcommand, Clone, Debug)]
pub enum CaCommand {
    /// Root, intermediate and issuers of a running server, and where their keys are
    #[command(after_help = "Examples:\n  signet ca show\n  signet ca show --format json")]
    Show(show::ShowArgs),
    /// The roots that agents trust, as PEM: what ca.pem in the server's data folder holds
    #[command(after_help = "Example:\n  signet ca bundle > ca.pem")]
    Bundle(show::BundleArgs),
    /// Sign with your own root or intermediate, or only trust your root and keep its key offline
    #[command(after_help = import::HELP)]
    Import(Box<import::ImportArgs>),
    /// Make an issuer's key and write the request that your offline root signs
    #[command(after_help = requests::CSR_HELP)]
    Csr(Box<requests::CsrArgs>),
    /// Take the certificate that was signed for such a request
    #[command(after_help = requests::INSTALL_HELP)]
    Install(Box<requests::InstallArgs>),
    /// Seal the keys of root and issuers with a passphrase, or with another one; stop the server first
    #[command(after_help = "Examples:\n  \
        signet ca seal --new-passphrase-file /etc/signet/passphrase\n  \
        signet ca seal --ca-passphrase-file old --new-passphrase-file new      (another passphrase)\n  \
        signet server --ca-passphrase-file /etc/signet/passphrase\n\n\
        A sealed key is PKCS#8 by scrypt and AES-256 (RFC 8018), which `openssl pkey -in key.pem` opens too. Every key \
        is read before the first is written, and each is written whole or not at all, so a passphrase that does not \
        open them all changes nothing, and whoever was interrupted does the same again. The certificates stay.\n\
        A key that lay there unsealed may still be in backups and in free blocks of the disk.")]
    Seal(SealArgs),
    /// Take the passphrase away; stop the server first
    #[command(after_help = "Example:\n  signet ca unseal --ca-passphrase-file /etc/signet/passphrase")]
    Unseal(UnsealArgs),
    /// Replace the root, or an issuer, while everything goes on
    #[command(after_help = rotate::HELP)]
    Rotate(rotate::RotateArgs),
    /// All that is known of a certificate: who got it, by what right, where it is, and the proof
    #[command(after_help = ledger::WHY_HELP)]
    Why(ledger::WhyArgs),
    /// How the ledger stands, signed
    #[command(after_help = ledger::CHECKPOINT_HELP)]
    Checkpoint(ledger::CheckpointArgs),
    /// Whether a ledger is what it was: checks proofs without a server, or a whole data folder
    #[command(after_help = ledger::VERIFY_HELP)]
    Verify(ledger::VerifyArgs),
    /// Revoke a certificate, or ban an identity
    #[command(after_help = revoke::REVOKE_HELP)]
    Revoke(revoke::RevokeArgs),
    /// What is revoked, and who is banned
    #[command(after_help = "Examples:\n  signet ca revocations\n  signet ca revocations --format json")]
    Revocations(revoke::RevocationsArgs),
    /// Let a banned identity have certificates again
    #[command(
        after_help = "Example:\n  signet ca allow spiffe://signet.internal/mesh/shop/virtual-node/cart"
    )]
    Allow(revoke::AllowArgs),
    /// Wait no longer for an agent that is gone for good without having said so
    #[command(after_help = forget::HELP)]
    Forget(forget::ForgetArgs),
    /// Let the authority sign again after it halted itself because a certificate was not as it should be
    #[command(after_help = "Example:\n  signet ca release --reason 'bad memory, replaced; see ticket 4711'")]
    Release(revoke::ReleaseArgs),
}

/// Flags of `signet ca seal`.
#[derive(Args, Clone, Debug)]
pub struct SealArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// The passphrase to seal with: a file of one line, for its owner alone
    #[arg(long, env = "SIGNET_CA_NEW_PASSPHRASE_FILE", value_name = "FILE")]
    new_passphrase_file: PathBuf,
    /// How to say what was done
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca unseal`.
#[derive(Args, Clone, Debug)]
pub struct UnsealArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// How to say what was done
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Where the server keeps everything.
#[derive(Args, Clone, Debug)]
struct FolderArgs {
    /// The server's data folder
    #[arg(long, env = "SIGNET_DATA_DIR", value_name = "FOLDER", default_value = "./signet-data")]
    data_dir: PathBuf,
}

/// Runs a subcommand.
///
/// # Errors
/// The server runs where it should not or the other way round, it refuses, a passphrase is not the right one, a file
/// cannot be read or written, or something was altered.
pub async fn run(command: CaCommand, clock: Clock) -> Result<()> {
    match command {
        CaCommand::Show(args) => show::show(args, clock).await?,
        CaCommand::Bundle(args) => show::bundle(args, clock).await?,
        CaCommand::Import(args) => import::run(*args, clock).await?,
        CaCommand::Csr(args) => requests::csr(*args, clock).await?,
        CaCommand::Install(args) => requests::install(*args, clock).await?,
        CaCommand::Seal(SealArgs { folder, passphrase, new_passphrase_file, format }) => {
            let to = passphrase::read(&new_passphrase_file)?;
            let written = folder.reseal(&passphrase, Some(&to))?;
            report(format, "sealed", written);
        }
        CaCommand::Unseal(UnsealArgs { folder, passphrase, format }) => {
            let written = folder.reseal(&passphrase, None)?;
            report(format, "unsealed", written);
        }
        CaCommand::Rotate(args) => rotate::run(args, clock).await?,
        CaCommand::Why(args) => ledger::why(args, clock).await?,
        CaCommand::Checkpoint(args) => ledger::checkpoint(args, clock).await?,
        CaCommand::Verify(args) => ledger::verify(&args)?,
        CaCommand::Revoke(args) => revoke::revoke(args, clock).await?,
        CaCommand::Revocations(args) => revoke::list(args, clock).await?,
        CaCommand::Allow(args) => revoke::allow(args, clock).await?,
        CaCommand::Forget(args) => forget::run(args, clock).await?,
        CaCommand::Release(args) => revoke::release(args, clock).await?,
    }
    Ok(())
}

impl FolderArgs {
    fn reseal(&self, from: &PassphraseArgs, to: Option<&signet_ca::Passphrase>) -> Result<usize> {
        let from = from.passphrase()?;
        if from.is_none() && to.is_none() {
            bail!(WrongUsage(
                "there is no passphrase to open the keys with; give --ca-passphrase-file".to_owned()
            ));
        }
        let keys = self.data_dir.join("ca");
        let store = self.data_dir.join("store");
        // Held to the end, so that no server starts meanwhile and makes an issuer that is sealed as before.
        let _alone = store.is_dir().then(|| Database::open(&store)).transpose()?;
        Rotations::recover(&keys)?;
        Ok(Authority::reseal(&keys, from.as_ref(), to)?)
    }
}

/// Says what was taken over.
fn tell(format: Format, mut json: Value, name: &str, done: &str, adopted: &Adopted) {
    let until = adopted.not_after.to_string();
    match format {
        Format::Json => {
            json["serial"] = adopted.serial.clone().into();
            json["fingerprint"] = hex::encode(adopted.fingerprint).into();
            json["notAfter"] = until.into();
            println!("{json:#}");
        }
        Format::Table => println!("{name} {done}: serial {}, good until {until}", adopted.serial),
    }
}

fn report(format: Format, done: &str, written: usize) {
    match (format, written) {
        (Format::Json, _) => println!("{}", json!({ done: written })),
        (Format::Table, 0) => println!("every key was {done} already"),
        (Format::Table, 1) => println!("1 key {done}"),
        (Format::Table, _) => println!("{written} keys {done}"),
    }
}
