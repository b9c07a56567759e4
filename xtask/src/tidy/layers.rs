//! Which crate may depend on which, read from `cargo metadata`.
//!
//! ```text
//! policies   xds   durable          nothing of ours
//!    ▲  ▲     ▲  ▲     ▲  ▲
//!    │  └─sds─┘  │     │  │         policies, xds
//!    ca──────────┼─────┘  │         policies, durable
//!  agent         │        │         policies, sds
//!  audit         │        │         policies
//!      controlplane───────┘         policies, xds, durable
//!           ▲
//!       manifests                   policies, controlplane
//! cli, tests                        all
//! ```

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::breach::Breach;
use crate::workspace::Workspace;

/// A crate of ours and what its manifest asks for, leaving out what only its tests use.
#[derive(Debug)]
pub(crate) struct Manifest {
    name: String,
    /// Relative to the root, with forward slashes.
    path: String,
    /// Name, and whether it is a crate of this workspace.
    dependencies: Vec<(String, bool)>,
}

const ALL: &[&str] = &["*"];

/// The one table of the house: crate, and the crates of ours that it may import.
const LAYERS: [(&str, &[&str]); 12] = [
    ("signet-policies", &[]),
    ("signet-xds", &[]),
    ("signet-durable", &[]),
    ("signet-audit", &["signet-policies"]),
    ("signet-ca", &["signet-policies", "signet-durable"]),
    ("signet-sds", &["signet-policies", "signet-xds"]),
    ("signet-controlplane", &["signet-policies", "signet-xds", "signet-durable"]),
    ("signet-manifests", &["signet-policies", "signet-controlplane"]),
    ("signet-agent", &["signet-policies", "signet-sds"]),
    ("signet", ALL),
    ("signet-tests", ALL),
    ("xtask", &[]),
];

/// Crates of others that have one door, and why.
const DOORS: [(&str, &[&str], &str); 3] = [
    ("envoy-types", &["signet-xds"], "Envoy's protobufs come through `signet_xds::pb`"),
    (
        "sled",
        &["signet-durable", "signet-ca", "signet-controlplane"],
        "storage belongs to the ledger and the store; ask them through their ports",
    ),
    ("anyhow", &["signet", "signet-tests", "xtask"], "a library's errors are enums that callers can match"),
];

/// What pure crates must not even be able to reach.
const PURE: [&str; 9] = ["tokio", "tonic", "prost", "rand", "ring", "rcgen", "getrandom", "uuid", "tracing"];

pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Manifest>> {
    let output = workspace
        .cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("cargo metadata ended with {}: {}", output.status, said.trim());
    }
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    manifests(&metadata).context("cargo metadata has another shape than expected")
}

fn manifests(metadata: &Value) -> Option<Vec<Manifest>> {
    let root = format!("{}/", metadata["workspace_root"].as_str()?);
    let manifest = |package: &Value| {
        let dependencies = package["dependencies"].as_array()?;
        let shipped = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
        let dependencies = shipped
            .map(|d| Some((d["name"].as_str()?.to_owned(), d["path"].is_string())))
            .collect::<Option<_>>()?;
        let path = package["manifest_path"].as_str()?;
        let path = path.strip_prefix(&root).unwrap_or(path).to_owned();
        Some(Manifest { name: package["name"].as_str()?.to_owned(), path, dependencies })
    };
    metadata["packages"].as_array()?.iter().map(manifest).collect()
}

pub(crate) fn check(manifests: &[Manifest]) -> Vec<Breach> {
    manifests.iter().flat_map(of_one).collect()
}

fn of_one(Manifest { name, path, dependencies }: &Manifest) -> Vec<Breach> {
    let Some((_, allowed)) = LAYERS.iter().find(|(crate_name, _)| crate_name == name) else {
        let mend = "add it to `LAYERS` in xtask/src/tidy/layers.rs with what it may import";
        return vec![Breach::new(path, 1, format!("`{name}` has no place in the layers"), mend)];
    };
    let mut breaches = Vec::new();
    for (dependency, ours) in dependencies {
        let dependency = dependency.as_str();
        if *ours && *allowed != ALL && !allowed.contains(&dependency) {
            let mend =
                format!("it may import {}; ask for the rest through a port of its own", listed(allowed));
            breaches.push(Breach::new(path, 1, format!("`{name}` must not import `{dependency}`"), mend));
        }
        if let Some((_, users, why)) = DOORS.iter().find(|(door, ..)| *door == dependency)
            && !users.contains(&name.as_str())
        {
            breaches.push(Breach::new(path, 1, format!("`{name}` must not use `{dependency}`"), *why));
        }
        if name == "signet-policies" && PURE.contains(&dependency) {
            let what = format!("`{name}` must not use `{dependency}`");
            breaches.push(Breach::new(path, 1, what, "it is pure; take what is needed as an argument"));
        }
    }
    breaches
}

fn listed(allowed: &[&str]) -> String {
    if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, dependencies: &[(&str, bool)]) -> Vec<String> {
        let dependencies = dependencies.iter().map(|(name, ours)| ((*name).to_owned(), *ours)).collect();
        let manifest = Manifest { name: name.to_owned(), path: "x/Cargo.toml".to_owned(), dependencies };
        check(&[manifest]).into_iter().map(|breach| breach.what).collect()
    }

    #[test]
    fn every_arrow_that_is_not_in_the_table_is_a_breach() {
        for (name, allowed) in LAYERS.iter().filter(|(_, allowed)| *allowed != ALL) {
            for (other, _) in LAYERS.iter().filter(|(other, _)| other != name) {
                let expected = usize::from(!allowed.contains(other));
                assert_eq!(faults(name, &[(other, true)]).len(), expected, "{name} → {other}");
            }
        }
        assert!(faults("signet", &[("signet-ca", true), ("signet-sds", true)]).is_empty());
    }

    #[test]
    fn a_crate_without_a_place_is_a_breach() {
        assert_eq!(faults("signet-extra", &[]), ["`signet-extra` has no place in the layers"]);
    }

    #[test]
    fn crates_of_others_are_used_through_their_door_only() {
        assert_eq!(
            faults("signet-sds", &[("envoy-types", false)]),
            ["`signet-sds` must not use `envoy-types`"]
        );
        assert_eq!(faults("signet-sds", &[("sled", false)]), ["`signet-sds` must not use `sled`"]);
        assert_eq!(faults("signet-agent", &[("anyhow", false)]), ["`signet-agent` must not use `anyhow`"]);
        assert!(faults("signet-durable", &[("sled", false)]).is_empty());
    }

    #[test]
    fn the_pure_crate_reaches_no_runtime_and_no_randomness() {
        for name in PURE {
            assert_eq!(faults("signet-policies", &[(name, false)]).len(), 1, "{name}");
        }
    }

    #[test]
    fn what_only_tests_use_is_left_out_and_paths_are_relative() {
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "packages": [{ "name": "signet-ca", "manifest_path": "/w/ca/Cargo.toml", "dependencies": [
                { "name": "signet-xds", "kind": "dev", "path": "/w/xds" },
                { "name": "signet-policies", "kind": null, "path": "/w/policies" },
                { "name": "protox", "kind": "build" },
            ] }],
        });
        let found = manifests(&metadata).unwrap();
        assert_eq!(found[0].path, "ca/Cargo.toml");
        let expected = [("signet-policies".to_owned(), true), ("protox".to_owned(), false)];
        assert_eq!(found[0].dependencies, expected);
    }

    #[test]
    fn this_workspace_is_read() {
        let found = read(&Workspace::here()).unwrap();
        assert!(found.iter().any(|manifest| manifest.path == "xtask/Cargo.toml"));
    }
}
