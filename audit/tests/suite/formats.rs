//! The report as text.

use std::num::NonZeroUsize;

use serde_json::Value;
use signet_audit::{
    Baseline, CHECKS, Report, Selection, Severity, audit, find, format,
    inventory::{Gap, Need, Revoked},
};

use crate::bed::{Bed, NOW};

/// A warning, a critical finding, and a node that does not report.
fn report() -> Report {
    let mut bed = Bed::new();
    bed.node("a").is_connected = false;
    bed.node("b").clock_ahead_ms = Some(70_000);
    bed.workload("a").dns_names.clear();
    bed.workload("a").changed_at = NOW - 60;
    bed.audit()
}

#[test]
fn the_table_says_what_is_wrong_why_and_what_to_do() {
    let text = format::table(&report());
    let expected = "\
40 checks · 2 nodes (1 examined) · 5 certificates · 2 authorities · log of 5 entries · taken 2026-11-26T00:00:00Z

CRITICAL  1
  E09 clock-skew             node mesh/shop/virtualNode/b, instance i-1: its clock is 70000 ms fast
";
    assert!(text.starts_with(expected), "{text}");
    for part in [
        "\nWARNING  1\n  A07 policy-replay",
        "      why: Rules that were tightened",
        "      do:  Start a time service such as chrony on that host.",
        "\nINCOMPLETE  ",
        "E01 unknown-certificate    partial: mesh/shop/virtualNode/a/i-1: its agent is not connected",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(format::table(&Bed::new().audit()).ends_with("\nno findings\n"));
}

#[test]
fn json_has_the_shape_of_a_finding() {
    let json: Value = serde_json::from_str(&format::json(&report()).unwrap()).unwrap();
    assert_eq!(json["schema"], "signet.audit/1");
    let finding = json["findings"][0].as_object().unwrap();
    let members: Vec<&String> = finding.keys().collect();
    let expected = [
        "id",
        "name",
        "severity",
        "subject",
        "message",
        "evidence",
        "first_seen",
        "last_seen",
        "fix",
        "docs",
        "fingerprint",
    ];
    assert_eq!(members, expected);
    let subject = serde_json::json!({ "mesh": "shop", "node": "mesh/shop/virtualNode/b", "instance": "i-1" });
    assert_eq!(
        (&finding["id"], &finding["severity"], &finding["subject"]),
        (&"E09".into(), &"critical".into(), &subject)
    );
    assert_eq!(json["checks"].as_array().unwrap().len(), 40);
}

#[test]
fn lines_of_json_are_the_findings_and_the_sum() {
    let text = format::jsonl(&report()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["finding"]["id"], &lines[1]["finding"]["id"]), (&"E09".into(), &"A07".into()));
    assert_eq!(lines[2]["summary"]["coverage"]["nodesExamined"], 1);
    assert_eq!(lines[2]["summary"]["findings"], serde_json::json!([]), "no finding is said twice");
}

#[test]
fn sarif_has_a_rule_for_each_check_and_a_result_for_each_finding() {
    let log: Value = serde_json::from_str(&format::sarif(&report()).unwrap()).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), CHECKS.len());
    for (rule, check) in rules.iter().zip(CHECKS) {
        let level = match check.severity {
            Severity::Critical => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        let expected = serde_json::json!({
            "id": check.id,
            "name": check.name,
            "shortDescription": {"text": check.title},
            "fullDescription": {"text": check.why},
            "help": {"text": check.fix},
            "helpUri": check.docs(),
            "defaultConfiguration": {"level": level},
        });
        assert_eq!(*rule, expected);
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!((&results[0]["ruleId"], &results[0]["level"]), (&"E09".into(), &"error".into()));
    let place = &results[0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
    assert_eq!(place, "node mesh/shop/virtualNode/b, instance i-1");
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false, "an incomplete audit is none");
    let notes = invocation["toolExecutionNotifications"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["associatedRule"]["id"] == "E01"));
}

#[test]
fn sarif_names_the_server_where_a_fault_is_nobodys_and_says_that_a_whole_audit_is_one() {
    let mut bed = Bed::new();
    bed.inventory.log.as_mut().unwrap().hashes.swap(0, 1);
    bed.newest("a").delivered_at = None;
    let log: Value = serde_json::from_str(&format::sarif(&bed.audit()).unwrap()).unwrap();
    let run = &log["runs"][0];
    let place = &run["results"][0]["locations"][0]["logicalLocations"][0];
    assert_eq!(*place, serde_json::json!({"fullyQualifiedName": "server", "kind": "resource"}));
    let text = run["results"][0]["message"]["text"].as_str().unwrap();
    assert!(text.starts_with("server: the first 5 entries have the root "), "{text}");
    assert_eq!(run["results"][1]["level"], "note");
    assert_eq!(
        run["invocations"][0],
        serde_json::json!({"executionSuccessful": true, "toolExecutionNotifications": []})
    );
    // What has several pieces of evidence, and is lived with from outside of the code.
    let mut bed = Bed::new();
    let record = bed.newest("a");
    (record.fingerprint, record.key_hash) = ("0".repeat(64), "0".repeat(64));
    let waivers = vec!["id=A01,until=2027-01-01,reason=known".parse().unwrap()];
    let only = vec!["A01".to_owned()];
    let report = bed.audit_by(&Selection { waivers, only, ..Selection::default() });
    let log: Value = serde_json::from_str(&format::sarif(&report).unwrap()).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["suppressions"][0]["kind"], "external");
    let text = result["message"]["text"].as_str().unwrap();
    assert!(text.contains("; key: the record says 0000"), "{text}");
}

#[test]
fn what_did_not_run_is_told_with_its_reason_in_each_format_and_counts_as_no_check_of_the_table() {
    let mut bed = Bed::new();
    let gap = Gap { need: Need::Log, node: None, reason: "no permission".to_owned() };
    bed.inventory.gaps.push(gap);
    let report = bed.audit();
    let table = format::table(&report);
    assert!(table.starts_with("39 checks · 2 nodes (2 examined) · "), "{table}");
    assert!(
        table.contains("\nINCOMPLETE  1\n  A03 log-chain              not-run: no permission\n"),
        "{table}"
    );
    let junit = format::junit(&report);
    assert!(junit.contains("tests=\"40\" failures=\"0\" errors=\"1\" skipped=\"0\""), "{junit}");
    assert!(junit.contains(">\n<error type=\"not-run\" message=\"no permission\"/>\n</testcase>"), "{junit}");
    let metrics = format::openmetrics(&report);
    assert!(metrics.contains("\nsignet_audit_check_complete{check=\"A03\"} 0\n"), "{metrics}");
    let log: Value = serde_json::from_str(&format::sarif(&report).unwrap()).unwrap();
    let notes = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"];
    let note = serde_json::json!({
        "level": "warning",
        "message": {"text": "not-run: no permission"},
        "associatedRule": {"id": "A03"},
    });
    assert_eq!(*notes, serde_json::json!([note]));
}

#[test]
fn junit_fails_on_findings_and_errs_on_what_did_not_run() {
    let text = format::junit(&report());
    assert!(
        text.contains("<testsuite name=\"signet audit\" tests=\"40\" failures=\"2\" errors=\""),
        "{text}"
    );
    assert!(text.contains("<failure type=\"critical\" message=\"1 findings\">node mesh/shop/virtualNode/b, instance i-1: its clock"));
    assert!(text.contains("<error type=\"partial\" message=\"mesh/shop/virtualNode/a/i-1: its agent"));
    assert!(text.contains(
        "<testcase classname=\"signet.audit.C01\" name=\"Keys are of the kinds and sizes that are allowed\"/>"
    ));
    assert_eq!(text.matches("<testcase ").count(), 40);
    assert!(!text.contains(" & "), "what is special to XML is written so");
}

#[test]
fn sarif_tells_what_is_new_from_what_is_known_and_from_what_is_lived_with() {
    let mut bed = Bed::new();
    bed.node("a").clock_ahead_ms = Some(7_000);
    let baseline = Baseline::from_json(&format::json(&bed.audit()).unwrap()).unwrap();
    bed.workload("a").dns_names.clear();
    bed.workload("a").changed_at = NOW - 60;
    bed.node("b").listeners[0].lowest_protocol = Some("TLSv1.0".to_owned());
    let waivers = vec!["id=E08,until=2027-01-01,reason=an old client".parse().unwrap()];
    let report = bed.audit_by(&Selection { baseline, waivers, ..Selection::default() });
    let log: Value = serde_json::from_str(&format::sarif(&report).unwrap()).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|it| {
            (
                it["ruleId"].as_str(),
                it["baselineState"].as_str(),
                it["suppressions"][0]["justification"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some("A07"), Some("new"), None),
            (Some("E09"), Some("unchanged"), None),
            (Some("E08"), Some("unchanged"), Some("an old client")),
        ]
    );
    let prints: Vec<_> =
        results.iter().map(|it| it["partialFingerprints"]["signetAudit/v1"].as_str()).collect();
    assert!(prints.iter().all(|print| print.is_some_and(|print| print.len() == 32)), "{prints:?}");
    let text = results[0]["message"]["text"].as_str().unwrap();
    assert!(text.contains("(the spec changed at "), "what was seen is told too: {text}");
    assert_eq!(results[0]["level"], "warning");
}

#[test]
fn junit_counts_what_did_not_run_and_what_nobody_asked_for_and_holds_any_name() {
    let mut bed = Bed::new();
    bed.node("b").is_connected = false;
    let record = bed.newest("a");
    (record.der, record.dns_names) = (None, vec!["<x & \"y\">\u{1}".to_owned()]);
    let skip = vec!["C*".to_owned()];
    let text = format::junit(&bed.audit_by(&Selection { skip, ..Selection::default() }));
    let (errors, skipped) = (text.matches("<error type=").count(), text.matches("<skipped/>").count());
    assert!(errors > 9 && skipped == 6, "{text}");
    assert!(text.contains(&format!("failures=\"1\" errors=\"{errors}\" skipped=\"6\">")), "{text}");
    assert!(text.contains("may not hold &lt;x &amp; &quot;y&quot;&gt;\n"), "{text}");
}

#[test]
fn openmetrics_counts_by_check_and_says_when_it_ran() {
    let text = format::openmetrics(&report());
    for line in [
        "signet_audit_findings{check=\"E09\",name=\"clock-skew\",severity=\"critical\"} 1",
        "signet_audit_findings{check=\"A01\",name=\"stored-fields\",severity=\"critical\"} 0",
        "signet_audit_check_complete{check=\"E01\"} 0",
        "signet_audit_check_complete{check=\"A01\"} 1",
        "signet_audit_last_run_timestamp_seconds 1795651201",
        "# TYPE signet_audit_findings gauge",
        "# HELP signet_audit_findings Findings that are neither waived nor in the baseline.",
        "signet_audit_certificates 5",
        "signet_audit_nodes 2",
        "signet_audit_nodes_examined 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let unique: std::collections::BTreeSet<&&str> = names.iter().collect();
    assert_eq!(names.len(), unique.len(), "a family stands together");
}

#[test]
fn openmetrics_counts_what_is_new_by_how_bad_it_is_and_the_age_of_what_is_known_too() {
    let mut bed = Bed::new();
    bed.node("a").clock_ahead_ms = Some(7_000);
    let baseline = Baseline::from_json(&format::json(&bed.audit()).unwrap()).unwrap();
    let selection = Selection { baseline, skip: vec!["A*".to_owned()], ..Selection::default() };
    // By the clock of an auditor that is behind the one before.
    let early = audit(&bed.inventory, &selection, &bed.thresholds, NOW - 9, NonZeroUsize::MIN);
    let text = format::openmetrics(&early);
    assert!(text.contains("\nsignet_audit_oldest_finding_seconds{check=\"E09\"} 0\n"), "{text}");
    bed.node("b").clock_ahead_ms = Some(70_000);
    let report = audit(&bed.inventory, &selection, &bed.thresholds, NOW + 61, NonZeroUsize::MIN);
    let text = format::openmetrics(&report);
    for line in [
        "signet_audit_findings{check=\"E09\",name=\"clock-skew\",severity=\"critical\"} 1",
        "signet_audit_findings{check=\"E09\",name=\"clock-skew\",severity=\"warning\"} 0",
        "signet_audit_oldest_finding_seconds{check=\"E09\"} 60",
        "signet_audit_oldest_finding_seconds{check=\"E08\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("check_complete{check=\"A01\"}"), "nobody asked for it");
}

#[test]
fn the_table_has_what_was_seen_each_remedy_once_and_what_does_not_count() {
    let mut bed = Bed::new();
    bed.node("a").clock_ahead_ms = Some(7_000);
    let baseline = Baseline::from_json(&format::json(&bed.audit()).unwrap()).unwrap();
    bed.thresholds.longest_life_seconds = Some(3600);
    bed.newest("a").fingerprint = "0".repeat(64);
    let waivers = vec!["id=C03,until=2026-11-24,reason=replaced on Monday".parse().unwrap()];
    let selection = Selection { baseline, waivers, ..Selection::default() };
    let report = audit(&bed.inventory, &selection, &bed.thresholds, NOW + 301, NonZeroUsize::MIN);
    let text = format::table(&report);
    let count = |part: &str| text.matches(part).count();
    assert_eq!((count("  D05 lifetime"), count("do:  Set --leaf-lifetime")), (5, 1), "{text}");
    assert_eq!(count("no findings"), 0, "{text}");
    let junit = format::junit(&report);
    assert_eq!(junit.matches("<failure type=\"critical\" message=\"5 findings\">").count(), 1, "{junit}");
    assert_eq!(junit.matches("it lives ").count(), 5, "{junit}");
    assert_eq!(count("\n      digest: the record says 0000"), 1, "{text}");
    for part in [
        "\n1 findings are in the baseline already\n",
        "\nthe waiver of C03 ended 2026-11-24T23:59:59Z; it waives nothing: replaced on Monday\n",
        "\nSTALE\n  the inventory was taken 301 s ago",
    ] {
        assert_eq!(count(part), 1, "{part:?} is not in\n{text}");
    }
}

#[test]
fn the_table_has_a_remedy_for_each_that_differs_and_says_that_nothing_is_new_or_that_nobody_is_there() {
    let mut bed = Bed::new();
    bed.inventory.workloads.clear();
    let report = bed.audit();
    let text = format::table(&report);
    for name in ["a", "b"] {
        let remedy = format!("do:  signet ca revoke spiffe://signet.internal/mesh/shop/virtual-node/{name} ");
        assert_eq!(text.matches(&remedy).count(), 1, "{text}");
    }
    let baseline = Baseline::from_json(&format::json(&report).unwrap()).unwrap();
    let text = format::table(&bed.audit_by(&Selection { baseline, ..Selection::default() }));
    assert!(text.contains(" findings are in the baseline already\n"), "{text}");
    assert!(text.ends_with("\nno findings\n"), "{text}");
    bed.inventory.nodes.clear();
    let text = format::table(&bed.audit());
    assert!(text.starts_with("40 checks · 0 nodes (0 examined) · 5 certificates · "), "{text}");
}

#[test]
fn a_folded_text_keeps_its_words_and_its_indentation_and_no_line_is_too_long() {
    let text = "  E09 clock-skew             node mesh/shop/virtualNode/b: its clock is fast\n      do:  Start one.\n\nend\n";
    let expected = "  E09 clock-skew\n      node\n      mesh/shop/virtualNode/b:\n      its clock is fast\n      do:  Start one.\n\nend\n";
    assert_eq!(format::folded(text, 24), expected);
    assert_eq!(format::folded(text, 200), text);
    let report = format::table(&report());
    let folded = format::folded(&report, 80);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&folded), words(&report));
    let long = folded.lines().find(|line| line.chars().count() > 80 && line.trim().contains(' '));
    assert_eq!(long, None);
}

#[test]
fn csv_has_the_columns_of_aws_and_a_line_for_each_certificate() {
    let mut bed = Bed::new();
    bed.newest("a").revoked = Some(Revoked { at: NOW, reason: "keyCompromise".to_owned() });
    let serial = bed.newest("a").serial.clone();
    let text = format::csv(&bed.inventory, None);
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "awsAccountId,requestedByServicePrincipal,certificateArn,serial,subject,notBefore,notAfter,issuedAt,revokedAt,revocationReason,templateArn"
    );
    assert_eq!(lines.clone().count(), 5);
    let line = lines.find(|line| line.contains(&serial)).unwrap();
    let fields: Vec<&str> = line.split(',').collect();
    assert_eq!(fields.len(), 11);
    assert_eq!(fields[0], "000000000000");
    assert_eq!(
        fields[2],
        format!(
            "arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/mesh/shop/certificate/{serial}"
        )
    );
    assert_eq!(&fields[3][..5], format!("{}:{}", &serial[..2], &serial[2..4]));
    assert_eq!(fields[5], "2026-11-25T17:59:00+0000");
    assert_eq!(&fields[8..10], ["2026-11-26T00:00:00+0000", "KEY_COMPROMISE"]);
    assert_eq!(fields[4], "spiffe://signet.internal/mesh/shop/virtual-node/a");
    assert_eq!(fields[6], "2026-11-26T18:00:00+0000");
    assert_eq!(fields[7], "2026-11-25T18:00:00+0000");
    assert_eq!((fields[1], fields[10]), ("join token", "arn:aws:acm-pca:::template/EndEntityCertificate/V1"));
    let serials = |bed: &Bed| -> Vec<String> {
        let text = format::csv(&bed.inventory, None);
        text.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().to_owned()).collect()
    };
    // By the moment of issue, whatever the serials are.
    bed.inventory.certificates.sort_by(|a, b| a.serial.cmp(&b.serial));
    for (at, record) in (NOW - 100..).zip(bed.inventory.certificates.iter_mut().rev()) {
        record.issued_at = at;
    }
    assert!(serials(&bed).is_sorted_by(|a, b| a > b), "{:?}", serials(&bed));
    assert_eq!(format::csv(&bed.inventory, Some("other")).lines().count(), 1);
    bed.newest("a").revoked = Some(Revoked { at: NOW, reason: "cACompromise".to_owned() });
    assert!(format::csv(&bed.inventory, None).contains(",CERTIFICATE_AUTHORITY_COMPROMISE,"));
}

/// `signet audit` points there.
const PAGE: &str = include_str!("../../../docs/audit.md");

#[test]
fn the_page_tells_of_every_check_what_the_command_does() {
    for check in CHECKS {
        let parts = [
            format!(
                "\n#### {}\n\n`{}`, {} at worst. {}.\n",
                check.id, check.name, check.severity, check.title
            ),
            format!("- Why: {}\n", check.why),
            format!("- How: {}\n", check.how),
            format!("- Fix: {}\n", check.fix),
        ];
        for part in parts {
            assert!(PAGE.contains(&part), "docs/audit.md is without {part:?}");
        }
    }
}

#[test]
fn the_list_and_the_explanations_name_every_check() {
    let list = format::list();
    for check in CHECKS {
        let line =
            format!("  {} {:<22} {:<9} {}\n", check.id, check.name, check.severity.as_str(), check.title);
        assert!(list.contains(&line), "{}", check.id);
        let text = format::explain(check);
        let needs: Vec<&str> = check.needs.iter().map(|need| need.as_str()).collect();
        for part in [check.title, check.why, check.how, check.fix, &needs.join(", "), &check.docs()] {
            assert!(
                text.contains(&format!("{part}{}\n", if part == check.title { "." } else { "" })),
                "{text}"
            );
        }
    }
    let heads: Vec<&str> = list.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(heads.len(), 5, "{heads:?}");
    assert!(
        format::explain(find("b03").unwrap())
            .starts_with("B03 authority-expiry (critical at worst; chain and trust)")
    );
}
