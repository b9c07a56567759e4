//! Who may open an ADS stream, and what it is fed.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use serde_json::json;
use signet::local::{
    mesh::{Server, put},
    probe::serial_of,
};
use signet_tests::{Outsider, channel, clock, program};
use signet_xds::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use signet_xds::pb::google::protobuf::{Struct, Value, value::Kind};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, Streaming, transport::Channel};

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

/// A node as the agent's bootstrap describes it.
fn node(id: &str) -> Node {
    let place = [("interception", "none"), ("ingressAddress", "127.0.0.21"), ("egressPort", "15001")];
    let fields = place.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect();
    let signet = Value { kind: Some(Kind::StructValue(Struct { fields })) };
    let metadata = Struct { fields: [("signet".to_owned(), signet)].into() };
    Node { id: id.to_owned(), cluster: id.to_owned(), metadata: Some(metadata), ..Node::default() }
}

async fn first_answer(channel: Channel, node_id: &str) -> Result<DiscoveryResponse, Status> {
    let request = DiscoveryRequest {
        node: Some(node(node_id)),
        type_url: CLUSTERS.to_owned(),
        ..DiscoveryRequest::default()
    };
    let requests = tokio_stream::iter([request]).chain(tokio_stream::pending());
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let mut answers = client.stream_aggregated_resources(requests).await?.into_inner();
    let answer = timeout(Duration::from_secs(10), answers.message()).await;
    answer.map_err(|_| Status::deadline_exceeded("no answer"))??.ok_or_else(|| Status::aborted("ended"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_fed_its_own_nodes_configuration_and_no_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    for (name, port) in [("a", 8081), ("b", 8082)] {
        let spec = json!({"listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
                          "serviceDiscovery": {"dns": {"hostname": "127.0.0.21"}}});
        put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": name, "spec": spec})).await?;
    }
    let a = Outsider::join(&server, &client, "m", "a").await?;
    let address = server.grpc_address().to_owned();

    let own =
        first_answer(channel(&address, a.roots(), Some(a.certificate())).await?, "mesh/m/virtualNode/a")
            .await?;
    let bytes: Vec<u8> = own.resources.iter().flat_map(|resource| resource.value.clone()).collect();
    let clusters = String::from_utf8_lossy(&bytes);
    assert!(clusters.contains("cds_ingress_m_a_http_8081"), "{clusters}");
    assert!(!clusters.contains("8082"), "another node's cluster: {clusters}");

    let of_b =
        first_answer(channel(&address, a.roots(), Some(a.certificate())).await?, "mesh/m/virtualNode/b")
            .await;
    assert_eq!(of_b.err().context("a was fed b's configuration")?.code(), Code::PermissionDenied);
    let anonymous = first_answer(channel(&address, a.roots(), None).await?, "mesh/m/virtualNode/a").await;
    assert_eq!(anonymous.err().context("nobody was fed a's configuration")?.code(), Code::Unauthenticated);
    let nonsense = first_answer(channel(&address, a.roots(), Some(a.certificate())).await?, "../a").await;
    assert_eq!(nonsense.err().context("nonsense was fed")?.code(), Code::InvalidArgument);

    let log = server.log();
    assert!(log.contains("mesh/m/virtualNode/b"), "the refusal is logged with its reason: {log}");
    server.stop().await;
    Ok(())
}

/// A stream of a node that has had its first answer.
async fn opened(channel: Channel, node_id: &str) -> Result<Streaming<DiscoveryResponse>> {
    let request = DiscoveryRequest {
        node: Some(node(node_id)),
        type_url: CLUSTERS.to_owned(),
        ..DiscoveryRequest::default()
    };
    let requests = tokio_stream::iter([request]).chain(tokio_stream::pending());
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let mut answers = client.stream_aggregated_resources(requests).await?.into_inner();
    answers.message().await?.context("no first answer")?;
    Ok(answers)
}

/// What a stream ends with.
async fn end(mut answers: Streaming<DiscoveryResponse>) -> Result<Status> {
    let ended = timeout(Duration::from_secs(20), async {
        loop {
            match answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended"),
                Err(status) => return status,
            }
        }
    });
    ended.await.context("the stream goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_node_that_is_deleted_or_revoked_ends_with_the_code_that_app_mesh_had_for_it()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    for name in ["deleted", "revoked", "banned"] {
        put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": name, "spec": {}})).await?;
        let joined = Outsider::join(&server, &client, "m", name).await?;
        let channel = channel(server.grpc_address(), joined.roots(), Some(joined.certificate())).await?;
        let answers = opened(channel, &format!("mesh/m/virtualNode/{name}")).await?;
        let serial = format!("{:0>32}", serial_of(&joined.certificate().chain[0])?);
        let revoke = |subject: String| json!({"subject": subject, "reason": "keyCompromise"});
        let (method, path, body) = match name {
            "deleted" => (Method::DELETE, "/v20190125/meshes/m/virtualNodes/deleted", None),
            "revoked" => (Method::POST, "/v1/ca/revocations", Some(revoke(serial))),
            _ => {
                let id = "spiffe://signet.internal/mesh/m/virtual-node/banned".to_owned();
                (Method::POST, "/v1/ca/revocations", Some(revoke(id)))
            }
        };
        client.call(method, path, body.as_ref()).await?;
        let status = end(answers).await.context(name)?;
        let (code, words) = match name {
            "deleted" => (Code::InvalidArgument, "mesh/m/virtualNode/deleted does not exist"),
            "revoked" => (Code::Unauthenticated, "certificate of mesh/m/virtualNode/revoked was revoked"),
            _ => (Code::PermissionDenied, "mesh/m/virtualNode/banned is banned"),
        };
        assert!(status.code() == code && status.message().contains(words), "{name}: {status:?}");
    }
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_node_ends_when_its_certificate_does_and_the_same_connection_opens_no_other()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    server.kill().await?;
    // The shortest that there are.
    server.add_flags(&["--leaf-lifetime", "10", "--dangerously-short-leaves"]);
    server.restart().await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": "a", "spec": {}})).await?;
    let (a, id) = (Outsider::join(&server, &client, "m", "a").await?, "mesh/m/virtualNode/a");
    let connect = || channel(server.grpc_address(), a.roots(), Some(a.certificate()));
    let connection = connect().await?;
    let stream = opened(connection.clone(), id).await?;
    let ended = end(stream).await?;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert!(ended.message().contains("certificate of mesh/m/virtualNode/a has expired"), "{ended:?}");
    // By the same words, or because the connection has ended meanwhile.
    assert!(first_answer(connection, id).await.is_err(), "a second stream was opened");
    let anew = match connect().await {
        Ok(connection) => first_answer(connection, id).await.map(drop).map_err(Into::into),
        Err(refused) => Err(refused),
    };
    assert!(anew.is_err(), "a connection was made with what has expired");
    server.stop().await;
    Ok(())
}
