//! The flags that say what an audit looks at, and what it leaves out.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use signet_audit::{Baseline, Selection, Waiver};
use signet_policies::identity::ResourceName;

use crate::WrongUsage;

/// What to look at, and what to leave out.
#[derive(Args, Clone, Debug)]
pub(super) struct SelectionArgs {
    /// One mesh, and what stands above it
    #[arg(long, value_name = "MESH")]
    mesh: Option<ResourceName>,
    /// Roots and issuers that end within this are a warning at least: 30d, 12h
    #[arg(long, value_name = "SPAN", value_parser = span)]
    horizon: Option<i64>,
    /// Only these checks: ids, names, or starts of ids such as 'E*'; commas between them
    #[arg(long, value_name = "CHECKS", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these checks
    #[arg(long, value_name = "CHECKS", value_delimiter = ',')]
    skip: Vec<String>,
    /// An earlier report of --format json: what is in it already does not count
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Live with a check's findings, or with one by its fingerprint, to the end of a day (UTC). Waivers are reported
    #[arg(long, value_name = "id=…,until=…,reason=…")]
    waive: Vec<Waiver>,
}

impl SelectionArgs {
    pub(super) fn selection(&self) -> Result<Selection> {
        let baseline = match &self.baseline {
            None => Baseline::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                let read = Baseline::from_json(&text);
                read.map_err(|error| {
                    anyhow!("{} is no baseline: {error}; write one with --format json", path.display())
                })?
            }
        };
        let selection = Selection {
            mesh: self.mesh.as_ref().map(ToString::to_string),
            horizon: self.horizon,
            only: self.only.clone(),
            skip: self.skip.clone(),
            waivers: self.waive.clone(),
            baseline,
        };
        match selection.stranger() {
            Some(pattern) => {
                Err(WrongUsage(format!("{pattern:?} means no check; `signet audit --list` shows them"))
                    .into())
            }
            None => Ok(selection),
        }
    }
}

/// Seconds of `30d`, `12h`, `15m`, `90s`.
fn span(text: &str) -> Result<i64, String> {
    let units = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let count: u32 = text.strip_suffix(*unit)?.parse().ok()?;
        i64::from(count).checked_mul(*seconds)
    });
    parsed.ok_or_else(|| "write a span as 30d, 12h, 15m or 90s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        assert_eq!(span("30d"), Ok(30 * 86_400));
        assert_eq!(span("90s"), Ok(90));
        for wrong in ["", "d", "30", "-1d", "1.5h", "3w", "99999999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
