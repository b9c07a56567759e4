use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Backup, Chain, FORMAT, Line};

/// The bytes of a backup.
///
/// # Errors
/// Never in practice: everything in it can be written as JSON.
pub fn write(backup: &Backup) -> Result<Vec<u8>> {
    let mut lines = Lines::default();
    let signet = env!("CARGO_PKG_VERSION").to_owned();
    lines.add(&Line::Header { format: FORMAT, signet, taken_at: backup.taken_at.clone() })?;
    for file in &backup.files {
        let data = STANDARD.encode(&file.data);
        lines.add(&Line::File { path: file.path.clone(), mode: file.mode, data })?;
    }
    for (name, entries) in &backup.store.trees {
        lines.add(&Line::Tree { name: name.clone() })?;
        for (key, value) in entries {
            lines.add(&Line::Entry { key: STANDARD.encode(key), value: STANDARD.encode(value) })?;
        }
    }
    lines.add(&Line::End { lines: lines.count })?;
    Ok(lines.bytes)
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    chain: Chain,
    count: usize,
}

impl Lines {
    fn add(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line)?;
        let digest = self.chain.next(&text);
        self.bytes.extend([digest.as_bytes(), b" ", text.as_bytes(), b"\n"].concat());
        self.count += 1;
        Ok(())
    }
}
