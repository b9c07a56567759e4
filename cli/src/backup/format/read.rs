use base64::{Engine, engine::general_purpose::STANDARD};
use thiserror::Error;

use super::{BackedFile, Backup, Chain, FORMAT, Line};

/// Where a backup is not what was written, and how.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct Damaged {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Reads a backup, all of it or nothing.
///
/// # Errors
/// The first line that is not what was written.
pub fn read(bytes: &[u8]) -> Result<Backup, Damaged> {
    let (mut reader, mut chain, mut is_whole) = (Reader::default(), Chain::default(), false);
    let mut rest = bytes;
    let mut number = 0;
    while !rest.is_empty() || number == 0 {
        number += 1;
        let damaged = |what: String| Damaged { line: number, what };
        if is_whole {
            return Err(damaged("there is more after the end".into()));
        }
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| damaged("the file is cut off".into()))?;
        let line = parse(&rest[..end], &mut chain).map_err(damaged)?;
        rest = &rest[end + 1..];
        is_whole = reader.take(line, number).map_err(damaged)?;
    }
    match is_whole {
        true => Ok(reader.backup),
        false => Err(Damaged { line: number + 1, what: "the file is cut off".into() }),
    }
}

fn parse(bytes: &[u8], chain: &mut Chain) -> Result<Line, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let (digest, text) = text.split_once(' ').ok_or("it has no digest; is this a backup?")?;
    if chain.next(text) != digest {
        return Err("its digest is another one: it was changed, or lines before it are not all there".into());
    }
    serde_json::from_str(text).map_err(|error| format!("it is none that this version knows: {error}"))
}

#[derive(Default)]
struct Reader {
    backup: Backup,
    /// The tree that entries belong to.
    tree: Option<String>,
}

impl Reader {
    /// Takes a line into the backup. Says whether it was the last one.
    fn take(&mut self, line: Line, number: usize) -> Result<bool, String> {
        let backup = &mut self.backup;
        match line {
            Line::Header { format, signet, .. } if format != FORMAT => Err(format!(
                "it is a backup of format {format}, written by signet {signet}; this version reads format {FORMAT}"
            )),
            Line::Header { taken_at, .. } if number == 1 => {
                backup.taken_at = taken_at;
                Ok(false)
            }
            _ if number == 1 => Err("it is no header; is this a backup?".into()),
            Line::Header { .. } => Err("it is a second header".into()),
            Line::File { path, mode, data } => {
                check_path(&path)?;
                backup.files.push(BackedFile { path, mode, data: decode(&data)? });
                Ok(false)
            }
            Line::Tree { name } => {
                backup.store.trees.insert(name.clone(), Vec::new());
                self.tree = Some(name);
                Ok(false)
            }
            Line::Entry { key, value } => {
                let tree = self.tree.as_ref().and_then(|name| backup.store.trees.get_mut(name));
                tree.ok_or("it belongs to no tree")?.push((decode(&key)?, decode(&value)?));
                Ok(false)
            }
            Line::End { lines } if lines + 1 != number => Err(format!("{lines} lines should come before it")),
            Line::End { .. } => Ok(true),
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("it is not base64: {error}"))
}

/// A file of the data folder, outside of the store.
fn check_path(path: &str) -> Result<(), String> {
    let mut parts = path.split('/');
    let is_fine = parts.clone().all(|part| !matches!(part, "" | "." | "..")) && parts.next() != Some("store");
    match is_fine {
        true => Ok(()),
        false => Err(format!("{path:?} is no path in a data folder")),
    }
}
