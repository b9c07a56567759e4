//! The ledger's proofs, as the command prints them, by whoever has only the RFC: `tests/clients/ledger.py`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use signet_tests::{program, python_tool};

use super::{Place, serial, told};

/// What somebody else's program says of each case: evidence, or evidence and an older checkpoint with a comma between.
fn judged(key: &Path, cases: &[String]) -> Result<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/ledger.py");
    let mut python = Command::new(python_tool("python")?);
    let output = python.arg("-B").arg(script).arg(key).args(cases).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// What `signet ca verify` comes to in the same case.
fn is_verified(key: &Path, case: &str) -> Result<bool> {
    let (evidence, older) = case.split_once(',').map_or((case, None), |(new, old)| (new, Some(old)));
    let mut verify = Command::new(program()?);
    verify.args(["ca", "verify", evidence, "--key-file"]).arg(key);
    if let Some(older) = older {
        verify.args(["--since", older]);
    }
    Ok(verify.output()?.status.success())
}

type Spoil = fn(&mut Value);

/// Ways to lie with the evidence of an entry.
const LIES: [(&str, Spoil); 7] = [
    ("another entry", |it| {
        let text = it["entry"]["text"].as_str().unwrap_or_default().replace("/virtualNode/", "/virtualNodf/");
        it["entry"]["text"] = text.into();
    }),
    ("another place", |it| {
        it["entry"]["position"] = (it["entry"]["position"].as_u64().unwrap_or_default() ^ 1).into();
    }),
    ("another hash", |it| it["entry"]["inclusion"][0] = "00".repeat(32).into()),
    ("a hash less", |it| drop(it["entry"]["inclusion"].as_array_mut().and_then(Vec::pop))),
    ("a hash more", |it| {
        if let Some(hashes) = it["entry"]["inclusion"].as_array_mut() {
            hashes.push("00".repeat(32).into());
        }
    }),
    ("another size", |it| {
        let note = it["checkpoint"].as_str().unwrap_or_default();
        let size = note.lines().nth(1).unwrap_or_default();
        it["checkpoint"] = note.replacen(&format!("\n{size}\n"), &format!("\n1{size}\n"), 1).into();
    }),
    ("no signature", |it| {
        let note = it["checkpoint"].as_str().unwrap_or_default();
        it["checkpoint"] = format!("{}\n\n", note.split("\n\n").next().unwrap_or_default()).into();
    }),
];

/// Ways to lie with a proof of growth.
const LIES_OF_GROWTH: [(&str, Spoil); 3] = [
    ("another hash", |it| it["consistency"]["hashes"][0] = "00".repeat(32).into()),
    ("a hash less", |it| drop(it["consistency"]["hashes"].as_array_mut().and_then(Vec::pop))),
    ("another older size", |it| {
        it["consistency"]["since"] = (it["consistency"]["since"].as_u64().unwrap_or_default() + 1).into();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_only_the_rfc_finds_every_entry_and_the_growth_proven_and_no_lie() -> Result<()> {
    let place = Place::new().await?;
    let path = |name: String| -> PathBuf { place.folder.path().join(name) };
    let key = path("key".to_owned());
    std::fs::write(&key, told(&place.server, &["checkpoint", "--key"])?)?;
    let keep = |name: String, text: &str| -> Result<String> {
        let file = path(name);
        std::fs::write(&file, text)?;
        Ok(file.display().to_string())
    };

    // Trees of many sizes, and entries in every place of them.
    let (mut holders, mut older) = (Vec::new(), Vec::new());
    for number in 0..7 {
        older.push(keep(format!("checkpoint-{number}"), &told(&place.server, &["checkpoint"])?)?);
        holders.push(place.joined(if number % 2 == 0 { "a" } else { "b" }).await?);
    }
    let mut cases = Vec::new();
    for (number, holder) in holders.iter().enumerate() {
        let evidence = told(&place.server, &["why", &serial(holder)?, "--format", "json"])?;
        cases.push(keep(format!("entry-{number}"), &evidence)?);
    }
    for (number, old) in older.iter().enumerate() {
        let growth = told(&place.server, &["checkpoint", "--since", old])?;
        cases.push(format!("{},{old}", keep(format!("growth-{number}"), &growth)?));
    }
    let found = judged(&key, &cases)?;
    assert_eq!(found.len(), cases.len(), "{found:?}");
    for (case, said) in cases.iter().zip(&found) {
        let proven = if case.contains(',') { ", since " } else { ", included " };
        assert!(said.starts_with("signed ") && said.contains(proven), "{case}: {said}");
        assert!(is_verified(&key, case)?, "{case}");
    }

    // Each lie is found out by both.
    let (mut lies, mut names) = (Vec::new(), Vec::new());
    for (case, all) in [(&cases[3], &LIES[..]), (&cases[9], &LIES_OF_GROWTH[..])] {
        let (evidence, old) = case.split_once(',').map_or((case.as_str(), ""), |(new, old)| (new, old));
        let honest: Value = serde_json::from_str(&std::fs::read_to_string(evidence)?).context("evidence")?;
        for (what, spoil) in all {
            let mut lie = honest.clone();
            spoil(&mut lie);
            assert_ne!(lie, honest, "{what}");
            let file = keep(format!("lie-{}", lies.len()), &lie.to_string())?;
            lies.push(if old.is_empty() { file } else { format!("{file},{old}") });
            names.push(*what);
        }
    }
    for ((what, lie), said) in names.iter().zip(&lies).zip(judged(&key, &lies)?) {
        assert!(said.starts_with("not proven: "), "{what}: {said}");
        assert!(!is_verified(&key, lie)?, "signet takes {what} for the truth");
    }
    Ok(())
}
