//! What a virtual node's listeners, discovery, backends and TLS must be, by the paths that refusals name.

use super::*;

#[test]
fn a_node_has_listeners_with_tls_a_name_and_backends() {
    let spec = json!({
        "listeners": [
            {"portMapping": {"port": 65535, "protocol": "http"}},
            {"portMapping": {"port": 1, "protocol": "http"}, "tls": {
                "mode": "PERMISSIVE",
                "certificate": {"sds": {"secretName": "default"}},
                "validation": {
                    "trust": {"sds": {"secretName": "ROOTCA"}},
                    "subjectAlternativeNames": {"match": {"exact": ["spiffe://td/a", "b.local"]}},
                },
            }},
        ],
        "serviceDiscovery": {"dns": {"hostname": "10.0.0.1", "responseType": "ENDPOINTS"}},
        "backends": [
            {"virtualService": {"virtualServiceName": "s.local", "clientPolicy": {}}},
            {"virtualService": {"virtualServiceName": "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualService/t"}},
            {"virtualService": {"virtualServiceName": "s.local", "clientPolicy": {"tls": null}}},
        ],
        "backendDefaults": {"clientPolicy": {}},
        "logging": {},
    });
    let Spec::VirtualNode(node) = parsed(NODE, spec) else { panic!() };
    assert_eq!(
        node.listeners.iter().map(|listener| listener.port_mapping.port.get()).collect::<Vec<_>>(),
        [65535, 1]
    );
    assert_eq!(node.listeners[0].tls, None);
    let tls = node.listeners[1].tls.clone().unwrap();
    assert_eq!(tls.mode.as_str(), "PERMISSIVE");
    assert_eq!(tls.certificate, Certificate::Sds { secret_name: "default".into() });
    let validation = tls.validation.unwrap();
    assert_eq!(validation.trust, Trust::Sds { secret_name: "ROOTCA".into() });
    assert_eq!(validation.subject_alternative_names, ["spiffe://td/a", "b.local"]);
    let discovery = Discovery::Dns {
        hostname: "10.0.0.1".into(),
        response_type: DnsResponseType::Endpoints,
        ip_preference: None,
    };
    assert_eq!(node.discovery, Some(discovery));
    let names: Vec<&str> = node.backends.iter().map(|backend| backend.virtual_service.as_str()).collect();
    assert_eq!(names, ["s.local", "t"]);
}

#[test]
fn listeners_that_break_a_rule_are_refused_by_the_members_path() {
    let port = |port: Value, protocol: &str| {
        with_listener(json!({"portMapping": {"port": port, "protocol": protocol}}))
    };
    let same = json!({"portMapping": {"port": 80, "protocol": "http"}});
    check(
        NODE,
        &[
            (json!({"listeners": {}}), "spec.listeners: must be a list, not an object"),
            (json!({"listeners": [null]}), "spec.listeners[0]: must be an object, not null"),
            (with_listener(json!({})), "spec.listeners[0].portMapping: is required"),
            (port(json!(0), "http"), "spec.listeners[0].portMapping.port: must be 1 to 65535; it is 0"),
            (
                port(json!(65536), "http"),
                "spec.listeners[0].portMapping.port: must be 1 to 65535; it is 65536",
            ),
            (port(json!(-1), "http"), "spec.listeners[0].portMapping.port: must be 1 to 65535; it is -1"),
            (
                port(json!(18_446_744_073_709_551_615_u64), "http"),
                "spec.listeners[0].portMapping.port: must be 1 to 65535; it is 18446744073709551615",
            ),
            (
                port(json!(80.0), "http"),
                "spec.listeners[0].portMapping.port: must be a whole number, not a fraction",
            ),
            (
                port(json!("80"), "http"),
                "spec.listeners[0].portMapping.port: must be a whole number, not a string",
            ),
            (
                port(json!(80), "https"),
                "spec.listeners[0].portMapping.protocol: must be one of http, tcp, http2, grpc; it is \"https\"",
            ),
            (
                json!({"listeners": [same, same], "serviceDiscovery": {"dns": {"hostname": "a"}}}),
                "spec.listeners[1]: another listener has port 80 already",
            ),
            (
                json!({"listeners": [same]}),
                "spec.serviceDiscovery: must be given, because the node has listeners that others call",
            ),
        ],
    );
}

#[test]
fn discovery_and_backends_that_break_a_rule_are_refused_by_the_members_path() {
    let dns = |dns: Value| json!({"serviceDiscovery": {"dns": dns}});
    let backend = |service: Value| json!({"backends": [{"virtualService": service}]});
    check(
        NODE,
        &[
            (
                json!({"serviceDiscovery": {}}),
                "spec.serviceDiscovery: must have exactly one of dns, awsCloudMap; it has none",
            ),
            (
                json!({"serviceDiscovery": {"dns": {}, "awsCloudMap": {}}}),
                "spec.serviceDiscovery: must have exactly one of dns, awsCloudMap; it has dns, awsCloudMap",
            ),
            (
                json!({"serviceDiscovery": {"awsCloudMap": {}}}),
                "spec.serviceDiscovery.awsCloudMap.namespaceName: is required",
            ),
            (dns(json!({})), "spec.serviceDiscovery.dns.hostname: is required"),
            (
                dns(json!({"hostname": "a b"})),
                "spec.serviceDiscovery.dns.hostname: must be a host name or an IP address: the DNS name holds ' '; \
                 only letters, digits, '-' and '_' are allowed between dots",
            ),
            (
                dns(json!({"hostname": "a\u{0}"})),
                "spec.serviceDiscovery.dns.hostname: must not hold control characters",
            ),
            (
                dns(json!({"hostname": "a", "responseType": "ALL"})),
                "spec.serviceDiscovery.dns.responseType: must be one of LOADBALANCER, ENDPOINTS; it is \"ALL\"",
            ),
            (
                json!({"backends": [{}]}),
                "spec.backends[0]: must have exactly one of virtualService; it has none",
            ),
            (
                backend(json!({"virtualServiceName": "a/b"})),
                "spec.backends[0].virtualService.virtualServiceName: must be the name or the ARN of a virtual service",
            ),
            (
                backend(json!({"virtualServiceName": "a", "clientPolicy": {"tls": {"enforce": false}}})),
                "spec.backends[0].virtualService.clientPolicy.tls.validation: is required",
            ),
            (
                json!({"backends": [
                    {"virtualService": {"virtualServiceName": "a"}},
                    {"virtualService": {"virtualServiceName": "a", "clientPolicy": {}}},
                ]}),
                "spec.backends[1]: another backend is a, with another client policy",
            ),
            (
                json!({"logging": {"accessLog": {}}}),
                "spec.logging.accessLog: must have exactly one of file; it has none",
            ),
            (
                json!({"logging": {"accessLog": {"file": {"path": "/var/log/"}}}}),
                "spec.logging.accessLog.file.path: must be a file's path, and what ends in '/' is a folder",
            ),
            (
                json!({"logging": {"accessLog": {"file": {"path": "/dev/stdout", "format": {"json": [
                    {"key": "status", "value": "%RESPONSE_CODE%"}, {"key": "status", "value": "%DURATION%"},
                ]}}}}}),
                "spec.logging.accessLog.file.format.json: has the key \"status\" twice",
            ),
        ],
    );
}

#[test]
fn tls_that_breaks_a_rule_is_refused_by_the_members_path() {
    let certificate = json!({"acm": {"certificateArn": "arn:x"}});
    let with_validation = |validation: Value| {
        with_tls(json!({"mode": "STRICT", "certificate": certificate, "validation": validation}))
    };
    let with_names = |names: Value| {
        with_validation(json!({
            "trust": {"sds": {"secretName": "ROOTCA"}},
            "subjectAlternativeNames": {"match": {"exact": names}},
        }))
    };
    let tls = "spec.listeners[0].tls";
    let names = "spec.listeners[0].tls.validation.subjectAlternativeNames";
    let rows = [
        (with_tls(json!({"certificate": certificate})), format!("{tls}.mode: is required")),
        (
            with_tls(json!({"mode": "strict", "certificate": certificate})),
            format!("{tls}.mode: must be one of STRICT, PERMISSIVE, DISABLED; it is \"strict\""),
        ),
        (with_tls(json!({"mode": "STRICT"})), format!("{tls}.certificate: is required")),
        (
            with_tls(json!({"mode": "STRICT", "certificate": {}})),
            format!("{tls}.certificate: must have exactly one of acm, file, sds; it has none"),
        ),
        (
            with_tls(json!({"mode": "STRICT", "certificate": {"acm": {"certificateArn": "a"}, "file": {}}})),
            format!("{tls}.certificate: must have exactly one of acm, file, sds; it has acm, file"),
        ),
        (
            with_tls(json!({"mode": "STRICT", "certificate": {"file": {}}})),
            format!("{tls}.certificate.file.certificateChain: is required"),
        ),
        (
            with_tls(json!({"mode": "STRICT", "certificate": {"acm": {}}})),
            format!("{tls}.certificate.acm.certificateArn: is required"),
        ),
        (
            with_tls(json!({"mode": "STRICT", "certificate": {"sds": {"secretName": ""}}})),
            format!("{tls}.certificate.sds.secretName: must have 1 or more characters; this one has 0"),
        ),
        (
            with_tls(json!({"mode": "PERMISSIVE", "certificate": {"sds": {"secretName": "ROOTCA"}}})),
            format!(
                "{tls}.certificate.sds.secretName: must be \"default\", \
                 \"spiffe://TRUST-DOMAIN/mesh/m/virtual-node/a\" or a SPIFFE ID of its trust domain that is nobody's own: \
                 the agent holds no certificate \"ROOTCA\", and a proxy that waits for it turns every client away"
            ),
        ),
        (
            with_validation(json!({"trust": {"sds": {"secretName": "default"}}})),
            format!(
                "{tls}.validation.trust.sds.secretName: must be \"ROOTCA\", \"ALL\" or \"spiffe://TRUST-DOMAIN\": the \
                 agent holds no roots \"default\", and a proxy that waits for them trusts nobody"
            ),
        ),
        (with_validation(json!({})), format!("{tls}.validation.trust: is required")),
        (
            with_validation(json!({"trust": {}})),
            format!(
                "{tls}.validation.trust: One type of TLS Validation Context Trust must be set. It must have exactly one \
                 of file, sds; it has none"
            ),
        ),
        (
            with_validation(json!({"trust": {"file": {"certificateChain": ""}}})),
            format!(
                "{tls}.validation.trust.file.certificateChain: must have 1 to 255 characters; this one has 0"
            ),
        ),
        (
            with_validation(json!({"trust": {"file": {"certificateChain": "/certs/"}}})),
            format!(
                "{tls}.validation.trust.file.certificateChain: must be a file's path, and what ends in '/' is a folder"
            ),
        ),
        (with_names(json!([])), format!("{names}.match.exact: must have 1 or more items; this one has 0")),
        (
            with_names(json!([""])),
            format!("{names}.match.exact[0]: must have 1 to 254 characters; this one has 0"),
        ),
        (
            with_names(json!(["a", "*.b"])),
            format!(
                "{names}.match.exact[1]: \"*.b\" is matched exactly, so it must be a domain name or a URI without \
                 wildcard"
            ),
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refused(NODE, &spec), expected, "{spec}");
    }
}
