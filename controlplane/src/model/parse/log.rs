//! `Logging` and `VirtualGatewayLogging`.

use std::collections::BTreeSet;

use crate::model::{
    AccessLog, LogFormat, log_format,
    shape::{Field, Invalid, Object, shown},
};

/// The `logging` of a spec. `{}` is none, as App Mesh took it.
pub(super) fn access_log(spec: &Object<'_>) -> Result<Option<AccessLog>, Invalid> {
    let access_log = |logging: &Field<'_>| {
        logging.object()?.read("accessLog", |field| field.object()?.union(&[("file", &file)]))
    };
    Ok(spec.read("logging", access_log)?.flatten())
}

fn file(field: &Field<'_>) -> Result<AccessLog, Invalid> {
    let file = field.object()?;
    Ok(AccessLog {
        path: super::file::path(&file.required("path")?)?,
        format: file.read("format", |field| field.object()?.union(&[("text", &text), ("json", &json)]))?,
    })
}

/// Lines may end in a line feed, and colours need an escape, so every character is allowed.
fn text(field: &Field<'_>) -> Result<LogFormat, Invalid> {
    operators(field, 1000).map(LogFormat::Text)
}

fn json(field: &Field<'_>) -> Result<LogFormat, Invalid> {
    let member = |field: &Field<'_>| {
        let member = field.object()?;
        let key = member.required("key")?.any_text(1..=100)?.to_owned();
        Ok((key, operators(&member.required("value")?, 100)?))
    };
    let members: Vec<(String, String)> =
        field.items(0..=usize::MAX)?.iter().map(member).collect::<Result<_, _>>()?;
    let mut keys = BTreeSet::new();
    // Envoy makes an object of them, in which one of the two would be missing.
    if let Some((key, _)) = members.iter().find(|(key, _)| !keys.insert(key)) {
        field.check(false, || format!("has the key {:?} twice", shown(key)))?;
    }
    Ok(LogFormat::Json(members))
}

/// A text with Envoy's command operators: the one door for all of them.
fn operators(field: &Field<'_>, max: usize) -> Result<String, Invalid> {
    let format = field.any_text(1..=max)?;
    let checked = log_format::check(format).map_err(|refused| refused.to_string());
    field.check(checked.is_ok(), || checked.err().unwrap_or_default())?;
    Ok(format.to_owned())
}
