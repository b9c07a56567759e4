//! `cargo xtask tidy`: the rules that neither the compiler nor clippy knows.
//!
//! ```text
//! files ──▶ Source (masked, tokens, test lines) ──┬─▶ rooms    which module may name what
//!                                                 ├─▶ budgets  how long files and functions may be
//!                                                 └─▶ bans     tests that are skipped, sleep or may panic
//! files ──▶ text ───────────────────────────────────▶ furniture  white space, names, generated files
//! cargo metadata ───────────────────────────────────▶ layers   which crate may depend on what
//! ```
//!
//! Rules read tokens, never lines of text: what a comment or a string says breaks no rule.

mod bans;
mod breach;
mod budgets;
mod furniture;
mod items;
mod layers;
mod mask;
mod paths;
mod rooms;
mod source;
mod tokens;

use anyhow::Result;

use self::breach::Breach;
use self::source::{Source, TextFile};
use crate::workspace::Workspace;

/// Prints every breach; true when there is none.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let files = source::read_all(workspace.root())?;
    let mut breaches = check(&files);
    breaches.extend(layers::check(&layers::read(workspace)?));
    breaches.sort();
    for breach in &breaches {
        println!("{breach}");
    }
    match breaches.len() {
        0 => println!("tidy: {} files, no breach", files.len()),
        count => println!("tidy: {} files, {count} to mend", files.len()),
    }
    Ok(breaches.is_empty())
}

/// Everything that files alone can break.
fn check(files: &[TextFile]) -> Vec<Breach> {
    let sources = Source::parse_all(files);
    let mut breaches = furniture::check(files);
    breaches.extend(rooms::dead_rules(&sources));
    for source in &sources {
        breaches.extend(rooms::check(source));
        breaches.extend(budgets::check(source));
        breaches.extend(bans::check(source));
    }
    breaches
}
