use std::collections::BTreeMap;

use super::*;

/// Envoy 1.40's own verdicts, by `accepted` and `refused`; the suite over real Envoys asks it again.
fn verdicts() -> BTreeMap<String, Vec<String>> {
    serde_json::from_str(include_str!("../../../tests/envoy_verdicts/log_format.json")).unwrap()
}

#[test]
fn what_envoy_refuses_is_refused_and_what_it_takes_is_taken() {
    let verdicts = verdicts();
    let taken: Vec<_> = verdicts["refused"].iter().filter(|format| check(format).is_ok()).collect();
    assert!(taken.is_empty(), "Envoy refuses {taken:#?}");
    let refused: Vec<_> =
        verdicts["accepted"].iter().filter_map(|format| Some((format, check(format).err()?))).collect();
    assert!(refused.is_empty(), "Envoy takes {refused:#?}");
    for format in &verdicts["refused_by_signet_alone"] {
        assert!(matches!(check(format), Err(InvalidFormat::Unchecked(_))), "{format}");
    }
}

#[test]
fn a_refusal_names_the_operator_and_says_what_to_write() {
    let refused = [
        (
            "50% %REQ(X)%",
            "\"% %REQ(X)%\" starts no operator of the form %NAME%, %NAME(…)% or %NAME(…):LENGTH%; write %% for a percent sign",
        ),
        ("%REQUEST%", "%REQUEST% is no operator that Envoy 1.40 knows"),
        ("%REQ%", "%REQ% needs something in parentheses"),
        ("%BYTES_SENT(x)%", "%BYTES_SENT% takes nothing in parentheses"),
        ("%START_TIME:5%", "%START_TIME% takes no length"),
        ("%REQ(a?b?c)%", "%REQ(a?b?c)%: there may be one alternative, as in %REQ(FIRST?OTHER)%"),
        ("%PATH(QQ)%", "%PATH(QQ)%: it may be one of WQ, NQ"),
    ];
    for (format, expected) in refused {
        assert_eq!(check(format).unwrap_err().to_string(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(format in "\\PC{0,40}", dense in "[%A-Z_():?0-9é\n]{0,60}") {
        let _verdicts = (check(&format), check(&dense));
    }
}
