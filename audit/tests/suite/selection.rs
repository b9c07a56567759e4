//! What is looked at, lived with, and known already; and the exit codes that come of it.

use std::num::NonZeroUsize;

use signet_audit::{
    Baseline, Report, Selection, Severity, Thresholds, audit, format, inventory::Gap, inventory::Need,
};

use crate::bed::{Bed, DAY, NOW, node_name};

/// A clock that is slow, which is a warning, and a key that everybody knows, which is critical.
fn faulty() -> Bed {
    let mut bed = Bed::new();
    bed.node("a").clock_ahead_ms = Some(-7_000);
    let hash = bed.newest("b").key_hash.clone();
    bed.thresholds.blocked_keys = vec![hash];
    bed
}

fn ids(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.id.as_str()).collect()
}

fn selection(only: &[&str], skip: &[&str]) -> Selection {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Selection { only: owned(only), skip: owned(skip), ..Selection::default() }
}

#[test]
fn the_worst_finding_at_or_above_fail_on_decides_the_exit_code() {
    let bed = faulty();
    let report = bed.audit();
    assert_eq!(ids(&report), ["C03", "E09"], "the worst first");
    assert_eq!(report.exit_code(Severity::Warning), 4);
    let warnings = bed.audit_by(&selection(&[], &["C03"]));
    assert_eq!((warnings.exit_code(Severity::Warning), warnings.exit_code(Severity::Critical)), (3, 0));
}

#[test]
fn information_counts_where_it_is_asked_for_and_what_is_open_does_in_any_case() {
    let mut bed = Bed::new();
    bed.newest("a").delivered_at = None;
    let report = bed.audit();
    assert_eq!(ids(&report), ["A09"]);
    assert_eq!((report.exit_code(Severity::Info), report.exit_code(Severity::Warning)), (3, 0));
    let mut bed = Bed::new();
    bed.node("a").is_connected = false;
    let report = bed.audit();
    let without_gaps = Report { gaps: Vec::new(), ..report.clone() };
    let without_checks = Report { checks: Vec::new(), ..report };
    assert_eq!((without_gaps.exit_code(Severity::Info), without_checks.exit_code(Severity::Info)), (5, 5));
}

#[test]
fn findings_go_before_stale_data_and_that_before_gaps() {
    let mut bed = faulty();
    let gap = Gap { need: Need::Log, node: None, reason: "no permission".to_owned() };
    bed.inventory.gaps.push(gap);
    let at = |bed: &Bed, ran_at| {
        audit(&bed.inventory, &selection(&[], &["C03"]), &bed.thresholds, ran_at, NonZeroUsize::MIN)
    };
    let old = at(&bed, NOW + 301);
    assert_eq!((old.exit_code(Severity::Warning), old.exit_code(Severity::Critical)), (3, 6));
    assert_eq!(old.stale, ["the inventory was taken 301 s ago; at most 300 s are allowed"]);
    let fresh = at(&bed, NOW + 300);
    assert_eq!((fresh.stale.len(), fresh.exit_code(Severity::Critical)), (0, 5));
}

#[test]
fn a_log_whose_checkpoint_lags_behind_is_stale() {
    let mut bed = Bed::new();
    bed.inventory.log.as_mut().unwrap().signed_at = NOW - DAY;
    assert_eq!(bed.audit().exit_code(Severity::Warning), 6);
}

#[test]
fn only_and_skip_take_ids_names_and_patterns() {
    let bed = faulty();
    assert_eq!(ids(&bed.audit_by(&selection(&["E*"], &[]))), ["E09"]);
    assert_eq!(ids(&bed.audit_by(&selection(&["weak-key"], &[]))), ["C03"]);
    assert_eq!(ids(&bed.audit_by(&selection(&["e*", "C03"], &["clock-skew"]))), ["C03"]);
    let report = bed.audit_by(&selection(&["E*"], &[]));
    let ran = report.checks.iter().filter(|ran| ran.outcome.as_str() != "skipped").count();
    assert_eq!(ran, 9);
    assert_eq!(selection(&["E*", "X1"], &[]).stranger(), Some("X1"));
    assert_eq!(selection(&["*"], &["B0*"]).stranger(), None);
}

#[test]
fn a_gap_that_no_asked_check_needs_leaves_the_audit_complete() {
    let mut bed = Bed::new();
    bed.inventory.gaps.push(Gap { need: Need::Log, node: None, reason: "no permission".to_owned() });
    assert_eq!(bed.audit().exit_code(Severity::Warning), 5);
    assert_eq!(bed.audit_by(&selection(&["C*"], &[])).exit_code(Severity::Warning), 0);
}

#[test]
fn one_mesh_is_looked_at_with_what_stands_above_it() {
    let mut bed = faulty();
    let of = |mesh: &str| Selection { mesh: Some(mesh.to_owned()), ..Selection::default() };
    let shop = bed.audit_by(&of("shop"));
    assert_eq!(ids(&shop), ["C03", "E09"]);
    assert_eq!((shop.coverage.certificates, shop.coverage.nodes), (5, 2), "the server's own counts");
    let other = bed.audit_by(&of("other"));
    assert_eq!((ids(&other).len(), other.coverage.nodes, other.exit_code(Severity::Warning)), (0, 0, 0));
    bed.inventory.log.as_mut().unwrap().hashes.swap(0, 1);
    assert_eq!(ids(&bed.audit_by(&of("other"))), ["A03"], "the log is everybody's");
}

#[test]
fn a_horizon_makes_what_ends_within_it_a_warning() {
    let bed = Bed::new();
    let within = |days: i64| Selection { horizon: Some(days * DAY), ..Selection::default() };
    assert_eq!(bed.audit_by(&within(349)).findings, []);
    let report = bed.audit_by(&within(351));
    let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
    assert_eq!((finding.id.as_str(), finding.severity), ("B03", Severity::Warning));
    assert_eq!(finding.subject.authority.as_deref(), Some("mesh/shop"));
    let seconds = |horizon: i64| Selection { horizon: Some(horizon), ..Selection::default() };
    assert_eq!(bed.audit_by(&seconds(350 * DAY)).findings, [], "it ends with the horizon");
    assert_eq!(ids(&bed.audit_by(&seconds(350 * DAY + 1))), ["B03"]);
}

#[test]
fn waivers_are_reported_and_end() {
    let bed = faulty();
    let waived = |until: &str| {
        let waiver = format!("id=C03,until={until},reason=replaced on Monday").parse().unwrap();
        bed.audit_by(&Selection { waivers: vec![waiver], ..Selection::default() })
    };
    let report = waived("2026-11-26");
    assert_eq!((ids(&report), report.exit_code(Severity::Warning)), (vec!["E09"], 3));
    assert_eq!((report.waived[0].is_expired, report.waived[0].findings.len()), (false, 1));
    let text = format::table(&report);
    assert!(
        text.contains("1 findings of C03 are waived until 2026-11-26T23:59:59Z: replaced on Monday"),
        "{text}"
    );
    assert!(!waived("2026-11-26T00:00:01Z").waived[0].is_expired, "it holds in its last second");
    assert!(waived("2026-11-26T00:00:00Z").waived[0].is_expired);
    let report = waived("2026-11-25");
    assert_eq!((ids(&report).len(), report.waived[0].is_expired), (2, true));
    let by_print = bed.audit().findings[0].fingerprint.clone();
    let waiver = format!("id={by_print},until=2026-12-01,reason=this one").parse().unwrap();
    assert_eq!(ids(&bed.audit_by(&Selection { waivers: vec![waiver], ..Selection::default() })), ["E09"]);
}

#[test]
fn a_baseline_keeps_what_is_known_apart_and_since_when() {
    let mut bed = faulty();
    let first = bed.audit();
    let baseline = Baseline::from_json(&format::json(&first).unwrap()).unwrap();
    // An hour later: the clock is worse, a serial changed by renewal, and something new came.
    bed.inventory.taken_at += 3600;
    for node in &mut bed.inventory.nodes {
        node.reported_at = Some(NOW + 3600);
    }
    bed.node("a").clock_ahead_ms = Some(-9_000);
    bed.inventory.workloads.retain(|known| known.workload != node_name("b"));
    let selection = Selection { baseline, ..Selection::default() };
    let later = audit(&bed.inventory, &selection, &bed.thresholds, NOW + 3601, NonZeroUsize::MIN);
    assert_eq!(ids(&later), ["D06"]);
    let known: Vec<_> = later.known.iter().map(|f| (f.id.as_str(), f.first_seen, f.last_seen)).collect();
    assert_eq!(known, [("C03", NOW + 1, NOW + 3601), ("E09", NOW + 1, NOW + 3601)]);
    // A baseline of a report with a baseline still knows all of it.
    let again = Baseline::from_json(&format::json(&later).unwrap()).unwrap();
    let selection = Selection { baseline: again, ..Selection::default() };
    let last = audit(&bed.inventory, &selection, &bed.thresholds, NOW + 3602, NonZeroUsize::MIN);
    assert_eq!((last.findings.len(), last.known.len(), last.exit_code(Severity::Info)), (0, 3, 0));
    assert!(Baseline::from_json("{\"schema\":\"other/1\",\"findings\":[]}").unwrap_err().contains("other/1"));
}

#[test]
fn what_became_worse_since_the_baseline_is_news_and_keeps_when_it_was_first_seen() {
    let mut bed = Bed::new();
    bed.node("a").clock_ahead_ms = Some(-7_000);
    let baseline = Baseline::from_json(&format::json(&bed.audit()).unwrap()).unwrap();
    let later = |bed: &Bed| {
        let selection = Selection { baseline: baseline.clone(), ..Selection::default() };
        audit(&bed.inventory, &selection, &bed.thresholds, NOW + 60, NonZeroUsize::MIN)
    };
    let same = later(&bed);
    assert_eq!((same.findings.len(), same.known.len()), (0, 1));
    bed.node("a").clock_ahead_ms = Some(-70_000);
    let worse = later(&bed);
    assert_eq!((ids(&worse), worse.known.len(), worse.exit_code(Severity::Warning)), (vec!["E09"], 0, 4));
    assert_eq!(worse.findings[0].first_seen, NOW + 1);
}

#[test]
fn thresholds_that_make_no_sense_are_refused() {
    let read = |text: &str| Thresholds::from_json(text);
    assert_eq!(read("{}").unwrap(), Thresholds::default());
    assert_eq!(read("{\"skewWarningMs\": 10}").unwrap().skew_warning_ms, 10);
    assert_eq!(read("{\"remainingCriticalPercent\": 33}").unwrap().remaining_critical_percent, 33);
    let hash = "a".repeat(64);
    assert_eq!(read(&format!("{{\"blockedKeys\": [\"{hash}\"]}}")).unwrap().blocked_keys, [hash]);
    for (text, says) in [
        ("[]", "invalid type"),
        ("{\"skewWarningsMs\": 1}", "unknown field"),
        ("{\"skewWarningMs\": -1}", "no span of time"),
        ("{\"rootExpiryDays\": {\"critical\": 9, \"warning\": 5, \"info\": 7}}", "rootExpiryDays"),
        ("{\"rootExpiryDays\": {\"critical\": 1, \"warning\": 9, \"info\": 7}}", "rootExpiryDays"),
        ("{\"remainingCriticalPercent\": 90}", "above"),
        ("{\"remainingCriticalPercent\": -1}", "no span of time"),
        ("{\"lowestProtocol\": \"TLSv1.9\"}", "lowestProtocol: \"TLSv1.9\" is none of TLSv1.0"),
        ("{\"blockedKeys\": [\"ab\"]}", "blockedKeys: \"ab\" is no SHA-256"),
        (&format!("{{\"blockedKeys\": [\"{}\"]}}", "x".repeat(64)), "is no SHA-256"),
        (&format!("{{\"blockedKeys\": [\"{}\"]}}", "a".repeat(63)), "is no SHA-256"),
        (&format!("{{\"blockedKeys\": [\"{}\"]}}", "a".repeat(65)), "is no SHA-256"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// Every limit that is a number, what it is without a file, and whether it is a span.
const LIMITS: [(&str, i64, bool); 20] = [
    ("backdateLimitSeconds", 90, true),
    ("burstFactor", 4, false),
    ("silenceSeconds", 604_800, true),
    ("deliverWithinSeconds", 600, true),
    ("retiredWithinSeconds", 3600, true),
    ("certificatesPerKey", 1, false),
    ("adoptWithinSeconds", 600, true),
    ("remainingCriticalPercent", 10, false),
    ("remainingWarningPercent", 33, false),
    ("renewalGraceSeconds", 300, true),
    ("modeChangeSeconds", 600, true),
    ("skewWarningMs", 5000, true),
    ("skewCriticalMs", 60_000, true),
    ("reportAgeSeconds", 60, true),
    ("inventoryAgeSeconds", 300, true),
    ("checkpointAgeSeconds", 3600, true),
    ("rootExpiryDays", 0, false),
    ("issuerExpiryDays", 0, false),
    ("shortestLifeSeconds", 0, true),
    ("longestLifeSeconds", 0, true),
];

#[test]
fn each_limit_has_its_default_and_no_span_is_below_nothing_or_beyond_a_century() {
    let defaults = serde_json::to_value(Thresholds::default()).unwrap();
    let read = |text: String| Thresholds::from_json(&text);
    for (name, default, is_span) in LIMITS {
        assert_eq!(defaults[name].as_i64().unwrap_or(0), default, "{name}");
        if is_span {
            for bound in [0, 100 * 366 * 86_400_i64] {
                assert!(read(format!("{{\"{name}\": {bound}}}")).is_ok(), "{name}: {bound}");
            }
            for beyond in [-1, 100 * 366 * 86_400_i64 + 1] {
                let error = read(format!("{{\"{name}\": {beyond}}}")).unwrap_err();
                assert!(error.contains("is no span of time"), "{name}: {error}");
            }
        }
    }
    let ladder = |critical: i64, warning: i64, info: i64| serde_json::json!({"critical": critical, "warning": warning, "info": info});
    assert_eq!(defaults["rootExpiryDays"], ladder(182, 365, 730));
    assert_eq!(defaults["issuerExpiryDays"], ladder(30, 60, 180));
    for name in ["rootExpiryDays", "issuerExpiryDays"] {
        for wrong in [ladder(-1, 0, 0), ladder(2, 1, 3), ladder(1, 3, 2), ladder(1, 2, i64::MAX)] {
            assert!(read(serde_json::json!({name: wrong}).to_string()).is_err(), "{name}: {wrong}");
        }
        for flat in [ladder(0, 0, 0), ladder(1, 1, 1)] {
            assert!(read(serde_json::json!({name: flat}).to_string()).is_ok());
        }
    }
}

#[test]
fn a_certificate_is_valid_from_its_first_second_to_its_last_and_lives_for_one_at_least() {
    let mut record = Bed::new().newest("a").clone();
    let (first, last) = (record.not_before, record.not_after);
    let valid = [first - 1, first, last, last + 1].map(|now| record.is_valid_at(now));
    assert_eq!(valid, [false, true, true, false]);
    assert_eq!(record.life(), last - first);
    for (seconds, life) in [(0, 1), (1, 1), (2, 2)] {
        record.not_after = first + seconds;
        assert_eq!(record.life(), life);
    }
}

#[test]
fn an_inventory_is_the_same_after_a_trip_through_json() {
    let bed = faulty();
    let text = serde_json::to_string(&bed.inventory).unwrap();
    assert_eq!(serde_json::from_str::<signet_audit::Inventory>(&text).unwrap(), bed.inventory);
}
