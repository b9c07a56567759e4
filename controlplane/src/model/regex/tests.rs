use std::collections::BTreeMap;

use super::*;

/// Envoy 1.40's own verdicts, by `accepted` and `refused`; the suite over real Envoys asks it again.
fn verdicts() -> BTreeMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../../tests/envoy_verdicts/regex.json")).unwrap()
}

#[test]
fn what_envoy_refuses_is_refused_and_what_it_takes_is_taken() {
    let verdicts = verdicts();
    let taken: Vec<_> = verdicts["refused"].iter().filter(|pattern| check(pattern).is_ok()).collect();
    assert!(taken.is_empty(), "Envoy refuses {taken:#?}");
    let refused: Vec<_> =
        verdicts["accepted"].iter().filter_map(|pattern| Some((pattern, check(pattern).err()?))).collect();
    assert!(refused.is_empty(), "Envoy takes {refused:#?}");
}

#[test]
fn a_refusal_shows_the_piece_and_says_what_to_write() {
    let refused = [
        ("/a(?=b)", "\"(?=b)\" looks around, which RE2 cannot; match what is there instead"),
        (
            "/a++",
            "\"+\" repeats a repetition; put what is repeated in parentheses, or leave one out (RE2 has no possessive ones)",
        ),
        ("(a)\\1", "\"\\\\1\" refers back to a group, which RE2 cannot"),
        ("*.html", "\"*\" repeats nothing; write a backslash before it for the character itself"),
        ("[[:letter:]]", "\"[:letter:]\" is no class that RE2 knows, as [:alpha:] and \\pL are"),
        (
            ".{600}",
            "its program would have up to 1357 steps and proxies take 1000; repeat less, or match a prefix",
        ),
    ];
    for (pattern, expected) in refused {
        assert_eq!(check(pattern).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_larger_by_our_count_than_by_envoys_is_refused_although_envoy_would_take_it() {
    for pattern in &verdicts()["refused_by_signet_alone"] {
        assert!(matches!(check(pattern), Err(InvalidRegex::Size(_))), "{pattern}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(pattern in "\\PC{0,40}", nested in "[(\\[{?*+\\\\pPxQE:^a-]{0,60}") {
        let _verdicts = (check(&pattern), check(&nested));
    }
}
