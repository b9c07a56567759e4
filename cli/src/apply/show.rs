//! Plans and what came of them, for people and for programs.

use std::io::{self, Write as _};

use anyhow::Result;
use serde_json::{Value, json};
use signet_manifests::{
    Plan,
    apply::Stopped,
    compare::Difference,
    plan::{Action, Step},
};

use crate::format::Format;

/// Longest value in a line for people.
const MAX_SHOWN: usize = 120;

/// A plan that is not carried out, or that has nothing to be carried out.
pub(super) fn plan(plan: &Plan, format: Format, is_dry_run: bool) -> Result<()> {
    match format {
        Format::Json => print_json(plan, Some(0), None),
        Format::Table => {
            plan.steps.iter().for_each(|step| println!("{}", line(step, "")));
            let suffix = if is_dry_run { "; nothing was changed (--dry-run)" } else { "" };
            println!("{}{suffix}", summary(plan, plan.steps.len(), "to do"));
            Ok(())
        }
    }
}

/// A step that was carried out. The others are too where nobody reads of it.
pub(super) fn done(step: &Step) {
    let _ = writeln!(io::stdout(), "{}", line(step, "d"));
}

/// What came of a plan.
pub(super) fn applied(plan: &Plan, stopped: Option<&Stopped>, format: Format) -> Result<()> {
    let done = stopped.map_or(plan.steps.len(), |stopped| stopped.done);
    match format {
        Format::Json => print_json(plan, Some(done), stopped),
        Format::Table => {
            println!("{}", summary(plan, done, "made"));
            Ok(())
        }
    }
}

/// Every difference, member by member.
pub(super) fn differences(plan: &Plan, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(plan, None, None);
    }
    for step in plan.steps.iter().filter(|step| !step.is_interim) {
        println!("{}", head(step, ""));
        if let (Action::Create, Some(document)) = (step.action, &step.document) {
            println!("    + spec: {}", document.text().get());
        }
        for Difference { path, before, after } in &step.differences {
            before.iter().for_each(|value| println!("    - {path}: {value}"));
            after.iter().for_each(|value| println!("    + {path}: {value}"));
        }
        step.untagged.iter().for_each(|key| println!("    - tag {key}"));
        step.tags.iter().for_each(|(key, value)| println!("    + tag {key}: {value:?}"));
    }
    println!("{}", summary(plan, plan.steps.len(), "to do"));
    Ok(())
}

/// `update   mesh/m/virtualNode/a  (mesh.yaml:12)`.
fn head(step: &Step, ending: &str) -> String {
    let action = match (step.action, ending) {
        (Action::Tag, "d") => "tagged".to_owned(),
        (action, ending) => format!("{}{ending}", action.as_str()),
    };
    let place = step.place.as_ref().map_or_else(String::new, |place| format!("  ({place})"));
    format!("{action:8} {}{place}", step.key)
}

/// The same, and what changes: `  spec.listeners[0].portMapping.port: 80 → 81`.
fn line(step: &Step, ending: &str) -> String {
    let changes: Vec<String> = step.differences.iter().map(changed).collect();
    let changes = if changes.is_empty() { String::new() } else { format!("  {}", changes.join("; ")) };
    let tags = match (step.action, step.tags.is_empty() && step.untagged.is_empty()) {
        (Action::Update | Action::Tag, false) => {
            let set = step.tags.iter().map(|(key, value)| format!("{key}={value}"));
            let gone = step.untagged.iter().map(|key| format!("-{key}"));
            format!("  tags: {}", set.chain(gone).collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    };
    let interim = match (step.is_interim, step.action) {
        (true, Action::Delete) => "  (it comes back below: its listener changes)",
        (true, _) => "  (for a while with old and new ports)",
        (false, _) => "",
    };
    format!("{}{changes}{tags}{interim}", head(step, ending))
}

fn changed(Difference { path, before, after }: &Difference) -> String {
    match (before, after) {
        (None, Some(after)) => format!("{path}: + {}", cut(after)),
        (Some(before), None) => format!("{path}: - {}", cut(before)),
        (Some(before), Some(after)) => format!("{path}: {} → {}", cut(before), cut(after)),
        (None, None) => path.clone(),
    }
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn summary(plan: &Plan, count: usize, what: &str) -> String {
    let unchanged = plan.unchanged;
    match plan.steps.is_empty() {
        true => format!("no change: all {unchanged} resources are as the files declare them"),
        false => format!("{count} change(s) {what}, {unchanged} resource(s) unchanged"),
    }
}

fn print_json(plan: &Plan, done: Option<usize>, stopped: Option<&Stopped>) -> Result<()> {
    let changes: Vec<Value> = plan.steps.iter().map(step_json).collect();
    let mut document = json!({"changes": changes, "unchanged": plan.unchanged});
    if let Some(done) = done {
        document["made"] = done.into();
    }
    if let Some(stopped) = stopped {
        document["stopped"] =
            json!({"resource": stopped.step.key.to_string(), "reason": stopped.cause.to_string()});
    }
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}

fn step_json(step: &Step) -> Value {
    let differences = step.differences.iter().map(|Difference { path, before, after }| {
        let mut difference = json!({"path": path});
        before.iter().for_each(|value| difference["before"] = value.clone());
        after.iter().for_each(|value| difference["after"] = value.clone());
        difference
    });
    let mut object = json!({"action": step.action.as_str(), "resource": step.key.to_string()});
    if let Some(place) = &step.place {
        object["file"] = place.file.as_ref().into();
        object["line"] = place.line.into();
    }
    if !step.differences.is_empty() {
        object["differences"] = differences.collect();
    }
    if !step.tags.is_empty() || !step.untagged.is_empty() {
        object["tags"] = json!({"set": step.tags, "remove": step.untagged});
    }
    if step.is_interim {
        object["interim"] = true.into();
    }
    object
}
