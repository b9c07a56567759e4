//! A bundle as files, in any of the three forms.

use serde_json::{Value, json};
use thiserror::Error;

use crate::{cli_input, cloudformation, input::Settings, kubernetes, resource::Bundle};

/// How resources are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A template.
    CloudFormation,
    /// Manifests.
    Kubernetes,
    /// Inputs of `aws appmesh create-… --cli-input-json`.
    CliInput,
}

/// How a document is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML.
    Yaml,
    /// JSON, indented.
    Json,
}

/// A document could not be put into text.
#[derive(Debug, Error)]
#[error("a document cannot be written: {0}")]
pub struct Unwritable(String);

/// Writes a bundle as one text. `namespace` is for Kubernetes.
///
/// # Errors
/// Never in practice.
pub fn text(
    bundle: &Bundle,
    form: Form,
    syntax: Syntax,
    settings: &Settings,
    namespace: &str,
) -> Result<String, Unwritable> {
    match form {
        Form::CloudFormation => document(&cloudformation::write(bundle), syntax),
        Form::CliInput => document(&Value::Array(cli_input::write(bundle)), syntax),
        Form::Kubernetes => {
            let objects = kubernetes::write(bundle, settings, namespace);
            match syntax {
                Syntax::Json => {
                    document(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), syntax)
                }
                Syntax::Yaml => {
                    let documents = objects.iter().map(|object| document(object, syntax));
                    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
                }
            }
        }
    }
}

pub(crate) fn document(value: &Value, syntax: Syntax) -> Result<String, Unwritable> {
    let mut text = match syntax {
        Syntax::Yaml => serde_saphyr::to_string(value).map_err(|error| Unwritable(error.to_string()))?,
        Syntax::Json => serde_json::to_string_pretty(value).map_err(|error| Unwritable(error.to_string()))?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
