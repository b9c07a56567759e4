//! Where each check begins to find something: what is just allowed is no finding, what is just beyond is one, as bad as it
//! is and for the reason that it says.

mod chain;
mod crypto;
mod few;
mod live;
mod log;
mod profile;

use crate::bed::Bed;

/// What a mesh is like, what an audit finds there as `ID severity`, sorted, and what the first of them says.
type Case = (&'static str, fn(&mut Bed), &'static [&'static str], &'static str);

fn each_is_as_it_says(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (what, plant, expected, says) in cases {
        let mut bed = Bed::new();
        bed.seal();
        plant(&mut bed);
        // Whoever plants a fault in the log itself has the records as they were.
        if bed.inventory.log.as_ref().is_some_and(|log| log.hashes.len() != bed.inventory.certificates.len())
        {
            bed.seal();
        }
        let report = bed.audit();
        let mut found: Vec<String> =
            report.findings.iter().map(|finding| format!("{} {}", finding.id, finding.severity)).collect();
        found.sort();
        let texts: Vec<String> = report
            .findings
            .iter()
            .map(|f| format!("{} {}: {} ({})", f.id, f.subject, f.message, f.evidence.join("; ")))
            .collect();
        let is_said = says.is_empty() || texts.iter().any(|text| text.contains(says));
        if found != *expected || !is_said {
            wrong.push(format!("{what}: {found:?}, not {expected:?} with {says:?}: {texts:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
