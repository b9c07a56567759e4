//! `signet backup` and `signet restore`.

pub mod format;
mod restore;

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use signet_policies::time::Clock;

pub use restore::{HELP as RESTORE_HELP, RestoreArgs, restore};

use self::format::Backup;
use crate::{WrongUsage, connect::ConnectArgs};

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  \
    signet backup /var/backups/signet-monday\n  \
    signet backup --force signet.backup && scp signet.backup elsewhere:\n  \
    signet backup - | gpg --encrypt --recipient ops > signet.backup.gpg\n\n\
    The server goes on serving. The file holds everything at one moment: the meshes and their tags, the CA's keys and \
    its record of certificates, join tokens, and the key pairs of callers. Whoever reads it can be this server, so it \
    is made with mode 0600. Keys that are sealed with a passphrase stay sealed; the passphrase is not in it.";

/// Flags of `signet backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Where the backup goes; - is standard output, which may not be a terminal
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

/// Fetches a backup from a running server, checks it, and writes it.
///
/// # Errors
/// The file is there already, the server refuses or cannot be reached, or what came is damaged.
pub async fn backup(args: BackupArgs, clock: Clock) -> Result<()> {
    let is_piped = is_standard(&args.file);
    if is_piped && io::stdout().is_terminal() {
        bail!(WrongUsage("a backup holds keys; give a file, or send standard output elsewhere".to_owned()));
    }
    if !is_piped {
        check_free(&args.file, args.force)?;
    }
    let bytes = args.connect.client(clock)?.fetch("/v1/backup").await?;
    let backup = format::read(&bytes).context("the backup was damaged on its way")?;
    let entries: usize = backup.store.trees.values().map(Vec::len).sum();
    let Backup { files, taken_at, .. } = &backup;
    let told = format!("{} files and {entries} records of {taken_at}, {} bytes", files.len(), bytes.len());
    if is_piped {
        let mut out = io::stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush()).context("cannot write to standard output")?;
        eprintln!("{told}");
    } else {
        let name = args.file.display();
        write_private(&args.file, &bytes).with_context(|| format!("cannot write {name}"))?;
        println!("{name}: {told}");
    }
    Ok(())
}

/// Whether standard input or output is meant, and no file.
fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn check_free(file: &Path, force: bool) -> Result<()> {
    match force || fs::symlink_metadata(file).is_err() {
        true => Ok(()),
        false => Err(anyhow!(WrongUsage(format!(
            "{} is there already; choose another name, or overwrite it with --force",
            file.display()
        )))),
    }
}

/// The whole file or none: it is made beside, with mode 0600, synced and renamed.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".signet-backup-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(File::open(folder)?.sync_all()?)
}
