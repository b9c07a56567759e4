//! `Logging` and `VirtualGatewayLogging`.

use crate::model::{
    AccessLog, LogFormat,
    shape::{Field, Invalid, Object},
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
        path: file.required("path")?.text(1..=255)?.to_owned(),
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
    field.items(0..=usize::MAX)?.iter().map(member).collect::<Result<_, _>>().map(LogFormat::Json)
}

/// A text with Envoy's command operators: the one door for all of them.
fn operators(field: &Field<'_>, max: usize) -> Result<String, Invalid> {
    field.any_text(1..=max).map(str::to_owned)
}
