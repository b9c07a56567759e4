use std::{collections::BTreeSet, path::Path, process::Command};

use super::*;

/// Prints every leaf of the seven specs with its type, and every structure without members.
const WALK: &str = r"
import botocore.session
model = botocore.session.get_session().get_service_model('appmesh')
def walk(shape, path):
    if shape.type_name == 'structure' and shape.members:
        for name, member in shape.members.items():
            walk(member, path + '.' + name)
    elif shape.type_name == 'list':
        walk(shape.member, path + '[]')
    else:
        print(path, shape.type_name)
for kind in 'Mesh VirtualNode VirtualService VirtualRouter Route VirtualGateway GatewayRoute'.split():
    walk(model.shape_for(kind + 'Spec'), kind)
";

fn leaves(path: &str, shape: &Shape, found: &mut BTreeSet<String>) {
    let type_name = match shape {
        Text | Name(_) => "string",
        Integer => "integer",
        Boolean => "boolean",
        List(item) => return leaves(&format!("{path}[]"), item, found),
        Object(members) => {
            members.iter().for_each(|(name, shape)| leaves(&format!("{path}.{name}"), shape, found));
            return;
        }
    };
    found.insert(format!("{path} {type_name}"));
}

#[test]
fn the_tree_has_every_field_of_botocores_model_with_its_type_and_no_other() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv/bin/python");
    assert!(python.exists(), "{} is not there; `cargo xtask setup` installs it", python.display());
    let output = Command::new(python).args(["-c", WALK]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let walked = String::from_utf8(output.stdout).unwrap().replace(" long", " integer");
    let expected: BTreeSet<String> = walked.lines().map(str::to_owned).collect();
    assert!(expected.len() > 200, "the walk is broken: {expected:?}");
    let mut found = BTreeSet::new();
    Kind::ALL.into_iter().for_each(|kind| leaves(kind.as_str(), &spec(kind), &mut found));
    let missing: Vec<_> = expected.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:#?}, unknown: {unknown:#?}");
}

#[test]
fn cloudformation_and_kubernetes_spell_acronyms_their_own_way() {
    let spelled = |api| (Spelling::CloudFormation.member(api), Spelling::Kubernetes.member(api));
    for (api, cloudformation, kubernetes) in [
        ("tls", "TLS", "tls"),
        ("acm", "ACM", "acm"),
        ("sds", "SDS", "sds"),
        ("dns", "DNS", "dns"),
        ("awsCloudMap", "AWSCloudMap", "awsCloudMap"),
        ("http", "HTTP", "http"),
        ("http2", "HTTP2", "http2"),
        ("grpc", "GRPC", "grpc"),
        ("tcp", "TCP", "tcp"),
        ("httpRoute", "HttpRoute", "httpRoute"),
        ("http2Route", "Http2Route", "http2Route"),
        ("grpcRoute", "GrpcRoute", "grpcRoute"),
        ("tcpRoute", "TcpRoute", "tcpRoute"),
        ("hostname", "Hostname", "hostname"),
        ("ipPreference", "IpPreference", "ipPreference"),
        ("certificateArn", "CertificateArn", "certificateARN"),
        ("certificateAuthorityArns", "CertificateAuthorityArns", "certificateAuthorityARNs"),
        ("tcpRetryEvents", "TcpRetryEvents", "tcpRetryEvents"),
    ] {
        assert_eq!(spelled(api), (cloudformation.into(), kubernetes.into()), "{api}");
    }
}
