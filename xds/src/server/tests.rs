//! A scripted client over gRPC on an in-memory connection.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
};

use ResourceType::{Cluster, Secret};
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::{
    io::duplex,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Streaming,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Server},
};
use tower::service_fn;

use super::*;
use crate::{
    pb::{
        envoy::service::{
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
                aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as AdsClient,
            },
            secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient as SdsClient,
        },
        google::rpc,
    },
    resource::ResourceType,
    session::tests::snapshot,
};

/// What the transport of the tests knows of the peer.
#[derive(Clone, Debug, PartialEq)]
struct Peer(&'static str);

/// What an observer saw; `None` when it was dropped.
type Seen = (String, Option<Status>);

struct Fake {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    opened: Mutex<Vec<(Option<Peer>, String)>>,
    seen: mpsc::UnboundedSender<Seen>,
}

struct Recorder(String, mpsc::UnboundedSender<Seen>);

impl Observer for Recorder {
    fn changed(&mut self, status: &Status) {
        self.1.send((self.0.clone(), Some(status.clone()))).ok();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.1.send((self.0.clone(), None)).ok();
    }
}

impl Source for Fake {
    fn open(&self, extensions: &Extensions, node: Option<&Node>) -> Result<Feed, Refusal> {
        let id = node.map(|node| node.id.clone()).unwrap_or_default();
        self.opened.lock().unwrap().push((extensions.get().cloned(), id.clone()));
        if id == "stranger" {
            return Err(Refusal::permission_denied("not you"));
        }
        let observer = Box::new(Recorder(id, self.seen.clone()));
        Ok(Feed { snapshots: self.snapshots.clone(), observer, end: Box::pin(pending()) })
    }
}

struct Harness {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    seen: mpsc::UnboundedReceiver<Seen>,
    source: Arc<Fake>,
    shutdown: CancellationToken,
    channel: Channel,
    _tasks: JoinSet<()>,
}

impl Harness {
    async fn start(first: Option<&str>) -> Self {
        let (snapshots, receiver) = watch::channel(first.map(|text| Arc::new(snapshot(text))));
        let (sender, seen) = mpsc::unbounded_channel();
        let source = Arc::new(Fake { snapshots: receiver, opened: Mutex::default(), seen: sender });
        let shutdown = CancellationToken::new();
        let (ours, theirs) = duplex(16 << 10);
        let as_peer = |mut request: Request<()>| {
            request.extensions_mut().insert(Peer("from the transport"));
            Ok(request)
        };
        let server = Server::builder()
            .add_service(InterceptedService::new(ads(source.clone(), shutdown.clone()), as_peer))
            .add_service(sds(source.clone(), shutdown.clone()))
            .serve_with_incoming(tokio_stream::once(Ok::<_, io::Error>(theirs)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.await.unwrap() });
        let mut ours = Some(ours);
        let connector = service_fn(move |_| {
            let connection = ours.take().map(TokioIo::new).ok_or(io::Error::other("only one connection"));
            async move { connection }
        });
        let channel = Endpoint::from_static("http://test")
            .initial_stream_window_size(64 << 10)
            .connect_with_connector(connector)
            .await
            .unwrap();
        Self { snapshots, seen, source, shutdown, channel, _tasks: tasks }
    }

    fn publish(&self, text: &str) {
        self.snapshots.send_replace(Some(Arc::new(snapshot(text))));
    }

    async fn sotw(&self) -> Wire<DiscoveryRequest, DiscoveryResponse> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(receiver);
        let responses = AdsClient::new(self.channel.clone()).stream_aggregated_resources(stream).await;
        Wire { requests, responses: responses.unwrap().into_inner() }
    }

    async fn delta(&self) -> Wire<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(receiver);
        let responses = AdsClient::new(self.channel.clone()).delta_aggregated_resources(stream).await;
        Wire { requests, responses: responses.unwrap().into_inner() }
    }

    /// Waits until an observer has seen a status of which this holds.
    async fn seen(&mut self, node: &str, holds: impl Fn(&Status) -> bool) {
        loop {
            let (id, status) = self.seen.recv().await.expect("the harness goes on");
            if id == node && status.as_ref().is_some_and(&holds) {
                return;
            }
        }
    }
}

struct Wire<I, O> {
    requests: mpsc::UnboundedSender<I>,
    responses: Streaming<O>,
}

impl<I, O> Wire<I, O> {
    async fn next(&mut self) -> O {
        self.responses.next().await.expect("the stream goes on").expect("a response")
    }

    async fn end(&mut self) -> Code {
        match timeout(PATIENCE * 4, self.responses.next()).await.expect("an end in time") {
            None => Code::Ok,
            Some(Err(status)) => status.code(),
            Some(Ok(_)) => panic!("a response instead of the end"),
        }
    }
}

fn sotw_request(kind: ResourceType, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(Node { id: "n".into(), ..Node::default() }),
        type_url: kind.type_url().into(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn delta_request(node: &str, kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: node.into(), ..Node::default() }),
        type_url: kind.type_url().into(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn version(text: &str, kind: ResourceType, name: &str) -> String {
    snapshot(text).get(kind, name).unwrap().version().to_owned()
}

#[tokio::test]
async fn a_sotw_stream_carries_resources_pushes_and_acknowledgements() {
    let mut harness = Harness::start(Some("C a@1 b@1")).await;
    let mut wire = harness.sotw().await;
    wire.requests.send(sotw_request(Cluster, &[])).unwrap();
    let response = wire.next().await;
    assert_eq!(response.type_url, Cluster.type_url());
    assert!(response.resources.iter().all(|any| any.type_url == Cluster.type_url()));
    assert_eq!(response.resources.len(), 2);
    let ack = DiscoveryRequest { response_nonce: response.nonce.clone(), ..sotw_request(Cluster, &[]) };
    wire.requests.send(ack).unwrap();
    let accepted = version("C a@1", Cluster, "a");
    harness.seen("n", |status| status.accepted(Cluster, "a") == Some(&accepted)).await;
    harness.publish("C a@2 b@1");
    let pushed = wire.next().await;
    assert_ne!(pushed.version_info, response.version_info);
    assert_ne!(pushed.nonce, response.nonce);
}

#[tokio::test]
async fn a_delta_stream_carries_versions_removals_and_refusals() {
    let mut harness = Harness::start(Some("S x@1")).await;
    let mut wire = harness.delta().await;
    wire.requests.send(delta_request("n", Secret, &["x", "y"])).unwrap();
    let response = wire.next().await;
    let [resource] = &response.resources[..] else { panic!("{response:?}") };
    assert_eq!((&*resource.name, &*resource.version), ("x", &*version("S x@1", Secret, "x")));
    assert_eq!(response.removed_resources, ["y"]);
    let error_detail = Some(rpc::Status { message: "bad key".into(), ..Default::default() });
    let nack = DeltaDiscoveryRequest {
        node: None,
        response_nonce: response.nonce,
        error_detail,
        ..delta_request("", Secret, &[])
    };
    wire.requests.send(nack).unwrap();
    harness
        .seen("n", |status| status.rejections().any(|(_, name, it)| name == "x" && &*it.reason == "bad key"))
        .await;
    harness.publish("S x@2");
    assert_eq!(wire.next().await.resources.len(), 1);
}

#[tokio::test]
async fn the_source_is_given_what_the_transport_knows_and_the_node_says() {
    let harness = Harness::start(Some("C a@1")).await;
    let mut wire = harness.delta().await;
    wire.requests.send(delta_request("n", Cluster, &[])).unwrap();
    wire.next().await;
    let opened = harness.source.opened.lock().unwrap().clone();
    assert_eq!(opened, [(Some(Peer("from the transport")), "n".to_owned())]);
}

#[tokio::test]
async fn a_source_may_refuse_with_a_status_of_its_own() {
    let harness = Harness::start(Some("C a@1")).await;
    let mut wire = harness.delta().await;
    wire.requests.send(delta_request("stranger", Cluster, &[])).unwrap();
    assert_eq!(wire.end().await, Code::PermissionDenied);
}

#[tokio::test]
async fn a_broken_protocol_ends_its_own_stream_only() {
    let harness = Harness::start(Some("C a@1; S x@1")).await;
    let mut other = harness.delta().await;
    other.requests.send(delta_request("n", Secret, &["x"])).unwrap();
    other.next().await;
    let mut sotw = harness.sotw().await;
    sotw.requests.send(DiscoveryRequest { node: None, ..sotw_request(Cluster, &[]) }).unwrap();
    assert_eq!(sotw.end().await, Code::InvalidArgument);
    let mut delta = harness.delta().await;
    delta.requests.send(delta_request("n", Cluster, &["bad\0name"])).unwrap();
    assert_eq!(delta.end().await, Code::InvalidArgument);
    harness.publish("C a@1; S x@1 y@1");
    other.requests.send(delta_request("n", Secret, &["y"])).unwrap();
    assert_eq!(other.next().await.resources.len(), 1);
    assert_eq!(harness.source.opened.lock().unwrap().len(), 1, "nothing is opened for a bad first request");
}

#[tokio::test]
async fn requests_are_held_until_there_is_a_snapshot() {
    let mut harness = Harness::start(None).await;
    let mut wire = harness.delta().await;
    wire.requests.send(delta_request("n", Cluster, &[])).unwrap();
    harness.seen("n", |status| status.is_subscribed(Cluster)).await;
    harness.publish("C a@1");
    assert_eq!(wire.next().await.resources.len(), 1);
}

#[tokio::test]
async fn a_stream_ends_retriably_when_its_source_does() {
    for first in [None, Some("C a@1")] {
        let mut harness = Harness::start(first).await;
        let mut wire = harness.delta().await;
        wire.requests.send(delta_request("n", Cluster, &[])).unwrap();
        harness.seen("n", |status| status.is_subscribed(Cluster)).await;
        if first.is_some() {
            wire.next().await;
        }
        drop(harness.snapshots);
        assert_eq!(wire.end().await, Code::Unavailable);
    }
}

#[tokio::test]
async fn a_stream_ends_retriably_at_shutdown_asked_or_not() {
    let mut harness = Harness::start(Some("C a@1")).await;
    let mut silent = harness.sotw().await;
    let mut wire = harness.delta().await;
    wire.requests.send(delta_request("n", Cluster, &[])).unwrap();
    wire.next().await;
    harness.shutdown.cancel();
    assert_eq!(wire.end().await, Code::Unavailable);
    assert_eq!(silent.end().await, Code::Unavailable);
    while harness.seen.recv().await.is_some_and(|(_, status)| status.is_some()) {}
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_request_ends_after_a_while_and_one_with_a_request_does_not() {
    let harness = Harness::start(Some("C a@1")).await;
    let mut silent = harness.sotw().await;
    let mut asked = harness.delta().await;
    asked.requests.send(delta_request("n", Cluster, &[])).unwrap();
    asked.next().await;
    assert_eq!(silent.end().await, Code::DeadlineExceeded);
    tokio::time::advance(PATIENCE * 10).await;
    asked.requests.send(delta_request("n", Cluster, &["a"])).unwrap();
    asked.next().await;
}

#[tokio::test]
async fn the_observer_goes_when_the_client_does() {
    let mut harness = Harness::start(Some("C a@1")).await;
    let mut wire = harness.delta().await;
    wire.requests.send(delta_request("n", Cluster, &[])).unwrap();
    wire.next().await;
    drop(wire);
    while harness.seen.recv().await.is_some_and(|(_, status)| status.is_some()) {}
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_is_computed_nothing() {
    let big = format!("S x@{}; C a@1", "0".repeat(256 << 10));
    let mut harness = Harness::start(Some(&big)).await;
    let slow = harness.delta().await;
    for _ in 0..200 {
        slow.requests.send(delta_request("slow", Secret, &["x"])).unwrap();
    }
    harness.seen("slow", |status| status.resource(Secret, "x").is_some()).await;
    let mut quick = harness.delta().await;
    for _ in 0..200 {
        quick.requests.send(delta_request("quick", Cluster, &["a"])).unwrap();
        quick.next().await;
    }
    let mut updates = 0;
    while let Ok((node, _)) = harness.seen.try_recv() {
        updates += usize::from(node == "slow");
    }
    // The first response is on its way, the second waits for it to be read.
    assert!(updates <= 4, "200 requests would be 400 updates, {updates} seen");
}

#[tokio::test]
async fn sds_streams_serve_secrets_and_nothing_else() {
    let harness = Harness::start(Some("S x@1; C a@1")).await;
    let mut client = SdsClient::new(harness.channel.clone());
    // Neither a node nor a type is needed here.
    let request = DiscoveryRequest { node: None, type_url: String::new(), ..sotw_request(Secret, &["x"]) };
    let mut responses = client.stream_secrets(tokio_stream::iter([request])).await.unwrap().into_inner();
    assert_eq!(responses.next().await.unwrap().unwrap().resources.len(), 1);
    let request = delta_request("n", Secret, &["x"]);
    let mut responses = client.delta_secrets(tokio_stream::iter([request])).await.unwrap().into_inner();
    assert_eq!(responses.next().await.unwrap().unwrap().resources.len(), 1);
    let request = sotw_request(Cluster, &[]);
    let mut responses = client.stream_secrets(tokio_stream::iter([request])).await.unwrap().into_inner();
    assert_eq!(responses.next().await.unwrap().unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_fetch_is_answered_once() {
    let harness = Harness::start(Some("S x@1")).await;
    let mut client = SdsClient::new(harness.channel.clone());
    let answer = client.fetch_secrets(sotw_request(Secret, &["x", "y"])).await.unwrap().into_inner();
    assert_eq!(answer.resources.len(), 1);
    assert!(!answer.version_info.is_empty());
    for (request, code) in [
        (sotw_request(Secret, &["y"]), Code::NotFound),
        (sotw_request(Cluster, &["y"]), Code::InvalidArgument),
    ] {
        assert_eq!(client.fetch_secrets(request).await.unwrap_err().code(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_a_snapshot_but_not_for_ever() {
    let mut harness = Harness::start(None).await;
    let mut client = SdsClient::new(harness.channel.clone());
    assert_eq!(
        client.fetch_secrets(sotw_request(Secret, &["x"])).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
    while harness.seen.try_recv().is_ok() {}
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.fetch_secrets(sotw_request(Secret, &["x"])).await });
    while harness.source.opened.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    harness.publish("S x@1");
    assert_eq!(tasks.join_next().await.unwrap().unwrap().unwrap().into_inner().resources.len(), 1);
}

#[tokio::test]
async fn a_call_of_another_service_or_of_no_method_is_not_answered() {
    let harness = Harness::start(Some("S a@1")).await;
    let secrets = sds(harness.source.clone(), harness.shutdown.clone());
    let status = |path: &str| {
        let call =
            http::Request::builder().uri(path).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let response = secrets.answer(call);
        let status =
            response.headers().get(Refusal::GRPC_STATUS).map(|code| code.to_str().unwrap().to_owned());
        assert_eq!(http_body::Body::is_end_stream(response.body()), status.is_some(), "{path}");
        status
    };
    let secrets = "/envoy.service.secret.v3.SecretDiscoveryService";
    assert_eq!(status(&format!("{secrets}/StreamSecrets")), None, "the stream is open");
    let unimplemented = Some(Code::Unimplemented as i32).map(|code| code.to_string());
    for path in [
        format!("{secrets}/StreamClusters"),
        format!("{secrets}Two/StreamSecrets"),
        format!("/of{secrets}/StreamSecrets"),
        secrets.to_owned(),
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamSecrets".to_owned(),
        "/".to_owned(),
    ] {
        assert_eq!(status(&path), unimplemented, "{path}");
    }
}
