//! `docs/model-coverage.md` against botocore's model and against the tests that it names.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use signet_tests::python_tool;

/// Prints the path of every leaf of the seven specs.
const WALK: &str = r"
import botocore.session
model = botocore.session.get_session().get_service_model('appmesh')
def walk(shape, path):
    if shape.type_name == 'structure' and shape.members:
        for name, member in shape.members.items():
            walk(member, path + '.' + name)
    elif shape.type_name == 'list':
        walk(shape.member, path + '[]')
    else:
        print(path)
for kind in 'Mesh VirtualNode VirtualService VirtualRouter Route VirtualGateway GatewayRoute'.split():
    walk(model.shape_for(kind + 'Spec'), kind + 'Spec')
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fields_of_botocore() -> Result<BTreeSet<String>> {
    let output = Command::new(python_tool("python")?).args(["-c", WALK]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// A row: the fields that it is about, what they become, and what its last column says.
struct Row {
    line: usize,
    fields: Vec<String>,
    envoy: String,
    seen_by: String,
}

fn rows() -> Result<Vec<Row>> {
    let path = root().join("docs/model-coverage.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let lines = page.lines().zip(1..).filter(|(line, _)| line.starts_with("| `"));
    let row = |(text, line): (&str, usize)| {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [field, envoy, seen_by] = cells[..] else {
            anyhow::bail!("line {line} has {} cells", cells.len());
        };
        let fields = alternatives(field.trim_matches('`'));
        Ok(Row { line, fields, envoy: envoy.to_owned(), seen_by: seen_by.to_owned() })
    };
    lines.map(row).collect()
}

/// `a.{b,c}.d` is `a.b.d` and `a.c.d`.
fn alternatives(pattern: &str) -> Vec<String> {
    let opened = pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (inside, after))) = opened else {
        return vec![pattern.to_owned()];
    };
    inside.split(',').flat_map(|one| alternatives(&format!("{before}{one}{after}"))).collect()
}

/// The tests that a last column names, as `module::name`.
fn tests_named(seen_by: &str) -> impl Iterator<Item = &str> {
    seen_by.split('`').skip(1).step_by(2)
}

/// Every test function below `tests/tests`, as `module::name`.
fn tests_there() -> Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    let mut folders = vec![root().join("tests/tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let module = path.file_stem().context("a name")?.to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path)?;
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                match line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
                    Some(function) if is_test => {
                        let name = function.split('(').next().unwrap_or_default();
                        tests.insert(format!("{module}::{name}"));
                    }
                    _ => {}
                }
                is_test = line.starts_with("#[tokio::test") || line.starts_with("#[test]");
            }
        }
    }
    Ok(tests)
}

#[test]
fn every_field_of_botocores_model_has_one_row_and_no_row_names_another() -> Result<()> {
    let fields = fields_of_botocore()?;
    assert!(fields.len() > 200, "the walk is broken: {fields:?}");
    let mut told = BTreeSet::new();
    for row in rows()? {
        for field in row.fields {
            assert!(fields.contains(&field), "line {}: botocore knows no {field}", row.line);
            assert!(told.insert(field.clone()), "line {}: {field} has a row already", row.line);
        }
        assert!(!row.envoy.is_empty(), "line {}: what does it become?", row.line);
    }
    let missing: Vec<&String> = fields.difference(&told).collect();
    assert!(missing.is_empty(), "docs/model-coverage.md has no row for {missing:#?}");
    Ok(())
}

#[test]
fn every_row_names_a_test_that_is_there_or_says_why_there_is_none() -> Result<()> {
    let tests = tests_there()?;
    for Row { line, seen_by, .. } in rows()? {
        let named: Vec<&str> = tests_named(&seen_by).collect();
        for name in &named {
            assert!(tests.contains(*name), "line {line}: there is no test {name} below tests/tests");
        }
        let reason = seen_by.strip_prefix("no effect: ").is_some_and(|reason| reason.len() > 20);
        assert!(!named.is_empty() || reason, "line {line}: {seen_by:?} is no answer");
    }
    Ok(())
}
