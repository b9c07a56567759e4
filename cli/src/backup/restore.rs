//! `signet restore`: a data folder out of a backup, without a server.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use signet_durable::{Database, OpenError};

use super::{
    format::{self, BackedFile, Backup},
    is_standard,
};
use crate::{WrongUsage, server::STORE};

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  \
    signet restore signet.backup --data-dir /var/lib/signet && signet server --data-dir /var/lib/signet\n  \
    gpg --decrypt signet.backup.gpg | signet restore - --data-dir /var/lib/signet\n\n\
    The whole file is checked before anything is written; a damaged one is refused, with the line where it is. A \
    folder that holds something is left alone unless --force is given, and even then it is kept beside, under the \
    name that is printed. The restored server is the one that was backed up: same root, same key pairs, same meshes.\n\
    What came after the backup is gone, so a join token that was used since can be used once more: let them run out, \
    or make the backup again once they have. Stop the old server for good before the restored one starts.";

/// Flags of `signet restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The backup; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data folder to make
    #[arg(long, env = "SIGNET_DATA_DIR", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Put it in the place of a folder that holds something, which is kept beside
    #[arg(long)]
    force: bool,
}

/// Makes a data folder out of a backup: all of it, or none.
///
/// # Errors
/// The file is damaged, the folder holds something or belongs to a running server, or the disk cannot be written.
pub async fn restore(args: RestoreArgs) -> Result<()> {
    let RestoreArgs { file, data_dir, force } = args;
    let bytes = read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let backup = format::read(&bytes)
        .with_context(|| format!("{} is damaged, and nothing was restored", file.display()))?;
    let taken_at = backup.taken_at.clone();
    check_target(&data_dir, force)?;
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    // Made beside and renamed, so that there is no half of it.
    let made = tempfile::Builder::new().prefix(".signet-restore-").tempdir_in(parent)?;
    fill(made.path(), backup).await.with_context(|| format!("cannot write {}", made.path().display()))?;
    if let Some(aside) = put_aside(&data_dir)? {
        println!("what was in {} is in {} now", data_dir.display(), aside.display());
    }
    fs::rename(made.keep(), &data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    File::open(parent)?.sync_all()?;
    println!("{} is as it was at {taken_at}", data_dir.display());
    Ok(())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if !is_standard(file) {
        return fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Nobody may be at work in the folder, and nothing is lost without being asked.
fn check_target(data_dir: &Path, force: bool) -> Result<()> {
    let is_empty = match fs::read_dir(data_dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", data_dir.display())),
    };
    if !is_empty && !force {
        bail!(anyhow!(WrongUsage(format!(
            "{} holds something; choose another folder, or put what is there aside with --force",
            data_dir.display()
        ))));
    }
    let store = data_dir.join(STORE);
    match store.exists().then(|| Database::open(&store)) {
        Some(Err(held @ OpenError::InUse(_))) => Err(held).context("its server must be stopped first"),
        // One that cannot be opened is put aside as it is.
        Some(_) | None => Ok(()),
    }
}

async fn fill(folder: &Path, backup: Backup) -> Result<()> {
    for file in backup.files {
        write(folder, &file).with_context(|| format!("cannot write {}", file.path))?;
    }
    Database::restore(&folder.join(STORE), backup.store).await?;
    Ok(File::open(folder)?.sync_all()?)
}

fn write(folder: &Path, BackedFile { path, mode, data }: &BackedFile) -> Result<()> {
    let path = folder.join(path);
    let parent = path.parent().context("a file without folder")?;
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o777).open(&path)?;
    file.write_all(data)?;
    file.sync_all()?;
    Ok(File::open(parent)?.sync_all()?)
}

/// Moves what is there to the first free name beside it.
fn put_aside(data_dir: &Path) -> Result<Option<PathBuf>> {
    if !data_dir.exists() {
        return Ok(None);
    }
    if fs::read_dir(data_dir)?.next().is_none() {
        fs::remove_dir(data_dir)?;
        return Ok(None);
    }
    let name = data_dir.file_name().context("a data folder needs a name of its own")?;
    let free = (1_u32..).map(|number| {
        let mut aside = name.to_owned();
        aside.push(format!(".before-restore-{number}"));
        data_dir.with_file_name(aside)
    });
    let mut free = free.filter(|path| !path.exists());
    let aside = free.next().context("no free name beside the data folder")?;
    fs::rename(data_dir, &aside).with_context(|| format!("cannot move {}", data_dir.display()))?;
    Ok(Some(aside))
}
