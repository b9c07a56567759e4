//! Texts to bundles, and bundles to what is compared.

use std::collections::BTreeMap;

use serde_json::Value;
use signet_manifests::{Bundle, Settings, Source, compare, read};

pub(crate) fn settings() -> Settings {
    Settings::new("000000000000", "us-east-1")
}

pub(crate) fn source(name: &str, text: &str) -> Source {
    Source { name: name.into(), text: text.into() }
}

pub(crate) fn bundle_with(text: &str, settings: &Settings) -> Bundle {
    read(&[source("file", text)], settings).unwrap_or_else(|faults| panic!("{faults}"))
}

pub(crate) fn bundle(text: &str) -> Bundle {
    bundle_with(text, &settings())
}

/// Specs by key.
pub(crate) fn specs(bundle: &Bundle) -> BTreeMap<String, Value> {
    let resources = bundle.resources.values();
    resources.map(|one| (one.document.key().to_string(), compare::spec(&one.document))).collect()
}

pub(crate) fn refused(text: &str, settings: &Settings) -> String {
    match read(&[source("f", text)], settings) {
        Ok(bundle) => panic!("it was taken: {:?}\n{text}", specs(&bundle)),
        Err(faults) => faults.to_string(),
    }
}
