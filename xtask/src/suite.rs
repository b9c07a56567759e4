//! `cargo xtask test`: everything that must hold before a change is kept.

mod tally;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ExitStatus, Stdio};
#[expect(clippy::disallowed_types, reason = "these steps take real time, and nothing here is paused")]
use std::time::Instant;

use anyhow::{Context as _, Result};

use self::tally::Tally;
use crate::workspace::Workspace;
use crate::{setup, tidy};

/// One step as it came out.
struct Step {
    name: &'static str,
    seconds: f64,
    passed: bool,
}

#[derive(Default)]
struct Suite {
    steps: Vec<Step>,
}

/// Runs all steps; true when every one passed.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let mut suite = Suite::default();
    suite.step("setup", || setup::run(workspace).map(|()| true));
    suite.step("fmt", || cargo(workspace, &["fmt", "--all", "--check"]));
    suite.step("clippy", || {
        cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    suite.step("tidy", || tidy::run(workspace));
    // The binaries come first because the suites run the real ones. Asking for the tests in the same breath
    // makes cargo settle on the features that `cargo test` will want, so no dependency is built twice.
    let built = suite.step("build", || cargo(workspace, &["build", "--workspace", "--bins", "--tests"]));
    let mut tally = None;
    if built {
        suite.step("tests", || {
            let (status, counted) = tests(workspace)?;
            let trusted = counted.agrees_with(status.success());
            if trusted {
                tally = Some(counted);
            } else {
                println!("cargo test ended with {status}, though the results above name no failed test:");
                println!("a test program crashed or did not build; look for it above");
            }
            Ok(trusted && status.success())
        });
    }
    Ok(suite.conclude(tally))
}

impl Suite {
    /// Runs one step under a heading; an error is shown and counts as not passed.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<bool>) -> bool {
        println!("\n── {name} ──");
        #[expect(clippy::disallowed_types, reason = "these steps take real time, and nothing here is paused")]
        let start = Instant::now();
        let passed = work().unwrap_or_else(|error| {
            println!("error: {error:#}");
            false
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("── {name}: {} after {seconds:.1} s", outcome(passed));
        self.steps.push(Step { name, seconds, passed });
        passed
    }

    /// Prints the summary, with the tests' count as the last line when it is known.
    fn conclude(&self, tally: Option<Tally>) -> bool {
        println!("\n── summary ──");
        for Step { name, seconds, passed } in &self.steps {
            println!("{name:<8} {:<8} {seconds:>7.1} s", outcome(*passed));
        }
        if let Some(tally) = tally {
            println!("{tally}");
        } else {
            println!("tests were not counted");
        }
        self.steps.iter().all(|step| step.passed)
    }
}

fn outcome(passed: bool) -> &'static str {
    if passed { "passed" } else { "FAILED" }
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<bool> {
    let status = workspace.cargo().args(arguments).status().context("cannot start cargo")?;
    Ok(status.success())
}

/// Runs every test to the end and counts them while their output streams through.
fn tests(workspace: &Workspace) -> Result<(ExitStatus, Tally)> {
    let mut child = workspace
        .cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut output = BufReader::new(child.stdout.take().context("cargo has no output")?);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    // Bytes, not text: a test may print what is not UTF-8.
    while output.read_until(b'\n', &mut line).context("cannot read what cargo prints")? > 0 {
        std::io::stdout().write_all(&line).context("cannot print")?;
        tally.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok((child.wait().context("cannot wait for cargo")?, tally))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_or_broken_step_fails_the_whole_and_the_rest_still_runs() {
        let mut suite = Suite::default();
        assert!(suite.step("good", || Ok(true)));
        assert!(!suite.step("broken", || anyhow::bail!("no such tool")));
        assert!(suite.step("after", || Ok(true)));
        assert!(!suite.conclude(None));
        assert_eq!(suite.steps.len(), 3);
    }
}
