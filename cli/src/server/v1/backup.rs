//! A backup of a server that serves on.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, routing::get};
use signet_controlplane::api::ApiError;
use signet_durable::Database;
use signet_policies::time::Timestamp;
use tracing::{info, warn};

use super::V1;
use crate::{
    backup::format::{self, BackedFile, Backup},
    server::STORE,
};

/// No file beside the store is nearly as large; in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Names of what is not finished.
const UNFINISHED: [&str; 2] = [".unfinished-", ".tmp"];

/// What is backed up.
#[derive(Clone, Debug)]
pub(in crate::server) struct Source {
    pub(in crate::server) database: Database,
    pub(in crate::server) data_dir: PathBuf,
}

pub(super) fn router() -> Router<V1> {
    Router::new().route("/v1/backup", get(backup))
}

/// For those only who may have every key of the server: the answer holds them.
async fn backup(State(v1): State<V1>) -> Result<Bytes, ApiError> {
    let unavailable = |error: anyhow::Error| {
        warn!(error = format!("{error:#}"), "cannot make a backup");
        ApiError::unavailable("the backup could not be made; the server's log says why")
    };
    // What the store refers to is made before it is in the store, so the files come after it.
    let store = v1.backup.database.dump().await.map_err(|error| unavailable(error.into()))?;
    let taken_at = Timestamp::from((v1.clock)()).to_string();
    let data_dir = v1.backup.data_dir.clone();
    let made = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        collect(&data_dir, "", &mut files)?;
        format::write(&Backup { taken_at, files, store })
    });
    let bytes = made.await.context("it broke off").and_then(|made| made).map_err(unavailable)?;
    info!(bytes = bytes.len(), "made a backup");
    Ok(bytes.into())
}

/// Every regular file but the store's.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<BackedFile>) -> Result<()> {
    let at = |path: &Path| format!("cannot read {}", path.display());
    let mut entries: Vec<_> = fs::read_dir(folder).with_context(|| at(folder))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type()?;
        let is_store = prefix.is_empty() && name == STORE;
        if is_store || UNFINISHED.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let below = format!("{prefix}{name}");
        if kind.is_dir() {
            collect(&path, &format!("{below}/"), files)?;
        } else if kind.is_file() {
            let found = entry.metadata()?;
            ensure!(found.len() <= MAX_FILE, "{} is larger than {MAX_FILE} bytes", path.display());
            let (mode, data) =
                (found.permissions().mode() & 0o777, fs::read(&path).with_context(|| at(&path))?);
            files.push(BackedFile { path: below, mode, data });
        }
    }
    Ok(())
}
