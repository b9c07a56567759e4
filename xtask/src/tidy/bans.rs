//! Tests that cannot be trusted, and code that is not finished.

use super::breach::Breach;
use super::items::Attribute;
use super::source::Source;

pub(crate) fn check(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut add = |line, what: String, mend: &str| breaches.push(Breach::new(&source.path, line, what, mend));
    for attribute in &source.attributes {
        if carries(attribute, "ignore") {
            add(attribute.line, "an ignored test guards nothing".to_owned(), "mend the test or delete it");
        }
        if carries(attribute, "should_panic") {
            let what = "`should_panic` is content with any panic".to_owned();
            add(attribute.line, what, "return an error and compare it");
        }
    }
    for path in source.paths.iter().filter(|path| source.is_test_line(path.line)) {
        if let Some(name) = sleep(&path.segments, source) {
            let what = format!("a test sleeps (`{name}`)");
            add(
                path.line,
                what,
                "wait for the condition itself (`watch::wait_for`, an event), or pause the clock",
            );
        }
    }
    for (name, line) in source.macros.iter().filter(|(name, _)| name == "todo") {
        add(*line, format!("`{name}!` ends the process when it is reached"), "write what is missing");
    }
    breaches
}

/// `#[ignore]`, `#[ignore = "…"]`, or either inside `cfg_attr`.
fn carries(attribute: &Attribute, name: &str) -> bool {
    match attribute.words.split_first() {
        Some((first, rest)) if first == "cfg_attr" => rest.iter().any(|word| word == name),
        Some((first, _)) => first == name,
        None => false,
    }
}

/// A file whose tests pause tokio's clock may sleep on it: no time passes.
fn sleep(path: &[String], source: &Source) -> Option<String> {
    let names: Vec<_> = path.iter().map(String::as_str).collect();
    let sleeps = names.windows(2).any(|pair| match pair {
        ["thread", "sleep"] => true,
        ["time", "sleep" | "sleep_until"] => !pauses_the_clock(source),
        _ => false,
    });
    sleeps.then(|| path.join("::"))
}

fn pauses_the_clock(source: &Source) -> bool {
    let by_attribute = source.attributes.iter().any(|a| a.words.iter().any(|word| word == "start_paused"));
    by_attribute || source.paths.iter().any(|path| path.segments.ends_with(&["time".into(), "pause".into()]))
}

#[cfg(test)]
mod tests {
    use super::super::source::TextFile;
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(&TextFile { path: path.to_owned(), text: text.to_owned() });
        check(&source).iter().map(|breach| format!("{}: {}", breach.line, breach.what)).collect()
    }

    #[test]
    fn ignored_tests_are_found_in_every_spelling() {
        for attribute in ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg_attr(windows, ignore)]"] {
            let text = format!("#[test]\n{attribute}\nfn a() {{}}");
            assert_eq!(faults("ca/tests/a.rs", &text), ["2: an ignored test guards nothing"], "{attribute}");
        }
        assert!(faults("ca/src/a.rs", "// #[ignore]\n#[serde(ignore)]\nfn a() {}").is_empty());
    }

    #[test]
    fn tests_that_expect_a_panic_are_found() {
        let found = faults("ca/tests/a.rs", "#[should_panic(expected = \"x\")]\nfn a() {}");
        assert_eq!(found, ["1: `should_panic` is content with any panic"]);
    }

    #[test]
    fn a_test_that_sleeps_is_found_and_production_code_may() {
        for text in ["fn a() { std::thread::sleep(b); }", "use tokio::time::{sleep, Duration};"] {
            assert_eq!(faults("ca/tests/a.rs", text).len(), 1, "{text}");
            assert!(faults("ca/src/a.rs", text).is_empty(), "{text}");
            let inline = format!("#[cfg(test)]\nmod tests {{ {text} }}");
            assert_eq!(faults("ca/src/a.rs", &inline).len(), 1, "{text}");
        }
    }

    #[test]
    fn sleeping_on_a_paused_clock_is_no_sleep_but_blocking_the_thread_is() {
        let paused = "#[tokio::test(start_paused = true)]\nasync fn a() { tokio::time::sleep(b).await; }";
        assert!(faults("ca/tests/a.rs", paused).is_empty());
        assert_eq!(
            faults("ca/tests/a.rs", &format!("{paused}\nfn c() {{ std::thread::sleep(b); }}")).len(),
            1
        );
    }

    #[test]
    fn unfinished_code_is_found() {
        assert_eq!(faults("ca/src/a.rs", "fn a() { todo!() }").len(), 1);
        assert!(faults("ca/src/a.rs", "fn a() { log(\"todo!\") }").is_empty());
    }
}
