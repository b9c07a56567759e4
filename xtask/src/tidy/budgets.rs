//! How long files and functions may be.
//!
//! The numbers come from code that reads well: 400 lines hold nine in ten of its files, 60 lines all but its
//! worst functions. Tests get more room, since a scenario is read from top to bottom.

use super::breach::Breach;
use super::source::Source;

const FILE: usize = 400;
const TEST_FILE: usize = 800;
const FUNCTION: usize = 60;
const TEST_FUNCTION: usize = 100;

pub(crate) fn check(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let (kind, lines, budget) = if source.is_test_file() {
        ("test", source.line_count, TEST_FILE)
    } else {
        ("production", source.production_lines(), FILE)
    };
    if lines > budget {
        let what = format!("{lines} {kind} lines, the budget is {budget}");
        breaches.push(Breach::new(&source.path, 1, what, "split it by what its parts are about"));
    }
    for function in &source.functions {
        let (first, last) = (*function.lines.start(), *function.lines.end());
        let lines = last - first + 1;
        let budget = if source.is_test_line(first) { TEST_FUNCTION } else { FUNCTION };
        if lines > budget {
            let what = format!("`{}` has {lines} lines, the budget is {budget}", function.name);
            breaches.push(Breach::new(&source.path, first, what, "name its steps and make them functions"));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::super::source::TextFile;
    use super::*;

    fn faults(path: &str, text: String) -> Vec<String> {
        let source = Source::parse(&TextFile { path: path.to_owned(), text });
        check(&source).iter().map(|breach| format!("{}: {}", breach.line, breach.what)).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_may_fill_its_budget_and_not_a_line_more() {
        assert!(faults("ca/src/a.rs", "//\n".repeat(400)).is_empty());
        assert_eq!(faults("ca/src/a.rs", "//\n".repeat(401)), ["1: 401 production lines, the budget is 400"]);
        assert!(faults("ca/tests/a.rs", "//\n".repeat(800)).is_empty());
        assert_eq!(faults("ca/tests/a.rs", "//\n".repeat(801)), ["1: 801 test lines, the budget is 800"]);
    }

    #[test]
    fn inline_tests_do_not_count_as_production() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(300));
        assert!(faults("ca/src/a.rs", "//\n".repeat(400) + &tests).is_empty());
    }

    #[test]
    fn a_function_may_fill_its_budget_and_not_a_line_more() {
        assert!(faults("ca/src/a.rs", function(60)).is_empty());
        assert_eq!(faults("ca/src/a.rs", function(61)), ["1: `long` has 61 lines, the budget is 60"]);
        let test = |lines| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(lines));
        assert!(faults("ca/src/a.rs", test(100)).is_empty());
        assert_eq!(faults("ca/src/a.rs", test(101)), ["3: `long` has 101 lines, the budget is 100"]);
    }

    #[test]
    fn the_harness_of_the_suites_is_held_to_the_production_budget() {
        assert_eq!(faults("tests/src/mesh.rs", function(61)).len(), 1);
    }
}
