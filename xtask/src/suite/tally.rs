//! Counts tests from what cargo prints.

use std::fmt;

/// Sums of every `test result:` line seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Adds a line of the form `test result: ok. 3 passed; 0 failed; 1 ignored; …`; others are passed over.
    pub(crate) fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// A run that failed without a failed test, or passed with one, was not counted right: a test program
    /// may have crashed before it could report.
    pub(crate) fn agrees_with(&self, success: bool) -> bool {
        success == (self.failed == 0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed")?;
        if *skipped > 0 {
            write!(f, ", {skipped} skipped")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally
    }

    #[test]
    fn results_of_all_programs_are_summed() {
        let sum = tally(&[
            "running 3 tests\n",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
            "test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s\n",
        ]);
        assert_eq!(sum.to_string(), "7 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn what_a_test_prints_is_not_taken_for_a_result() {
        assert_eq!(
            tally(&["  test result: ok. 3 passed; 0 failed\n", "3 passed; 0 failed\n"]),
            Tally::default()
        );
    }

    #[test]
    fn a_crash_without_a_result_is_not_counted_as_success() {
        let clean = tally(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        assert!(clean.agrees_with(true));
        assert!(!clean.agrees_with(false));
        assert!(!tally(&["test result: FAILED. 3 passed; 1 failed; 0 ignored"]).agrees_with(true));
    }
}
