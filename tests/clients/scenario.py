"""The life of one mesh of every kind of resource, as calls of the 38 operations.

Each step is an operation of botocore's model and its parameters. `boto.py` and `cli.py` walk through them with
their own eyes on the answers.
"""

ACCOUNT = "000000000000"
ARN = f"arn:aws:appmesh:us-east-1:{ACCOUNT}:"
MESH = "clients"
SECONDS = {"unit": "s", "value": 20}


def file_tls(mode):
    return {
        "mode": mode,
        "certificate": {"file": {"certificateChain": "/certs/chain.pem", "privateKey": "/certs/key.pem"}},
        "validation": {
            "trust": {"file": {"certificateChain": "/certs/ca.pem"}},
            "subjectAlternativeNames": {"match": {"exact": ["a.clients.local", "b.clients.local"]}},
        },
    }


CLIENT_POLICY = {
    "tls": {
        "enforce": True,
        "ports": [8080],
        "certificate": {"sds": {"secretName": "default"}},
        "validation": {
            "trust": {"sds": {"secretName": "ROOTCA"}},
            "subjectAlternativeNames": {"match": {"exact": ["b.clients.local"]}},
        },
    }
}

NODE = {
    "listeners": [
        {
            "portMapping": {"port": 8080, "protocol": "http"},
            "tls": file_tls("PERMISSIVE"),
            "timeout": {"http": {"idle": SECONDS, "perRequest": {"unit": "ms", "value": 1500}}},
            "connectionPool": {"http": {"maxConnections": 100, "maxPendingRequests": 10}},
            "outlierDetection": {
                "baseEjectionDuration": SECONDS,
                "interval": SECONDS,
                "maxEjectionPercent": 50,
                "maxServerErrors": 5,
            },
            "healthCheck": {
                "protocol": "http",
                "path": "/ping",
                "port": 8080,
                "intervalMillis": 5000,
                "timeoutMillis": 2000,
                "healthyThreshold": 2,
                "unhealthyThreshold": 3,
            },
        }
    ],
    "serviceDiscovery": {
        "awsCloudMap": {
            "namespaceName": "clients.local",
            "serviceName": "a",
            "attributes": [{"key": "stage", "value": "prod"}],
            "ipPreference": "IPv4_ONLY",
        }
    },
    "backends": [{"virtualService": {"virtualServiceName": "b.clients.local", "clientPolicy": CLIENT_POLICY}}],
    "backendDefaults": {"clientPolicy": CLIENT_POLICY},
    "logging": {"accessLog": {"file": {"path": "/dev/stdout", "format": {"text": "%START_TIME% %PROTOCOL%\n"}}}},
}
PLAIN_NODE = {
    "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
    "serviceDiscovery": {"dns": {"hostname": "b.clients.local", "responseType": "ENDPOINTS"}},
    "backends": [],
}
ROUTER = {"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]}
ROUTE = {
    "priority": 7,
    "httpRoute": {
        "match": {
            "prefix": "/",
            "method": "GET",
            "port": 8080,
            "scheme": "http",
            "headers": [
                {"name": "x-a", "match": {"exact": "1"}},
                {"name": "x-b", "invert": True, "match": {"range": {"start": 1, "end": 9}}},
                {"name": "x-c", "match": {"regex": "a.*"}},
                {"name": "x-d"},
            ],
            "queryParameters": [{"name": "q", "match": {"exact": "v"}}, {"name": "r"}],
        },
        "action": {
            "weightedTargets": [
                {"virtualNode": "a", "weight": 90, "port": 8080},
                {"virtualNode": "b", "weight": 10},
            ]
        },
        "retryPolicy": {
            "maxRetries": 3,
            "perRetryTimeout": {"unit": "ms", "value": 2000},
            "httpRetryEvents": ["server-error", "gateway-error"],
            "tcpRetryEvents": ["connection-error"],
        },
        "timeout": {"idle": SECONDS, "perRequest": SECONDS},
    },
}
GATEWAY = {
    "listeners": [
        {
            "portMapping": {"port": 9080, "protocol": "http"},
            "tls": {"mode": "DISABLED", "certificate": {"sds": {"secretName": "default"}}},
            "connectionPool": {"http": {"maxConnections": 50}},
            "healthCheck": {
                "protocol": "http",
                "path": "/",
                "port": 9080,
                "intervalMillis": 5000,
                "timeoutMillis": 2000,
                "healthyThreshold": 2,
                "unhealthyThreshold": 2,
            },
        }
    ],
    "backendDefaults": {"clientPolicy": CLIENT_POLICY},
    "logging": {
        "accessLog": {
            "file": {"path": "/dev/stdout", "format": {"json": [{"key": "method", "value": "%REQ(:METHOD)%"}]}}
        }
    },
}
GATEWAY_ROUTE = {
    "priority": 3,
    "httpRoute": {
        "match": {
            "prefix": "/shop/",
            "method": "POST",
            "hostname": {"suffix": ".example.com"},
            "headers": [{"name": "x-a", "match": {"prefix": "v"}}],
        },
        "action": {
            "target": {"virtualService": {"virtualServiceName": "b.clients.local"}, "port": 8080},
            "rewrite": {"prefix": {"value": "/"}, "hostname": {"defaultTargetHostname": "DISABLED"}},
        },
    },
}


def provider(kind):
    name = {"virtualRouter": "virtualRouterName", "virtualNode": "virtualNodeName"}[kind]
    return {"provider": {kind: {name: "r" if kind == "virtualRouter" else "b"}}}


# Kind, the names of one of it besides the mesh's, its spec, its spec after an update, the end of its ARN.
RESOURCES = [
    ("Mesh", {}, {"egressFilter": {"type": "ALLOW_ALL"}, "serviceDiscovery": {"ipPreference": "IPv4_PREFERRED"}}, {}, ""),
    ("VirtualNode", {"virtualNodeName": "a"}, NODE, PLAIN_NODE, "/virtualNode/a"),
    ("VirtualNode", {"virtualNodeName": "b"}, PLAIN_NODE, NODE, "/virtualNode/b"),
    ("VirtualRouter", {"virtualRouterName": "r"}, ROUTER, ROUTER, "/virtualRouter/r"),
    ("Route", {"virtualRouterName": "r", "routeName": "x"}, ROUTE, {**ROUTE, "priority": 8}, "/virtualRouter/r/route/x"),
    (
        "VirtualService",
        {"virtualServiceName": "b.clients.local"},
        provider("virtualRouter"),
        provider("virtualNode"),
        "/virtualService/b.clients.local",
    ),
    ("VirtualGateway", {"virtualGatewayName": "g"}, GATEWAY, {"listeners": GATEWAY["listeners"]}, "/virtualGateway/g"),
    (
        "GatewayRoute",
        {"virtualGatewayName": "g", "gatewayRouteName": "y"},
        GATEWAY_ROUTE,
        {**GATEWAY_ROUTE, "priority": 0},
        "/virtualGateway/g/gatewayRoute/y",
    ),
]
TAGS = [{"key": "team", "value": "shop"}, {"key": "empty", "value": ""}]


def plural(kind):
    return "Meshes" if kind == "Mesh" else f"{kind}s"


def parents(kind, names):
    """The names that a list of the kind is asked with."""
    own = kind[0].lower() + kind[1:] + "Name"
    return {} if kind == "Mesh" else {"meshName": MESH, **{key: value for key, value in names.items() if key != own}}


def steps():
    """Operation and parameters, in an order in which each succeeds."""
    for kind, names, spec, _, _ in RESOURCES:
        yield f"Create{kind}", {"meshName": MESH, **names, "spec": spec, "tags": TAGS[:1]}
    for kind, names, _, update, end in RESOURCES:
        item = {"meshName": MESH, **names}
        arn = f"{ARN}mesh/{MESH}{end}"
        yield f"Describe{kind}", item
        yield f"Update{kind}", {**item, "spec": update}
        yield f"List{plural(kind)}", parents(kind, names)
        yield "TagResource", {"resourceArn": arn, "tags": TAGS}
        yield "ListTagsForResource", {"resourceArn": arn}
        yield "UntagResource", {"resourceArn": arn, "tagKeys": ["team", "absent"]}
    # References end before what they refer to.
    for kind in ["GatewayRoute", "VirtualGateway", "VirtualService", "Route", "VirtualRouter", "VirtualNode", "Mesh"]:
        for other, names, *_ in RESOURCES:
            if other == kind:
                yield f"Delete{kind}", {"meshName": MESH, **names}
