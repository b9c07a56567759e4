//! Makes what is there what is wanted. Each table changes in one transaction, so no packet sees a half of it.

use std::{io, process::Stdio};

use thiserror::Error;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    found::{Found, State},
    rules::{Family, InvalidRules, Rules},
};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The rules are there now.
    Now,
    /// They were there before.
    Already,
    /// They took the place of others.
    Replaced,
    /// They are gone now.
    Removed,
    /// There was nothing.
    Absent,
}

/// Why rules are not as they should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InterceptionError {
    /// They make no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidRules),
    /// A program cannot be run.
    #[error("cannot run {program}; install iptables, and run this as root or with CAP_NET_ADMIN")]
    Run {
        /// Which.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program refused.
    #[error("{program} failed: {said}; run this as root or with CAP_NET_ADMIN")]
    Failed {
        /// Which.
        program: String,
        /// What it said.
        said: String,
    },
    /// A part of the rules is there.
    #[error(
        "the rules are there by half ({found}): somebody else changes them, or an attempt was cut off; look at \
         `{program} -t nat`, and take them away with `signet interception remove`"
    )]
    Half {
        /// What shows them.
        program: String,
        /// What is there.
        found: String,
    },
}

/// Puts rules in place for each of `families`, or for none of them. What is there already stays untouched.
///
/// # Errors
/// They are there by half, which nothing is changed of; or iptables refuses.
pub async fn apply(rules: &Rules, families: &[Family]) -> Result<Vec<Applied>, InterceptionError> {
    rules.check()?;
    // All are looked at before any is changed.
    let mut plans = Vec::new();
    for family in families {
        let found = look(*family).await?;
        let (done, first) = match found.state(rules, *family) {
            State::Wanted => (Applied::Already, None),
            State::Absent => (Applied::Now, Some(Vec::new())),
            State::Other => (Applied::Replaced, Some(found.detach())),
            State::Half => {
                let program = family.program("save");
                return Err(InterceptionError::Half { program, found: found.describe() });
            }
        };
        plans.push((*family, done, first));
    }
    let mut all = Vec::new();
    for (family, done, first) in plans {
        if let Some(first) = first
            && let Err(error) = restore(family, &rules.restore(family, &first)).await
        {
            undo(families, &all).await;
            return Err(error);
        }
        all.push(done);
    }
    Ok(all)
}

/// A host with one family redirected would be called past Envoy by the other.
async fn undo(families: &[Family], done: &[Applied]) {
    for (family, _) in families.iter().zip(done).filter(|(_, done)| **done == Applied::Now) {
        // The error that led here says more than one that follows from it.
        drop(remove(&[*family]).await);
    }
}

/// Takes away whatever there is of the rules, also a half.
///
/// # Errors
/// iptables refuses.
pub async fn remove(families: &[Family]) -> Result<Vec<Applied>, InterceptionError> {
    let mut all = Vec::new();
    for family in families {
        all.push(match look(*family).await?.remove() {
            None => Applied::Absent,
            Some(text) => {
                restore(*family, &text).await?;
                Applied::Removed
            }
        });
    }
    Ok(all)
}

async fn look(family: Family) -> Result<Found, InterceptionError> {
    let program = family.program("save");
    let saved = run(&program, &["-t", "nat"], "").await?;
    Ok(Found::read(&saved))
}

async fn restore(family: Family, text: &str) -> Result<(), InterceptionError> {
    // Another program may hold the lock for a moment.
    run(&family.program("restore"), &["--noflush", "--wait", "10"], text).await.map(drop)
}

async fn run(program: &str, args: &[&str], input: &str) -> Result<String, InterceptionError> {
    let failed = |source| InterceptionError::Run { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to hear more says why when it ends.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().collect::<Vec<_>>().join("; ");
    Err(InterceptionError::Failed { program: program.to_owned(), said })
}
