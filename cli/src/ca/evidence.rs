//! What the server shows as proof, and how it is checked without the server.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use signet_ca::ledger::{Checkpoint, Consistency, Digest, Head, Inclusion, LogVerifier, RawEntry};

/// A checkpoint, and what is proven by it. As `/v1/ca/…` answers, and as `signet ca verify` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evidence {
    /// A signed note (C2SP tlog-checkpoint).
    pub(crate) checkpoint: String,
    /// The ledger's verifier key. Whoever checks has it from elsewhere.
    pub(crate) verifier: String,
    /// An entry, and that it is in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<EntryText>,
    /// That an older ledger is the beginning of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) consistency: Option<ConsistencyText>,
}

/// An entry, byte for byte, with its proof of inclusion (RFC 6962, section 2.1.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EntryText {
    pub(crate) position: u64,
    pub(crate) text: String,
    /// SHA-256 in hexadecimal.
    pub(crate) inclusion: Vec<String>,
}

/// A proof of consistency (RFC 6962, section 2.1.2).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConsistencyText {
    pub(crate) since: u64,
    /// SHA-256 in hexadecimal.
    pub(crate) hashes: Vec<String>,
}

impl EntryText {
    pub(crate) fn of(raw: &RawEntry, proof: &Inclusion) -> Self {
        Self {
            position: raw.position,
            text: String::from_utf8_lossy(&raw.text).into_owned(),
            inclusion: texts(&proof.hashes),
        }
    }
}

impl ConsistencyText {
    pub(crate) fn of(proof: &Consistency) -> Self {
        Self { since: proof.from, hashes: texts(&proof.hashes) }
    }
}

impl Evidence {
    /// Checks the signature, and everything that is there to be proven. Returns what was found to be so.
    ///
    /// # Errors
    /// The first thing that is not proven.
    pub(crate) fn check(&self, verifier: &LogVerifier, older: Option<&str>) -> Result<Vec<String>> {
        let checkpoint = Checkpoint::open(&self.checkpoint, verifier).context("the checkpoint")?;
        let head = checkpoint.head();
        let mut found = vec![format!("{} signed that the ledger has {} entries", verifier.name(), head.size)];
        if let Some(entry) = &self.entry {
            let hashes = digests(&entry.inclusion)?;
            let proof = Inclusion { position: entry.position, size: head.size, hashes };
            proof.check(entry.text.as_bytes(), &head).context("the entry")?;
            found.push(format!("the entry is number {} of them", entry.position));
        }
        if let Some(older) = older {
            found.push(self.check_since(older, verifier, &head)?);
        }
        Ok(found)
    }

    fn check_since(&self, older: &str, verifier: &LogVerifier, head: &Head) -> Result<String> {
        let older = Checkpoint::open(older, verifier).context("the older checkpoint")?.head();
        if older.size == head.size {
            ensure!(
                older.root == head.root,
                "two checkpoints of {} entries differ: the ledger was altered",
                head.size
            );
            return Ok("nothing was added since the older checkpoint".to_owned());
        }
        let missing = || {
            format!(
                "there is no proof of consistency since {} entries; fetch one with `signet ca checkpoint --since FILE`",
                older.size
            )
        };
        let proof = self.consistency.as_ref().with_context(missing)?;
        let hashes = digests(&proof.hashes)?;
        Consistency { from: proof.since, to: head.size, hashes }
            .check(&older, head)
            .context("the older checkpoint is not the beginning of this ledger")?;
        Ok(format!("its first {} entries are those of the older checkpoint", older.size))
    }
}

fn texts(hashes: &[Digest]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

fn digests(texts: &[String]) -> Result<Vec<Digest>> {
    let digest = |text: &String| {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.context("a hash of the proof is no SHA-256 in hexadecimal")
    };
    texts.iter().map(digest).collect()
}
