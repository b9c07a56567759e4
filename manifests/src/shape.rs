//! The field tree of App Mesh's specs, for spelling it in three ways. Bounds and unions are the model's to judge.

use std::borrow::Cow;

use signet_controlplane::model::key::Kind;

use self::Shape::{Boolean, Integer, List, Name, Object, Text};

/// What a member holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Text,
    Integer,
    Boolean,
    /// The name of another resource, which Kubernetes spells as a reference.
    Name(Kind),
    List(&'static Shape),
    /// Members by the API's names.
    Object(&'static [(&'static str, Shape)]),
}

/// Whose names for members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    Api,
    CloudFormation,
    Kubernetes,
}

impl Spelling {
    /// How a member of the API is called here. Names of other resources have two spellings in Kubernetes, which
    /// [`reference`] gives.
    pub(crate) fn member(self, api: &'static str) -> Cow<'static, str> {
        match (self, api) {
            (Self::Api, _) => api.into(),
            (Self::CloudFormation, "tls" | "acm" | "sds" | "dns" | "http" | "http2" | "grpc" | "tcp") => {
                api.to_uppercase().into()
            }
            (Self::CloudFormation, "awsCloudMap") => "AWSCloudMap".into(),
            (Self::CloudFormation, _) => {
                let mut letters = api.chars();
                letters
                    .next()
                    .into_iter()
                    .flat_map(char::to_uppercase)
                    .chain(letters)
                    .collect::<String>()
                    .into()
            }
            (Self::Kubernetes, "certificateArn") => "certificateARN".into(),
            (Self::Kubernetes, "certificateAuthorityArns") => "certificateAuthorityARNs".into(),
            (Self::Kubernetes, _) => api.into(),
        }
    }
}

/// How Kubernetes refers to a resource: by an object, or by an ARN.
pub(crate) fn reference(kind: Kind) -> (String, String) {
    let base = kind.arn_segment();
    (format!("{base}Ref"), format!("{base}ARN"))
}

/// The spec of a kind.
pub(crate) fn spec(kind: Kind) -> Shape {
    match kind {
        Kind::Mesh => MESH,
        Kind::VirtualNode => VIRTUAL_NODE,
        Kind::VirtualService => VIRTUAL_SERVICE,
        Kind::VirtualRouter => VIRTUAL_ROUTER,
        Kind::Route => ROUTE,
        Kind::VirtualGateway => VIRTUAL_GATEWAY,
        Kind::GatewayRoute => GATEWAY_ROUTE,
    }
}

const MESH: Shape = Object(&[
    ("egressFilter", Object(&[("type", Text)])),
    ("serviceDiscovery", Object(&[("ipPreference", Text)])),
]);

const VIRTUAL_NODE: Shape = Object(&[
    ("listeners", List(&LISTENER)),
    ("serviceDiscovery", SERVICE_DISCOVERY),
    ("backends", List(&Object(&[("virtualService", BACKEND)]))),
    ("backendDefaults", Object(&[("clientPolicy", CLIENT_POLICY)])),
    ("logging", LOGGING),
]);

const VIRTUAL_SERVICE: Shape = Object(&[(
    "provider",
    Object(&[
        ("virtualNode", Object(&[("virtualNodeName", Name(Kind::VirtualNode))])),
        ("virtualRouter", Object(&[("virtualRouterName", Name(Kind::VirtualRouter))])),
    ]),
)]);

const VIRTUAL_ROUTER: Shape = Object(&[("listeners", List(&Object(&[("portMapping", PORT_MAPPING)])))]);

const ROUTE: Shape = Object(&[
    ("priority", Integer),
    ("httpRoute", HTTP_ROUTE),
    ("http2Route", HTTP_ROUTE),
    (
        "tcpRoute",
        Object(&[("match", Object(&[("port", Integer)])), ("action", TARGETS), ("timeout", TCP_TIMEOUT)]),
    ),
    (
        "grpcRoute",
        Object(&[
            (
                "match",
                Object(&[
                    ("serviceName", Text),
                    ("methodName", Text),
                    ("metadata", MATCHED_VALUES),
                    ("port", Integer),
                ]),
            ),
            ("action", TARGETS),
            ("retryPolicy", GRPC_RETRY_POLICY),
            ("timeout", TIMEOUT),
        ]),
    ),
]);

const VIRTUAL_GATEWAY: Shape = Object(&[
    ("listeners", List(&GATEWAY_LISTENER)),
    ("backendDefaults", Object(&[("clientPolicy", CLIENT_POLICY)])),
    ("logging", LOGGING),
]);

const GATEWAY_ROUTE: Shape = Object(&[
    ("priority", Integer),
    ("httpRoute", HTTP_GATEWAY_ROUTE),
    ("http2Route", HTTP_GATEWAY_ROUTE),
    (
        "grpcRoute",
        Object(&[
            (
                "match",
                Object(&[
                    ("serviceName", Text),
                    ("hostname", HOSTNAME_MATCH),
                    ("metadata", MATCHED_VALUES),
                    ("port", Integer),
                ]),
            ),
            (
                "action",
                Object(&[("target", GATEWAY_TARGET), ("rewrite", Object(&[("hostname", HOSTNAME_REWRITE)]))]),
            ),
        ]),
    ),
]);

const LISTENER: Shape = Object(&[
    ("portMapping", PORT_MAPPING),
    ("tls", LISTENER_TLS),
    (
        "connectionPool",
        Object(&[("http", HTTP_POOL), ("http2", HTTP2_POOL), ("grpc", HTTP2_POOL), ("tcp", TCP_POOL)]),
    ),
    ("healthCheck", HEALTH_CHECK),
    (
        "outlierDetection",
        Object(&[
            ("baseEjectionDuration", DURATION),
            ("interval", DURATION),
            ("maxEjectionPercent", Integer),
            ("maxServerErrors", Integer),
        ]),
    ),
    ("timeout", Object(&[("http", TIMEOUT), ("http2", TIMEOUT), ("grpc", TIMEOUT), ("tcp", TCP_TIMEOUT)])),
]);

const GATEWAY_LISTENER: Shape = Object(&[
    ("portMapping", PORT_MAPPING),
    ("tls", LISTENER_TLS),
    ("connectionPool", Object(&[("http", HTTP_POOL), ("http2", HTTP2_POOL), ("grpc", HTTP2_POOL)])),
    ("healthCheck", HEALTH_CHECK),
]);

const HEALTH_CHECK: Shape = Object(&[
    ("healthyThreshold", Integer),
    ("intervalMillis", Integer),
    ("path", Text),
    ("port", Integer),
    ("protocol", Text),
    ("timeoutMillis", Integer),
    ("unhealthyThreshold", Integer),
]);

const HTTP_POOL: Shape = Object(&[("maxConnections", Integer), ("maxPendingRequests", Integer)]);
const HTTP2_POOL: Shape = Object(&[("maxRequests", Integer)]);
const TCP_POOL: Shape = Object(&[("maxConnections", Integer)]);

const SERVICE_DISCOVERY: Shape = Object(&[
    (
        "awsCloudMap",
        Object(&[
            ("namespaceName", Text),
            ("serviceName", Text),
            ("attributes", List(&Object(&[("key", Text), ("value", Text)]))),
            ("ipPreference", Text),
        ]),
    ),
    ("dns", Object(&[("hostname", Text), ("responseType", Text), ("ipPreference", Text)])),
]);

const BACKEND: Shape =
    Object(&[("virtualServiceName", Name(Kind::VirtualService)), ("clientPolicy", CLIENT_POLICY)]);

const LISTENER_TLS: Shape = Object(&[
    ("mode", Text),
    (
        "certificate",
        Object(&[("acm", Object(&[("certificateArn", Text)])), ("file", FILE_CERTIFICATE), ("sds", SECRET)]),
    ),
    (
        "validation",
        Object(&[
            ("subjectAlternativeNames", ALTERNATIVE_NAMES),
            ("trust", Object(&[("file", FILE_TRUST), ("sds", SECRET)])),
        ]),
    ),
]);

const CLIENT_POLICY: Shape = Object(&[(
    "tls",
    Object(&[
        ("certificate", Object(&[("file", FILE_CERTIFICATE), ("sds", SECRET)])),
        ("enforce", Boolean),
        ("ports", List(&Integer)),
        (
            "validation",
            Object(&[
                ("subjectAlternativeNames", ALTERNATIVE_NAMES),
                (
                    "trust",
                    Object(&[
                        ("acm", Object(&[("certificateAuthorityArns", List(&Text))])),
                        ("file", FILE_TRUST),
                        ("sds", SECRET),
                    ]),
                ),
            ]),
        ),
    ]),
)]);

const FILE_CERTIFICATE: Shape = Object(&[("certificateChain", Text), ("privateKey", Text)]);
const FILE_TRUST: Shape = Object(&[("certificateChain", Text)]);
const SECRET: Shape = Object(&[("secretName", Text)]);
const ALTERNATIVE_NAMES: Shape = Object(&[("match", Object(&[("exact", List(&Text))]))]);

const LOGGING: Shape = Object(&[(
    "accessLog",
    Object(&[(
        "file",
        Object(&[
            ("path", Text),
            ("format", Object(&[("text", Text), ("json", List(&Object(&[("key", Text), ("value", Text)])))])),
        ]),
    )]),
)]);

const HTTP_ROUTE: Shape = Object(&[
    (
        "match",
        Object(&[
            ("headers", MATCHED_VALUES),
            ("method", Text),
            ("path", PATH_MATCH),
            ("port", Integer),
            ("prefix", Text),
            ("queryParameters", QUERY_PARAMETERS),
            ("scheme", Text),
        ]),
    ),
    ("action", TARGETS),
    ("retryPolicy", RETRY_POLICY),
    ("timeout", TIMEOUT),
]);

const HTTP_GATEWAY_ROUTE: Shape = Object(&[
    (
        "match",
        Object(&[
            ("headers", MATCHED_VALUES),
            ("hostname", HOSTNAME_MATCH),
            ("method", Text),
            ("path", PATH_MATCH),
            ("port", Integer),
            ("prefix", Text),
            ("queryParameters", QUERY_PARAMETERS),
        ]),
    ),
    (
        "action",
        Object(&[
            ("target", GATEWAY_TARGET),
            (
                "rewrite",
                Object(&[
                    ("hostname", HOSTNAME_REWRITE),
                    ("path", Object(&[("exact", Text)])),
                    ("prefix", Object(&[("defaultPrefix", Text), ("value", Text)])),
                ]),
            ),
        ]),
    ),
]);

const GATEWAY_TARGET: Shape = Object(&[
    ("port", Integer),
    ("virtualService", Object(&[("virtualServiceName", Name(Kind::VirtualService))])),
]);

const HOSTNAME_MATCH: Shape = Object(&[("exact", Text), ("suffix", Text)]);
const HOSTNAME_REWRITE: Shape = Object(&[("defaultTargetHostname", Text)]);
const PATH_MATCH: Shape = Object(&[("exact", Text), ("regex", Text)]);

const QUERY_PARAMETERS: Shape = List(&Object(&[("name", Text), ("match", Object(&[("exact", Text)]))]));

/// Headers and gRPC metadata.
const MATCHED_VALUES: Shape = List(&Object(&[
    ("name", Text),
    ("invert", Boolean),
    (
        "match",
        Object(&[
            ("exact", Text),
            ("prefix", Text),
            ("suffix", Text),
            ("regex", Text),
            ("range", Object(&[("start", Integer), ("end", Integer)])),
        ]),
    ),
]));

const TARGETS: Shape = Object(&[(
    "weightedTargets",
    List(&Object(&[("port", Integer), ("virtualNode", Name(Kind::VirtualNode)), ("weight", Integer)])),
)]);

const RETRY_POLICY: Shape = Object(&[
    ("httpRetryEvents", List(&Text)),
    ("tcpRetryEvents", List(&Text)),
    ("maxRetries", Integer),
    ("perRetryTimeout", DURATION),
]);

const GRPC_RETRY_POLICY: Shape = Object(&[
    ("grpcRetryEvents", List(&Text)),
    ("httpRetryEvents", List(&Text)),
    ("tcpRetryEvents", List(&Text)),
    ("maxRetries", Integer),
    ("perRetryTimeout", DURATION),
]);

const TIMEOUT: Shape = Object(&[("idle", DURATION), ("perRequest", DURATION)]);
const TCP_TIMEOUT: Shape = Object(&[("idle", DURATION)]);
const PORT_MAPPING: Shape = Object(&[("port", Integer), ("protocol", Text)]);
const DURATION: Shape = Object(&[("unit", Text), ("value", Integer)]);

#[cfg(test)]
mod tests;
