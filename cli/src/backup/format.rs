//! What a backup is made of: the store's entries and the files beside it, as lines of text.
//!
//! ```text
//!  f1b2…  {"header":{"format":1,"signet":"0.1.0","takenAt":"2026-11-26T12:00:00Z"}}
//!  09ac…  {"file":{"path":"ca/root/key.pem","mode":384,"data":"LS0t…"}}
//!  77d0…  {"tree":{"name":"appmesh"}}
//!  c3e9…  {"entry":{"key":"bWVzaC9t","value":"eyJ2MSI6…"}}     of the tree above it
//!  5b61…  {"end":{"lines":4}}
//! ```
//!
//! Each line starts with a digest of itself and of all lines before it: one that was changed, moved, taken out or
//! cut off is found, and named by its number.

mod read;
mod write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use signet_durable::Dump;

pub use self::{
    read::{Damaged, read},
    write::write,
};

/// The form that this version writes. It reads this one and all before it.
const FORMAT: u32 = 1;

/// A server's data folder at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// When it was taken, as RFC 3339.
    pub taken_at: String,
    /// The files beside the store.
    pub files: Vec<BackedFile>,
    /// The store.
    pub store: Dump,
}

/// A file of the data folder.
#[derive(Clone, PartialEq, Eq)]
pub struct BackedFile {
    /// Below the data folder, with `/` between its parts; no part is `..`.
    pub path: String,
    /// Unix permission bits.
    pub mode: u32,
    /// What is in it. Often a key.
    pub data: Vec<u8>,
}

/// Contents are secret.
impl std::fmt::Debug for BackedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Line {
    Header {
        format: u32,
        signet: String,
        taken_at: String,
    },
    File {
        path: String,
        mode: u32,
        data: String,
    },
    Tree {
        name: String,
    },
    Entry {
        key: String,
        value: String,
    },
    /// `lines` are those before it.
    End {
        lines: usize,
    },
}

/// The digest of all lines so far.
#[derive(Default)]
struct Chain([u8; 32]);

impl Chain {
    /// What the next line starts with: 16 hexadecimal digits.
    fn next(&mut self, line: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.0);
        digest.update(line);
        self.0 = digest.finalize().into();
        hex::encode(&self.0[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        let file = |path: &str| BackedFile { path: path.into(), mode: 0o600, data: vec![0, 255, 10] };
        let entries = (0..20_u8).map(|number| (vec![number], vec![number; 3])).collect();
        let trees = [("a".to_owned(), entries), ("b".to_owned(), vec![(b"k".to_vec(), b"v".to_vec())])];
        Backup {
            taken_at: "2026-11-26T12:00:00Z".into(),
            files: vec![file("ca/root/key.pem"), file("credentials")],
            store: Dump { trees: trees.into() },
        }
    }

    fn text() -> String {
        String::from_utf8(write(&backup()).unwrap()).unwrap()
    }

    #[test]
    fn a_backup_reads_as_it_was_written() {
        assert_eq!(read(text().as_bytes()).unwrap(), backup());
    }

    #[test]
    fn any_damage_is_found_and_its_place_is_named() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        // Every byte of every line, changed.
        for (index, line) in lines.iter().enumerate() {
            for at in 0..line.len() {
                let mut bytes = line.as_bytes().to_vec();
                bytes[at] ^= 1;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let mut damaged = lines.clone();
                damaged[index] = &changed;
                let error = read(join(&damaged).as_bytes()).unwrap_err().to_string();
                // A line that was cut in two ends early, and is still the first that is wrong.
                assert!(error.starts_with(&format!("line {}", index + 1)), "{error}: {changed}");
            }
        }
        for gone in 0..lines.len() {
            let mut damaged = lines.clone();
            damaged.remove(gone);
            assert!(read(join(&damaged).as_bytes()).is_err(), "without line {gone}");
        }
        for end in 0..text.len() - 1 {
            assert!(read(&text.as_bytes()[..end]).is_err(), "cut off at {end}");
        }
        let mut swapped = lines.clone();
        swapped.swap(5, 6);
        assert!(read(join(&swapped).as_bytes()).unwrap_err().to_string().starts_with("line 6"));
        assert!(read(format!("{text}more\n").as_bytes()).is_err());
        assert!(read(b"").is_err() && read(b"{}\n").is_err());
    }

    #[test]
    fn paths_that_lead_out_of_the_folder_are_refused() {
        for path in ["../x", "/etc/x", "a/../../x", "", "store/db", "a//b", "./a"] {
            let mut backup = backup();
            backup.files[0].path = path.into();
            let error = read(&write(&backup).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with("line 2"), "{path}: {error}");
        }
    }

    #[test]
    fn a_later_form_is_refused_by_its_number() {
        let header = r#"{"header":{"format":2,"signet":"9.0.0","takenAt":""}}"#;
        let line = format!("{} {header}\n", Chain::default().next(header));
        let error = read(line.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("9.0.0"), "{error}");
    }
}
