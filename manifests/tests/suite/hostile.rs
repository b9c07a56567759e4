//! Files that are none of the three forms, and inputs of several files.

use signet_manifests::read;

use crate::{refused, settings, source};

#[test]
fn a_document_of_no_form_is_named() {
    for text in ["a: 1\n", "- 1\n", "just text\n", "{\"openapi\": \"3.0\"}", "Resources: []\n"] {
        let fault = refused(text, &settings());
        assert!(fault.starts_with("f:1: is none of a CloudFormation template"), "{text}: {fault}");
    }
}

#[test]
fn every_wrong_document_of_every_file_is_named_and_nothing_is_returned() {
    let good = source("good.yaml", "meshName: m\n");
    let bad = source("bad.yaml", "meshName: a/b\n---\nmeshName: c\nspec: {egressFilter: {type: NONE}}\n");
    let broken = source("broken.json", "{\"meshName\": }");
    let faults = read(&[good, bad, broken], &settings()).unwrap_err();
    let texts: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("bad.yaml:1: \"a/b\" cannot be a name"), "{texts:?}");
    let second =
        "bad.yaml:4: mesh/c: spec.egressFilter.type: must be one of ALLOW_ALL, DROP_ALL; it is \"NONE\"";
    assert_eq!(texts[1], second);
    // An empty value is null, and a mesh needs a name.
    assert!(texts[2].starts_with("broken.json:1: "), "{texts:?}");
}

#[test]
fn names_of_secrets_are_held_to_the_servers_trust_domain_where_it_is_known() {
    let text = "meshName: m
virtualNodeName: n
spec:
  listeners:
    - portMapping: {port: 80, protocol: http}
      tls:
        mode: STRICT
        certificate: {sds: {secretName: 'spiffe://theirs/mesh/m/virtual-node/n'}}
  serviceDiscovery: {dns: {hostname: n}}
";
    let mut known = settings();
    assert!(read(&[source("f", text)], &known).is_ok());
    known.trust_domain = Some("ours".parse().unwrap());
    let fault = refused(text, &known);
    assert!(
        fault.starts_with(
            "f:8: mesh/m/virtualNode/n: spec.listeners[0].tls.certificate.sds.secretName: must be"
        ),
        "{fault}"
    );
}
