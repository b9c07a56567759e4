use super::*;
use crate::{ResourceType, pb::envoy::config::cluster::v3::Cluster};

fn resources(names: &[&str]) -> Vec<Resource> {
    let cluster = |name: &&str| Resource::new(ResourceType::Cluster, *name, &Cluster::default());
    names.iter().map(cluster).collect()
}

fn names(resources: &[Resource]) -> Vec<&str> {
    resources.iter().map(Resource::name).collect()
}

#[test]
fn the_resource_that_a_text_names_is_guilty_and_the_others_are_not() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("Error adding/updating cluster(s) bad: malformed IP address: x", &["good", "bad"], &["bad"]),
        ("Error adding/updating cluster(s) b: why, d: why", &["a", "b", "c", "d"], &["b", "d"]),
        ("Duplicate entry of domain x in route r", &["r", "s"], &["r"]),
        ("Duplicate entry of domain x in route r.", &["r", "s"], &["r"]),
        ("filter chain 'http' has the same rules as 'tcp'", &["http", "x", "filter"], &["http"]),
        ("Error adding/updating listener(s) in: cannot bind out", &["in", "out"], &["in"]),
        ("service-bad: no", &["bad", "service"], &[]),
        ("mesh/bad: no", &["bad", "mesh"], &[]),
        ("Proto constraint validation failed", &["a", "b"], &[]),
    ];
    for (text, sent, guilty) in cases {
        let blame = blame(text, resources(sent), |_| false);
        assert_eq!(names(&blame.guilty), *guilty, "{text}");
        assert_eq!(blame.suspects.is_empty(), !guilty.is_empty(), "{text}");
        assert_eq!(blame.guilty.len() + blame.suspects.len() + blame.innocent.len(), sent.len(), "{text}");
    }
}

#[test]
fn a_resource_alone_in_its_message_is_guilty_whatever_the_text() {
    assert_eq!(names(&blame("?", resources(&["only"]), |_| true).guilty), ["only"]);
}

#[test]
fn what_was_in_force_before_is_to_blame_only_when_there_is_nobody_else() {
    let old = |it: &Resource| it.name().starts_with("old");
    let found = blame("?", resources(&["old", "new", "newer"]), old);
    assert_eq!((names(&found.suspects), names(&found.innocent)), (vec!["new", "newer"], vec!["old"]));
    let found = blame("old: it is", resources(&["old", "new"]), old);
    assert_eq!((names(&found.guilty), names(&found.innocent)), (vec!["new"], vec!["old"]));
    assert_eq!(names(&blame("?", resources(&["old", "older"]), old).suspects), ["old", "older"]);
}

#[test]
fn key_material_never_survives() {
    let secret = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    let short = "c2hvcnQ=";
    let cases = [
        format!("bad: -----BEGIN PRIVATE KEY-----\n{secret}\n{short}\n-----END PRIVATE KEY----- in listener"),
        format!("bad: -----BEGIN PRIVATE KEY-----\\n{secret}\\n{short}"),
        format!("{short}\n-----END PRIVATE KEY----- in listener"),
        format!("private_key {{ inline_string:  \"{short}\" }} in listener"),
        format!("private_key {{ inline_string: \"a\\\"{short}\" }} in listener"),
        format!("private_key {{ inline_bytes: \"\\060\\202{short}"),
        format!(r#"{{"privateKey":{{"inlineBytes":"{short}"}}}} in listener"#),
        format!("{{\"inline_string\": \"{short}\"}} in listener"),
        format!("key {secret} in listener"),
    ];
    for text in cases {
        let kept = clean(&text);
        assert!(
            !kept.contains(secret) && !kept.contains(short) && kept.contains(REDACTED),
            "{text} -> {kept}"
        );
        assert_eq!(kept.ends_with("in listener"), text.ends_with("in listener"), "{text} -> {kept}");
    }
}

#[test]
fn what_envoy_says_of_a_mistake_is_kept() {
    for text in [
        "Error adding/updating cluster(s) bad: malformed IP address: not-an-ip. Consider setting resolver_name",
        "Didn't find a registered implementation for 'x' with type URL: \
         'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'",
        "Failed to load private key from <inline>, Cause: error:0f000074:X.509:OPENSSL_internal:KEY_VALUES_MISMATCH",
    ] {
        assert_eq!(&*clean(text), text);
    }
}

#[test]
fn a_reason_is_one_bounded_line() {
    let kept = clean(&"é\n".repeat(1 << 20));
    assert!(kept.len() <= MAX_KEPT && !kept.contains('\n'), "{}", kept.len());
}
