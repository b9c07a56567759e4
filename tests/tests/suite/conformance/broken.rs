//! A checker that finds nothing proves nothing: here it judges servers with one fault each.
//!
//! The server is ours; what stands before it alters what passes through.

#![expect(clippy::wildcard_enum_match_arm, reason = "each fault alters one kind of message")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    pin::Pin,
};

use signet_xds::pb::envoy::service::{
    discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
    secret::v3::{
        secret_discovery_service_client::SecretDiscoveryServiceClient,
        secret_discovery_service_server::{SecretDiscoveryService, SecretDiscoveryServiceServer},
    },
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{TcpListenerStream, UnboundedReceiverStream},
};
use tonic::{Request, Response, Status, Streaming, async_trait, transport::Server};

use super::*;

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    TakesAnyNode,
    LetsTheNodeChange,
    ResendsOnAck,
    ResendsOnNack,
    HasOneNonce,
    LosesStaleSubscriptions,
    LosesSubscriptionsOfNacks,
    ForgetsWhatWasRefused,
    KnowsNoUnsubscribe,
    DoesNotRepeat,
    HidesWhatIsMissing,
    SaysThingsTwice,
    DoesNotResume,
    WaitsForNoAnswer,
    CountsVersions,
    TakesUnknownNoncesInSotw,
    HasOtherSecretsOverAds,
}

/// What the middle remembers of one stream.
#[derive(Default)]
struct Memory {
    first: Option<Node>,
    nonces: BTreeMap<String, String>,
    subscribed: BTreeSet<(String, String)>,
    refused: BTreeSet<String>,
    stream: usize,
}

/// Messages of both variants, as far as faults look into them.
trait Asks: Send + Sized + 'static {
    fn alter(self, fault: Fault, memory: &mut Memory) -> Option<Self>;
    /// The type, if it answers a response: `Some(true)` is a NACK.
    fn answer(&self) -> Option<(String, bool)>;
    fn acknowledging(type_url: &str, nonce: &str) -> Option<Self>;
}

trait Says: Clone + Send + 'static {
    fn alter(self, fault: Fault, memory: &mut Memory) -> Option<Self>;
    fn type_url(&self) -> &str;
    fn nonce(&self) -> &str;
}

impl Asks for DiscoveryRequest {
    fn alter(mut self, fault: Fault, memory: &mut Memory) -> Option<Self> {
        let first = memory.first.get_or_insert_with(|| self.node.clone().unwrap_or_default()).clone();
        match fault {
            Fault::TakesAnyNode if self.node.as_ref().is_none_or(|node| node.id.is_empty()) => {
                self.node = Some(Node { id: "anybody".into(), ..Node::default() });
            }
            Fault::LetsTheNodeChange if self.node.is_some() => self.node = Some(first),
            Fault::HasOneNonce | Fault::TakesUnknownNoncesInSotw => {
                self.response_nonce = memory.nonces.get(&self.type_url).cloned().unwrap_or_default();
            }
            Fault::LosesSubscriptionsOfNacks if self.error_detail.is_some() => {
                self.resource_names.truncate(1)
            }
            Fault::WaitsForNoAnswer if !self.response_nonce.is_empty() && self.error_detail.is_none() => {
                return None;
            }
            Fault::ForgetsWhatWasRefused if self.error_detail.is_some() => {
                memory.refused.insert(self.type_url.clone());
            }
            _ => {}
        }
        Some(self)
    }

    fn answer(&self) -> Option<(String, bool)> {
        let answers = !self.response_nonce.is_empty();
        answers.then(|| (self.type_url.clone(), self.error_detail.is_some()))
    }

    fn acknowledging(_: &str, _: &str) -> Option<Self> {
        None
    }
}

impl Asks for DeltaDiscoveryRequest {
    fn alter(mut self, fault: Fault, memory: &mut Memory) -> Option<Self> {
        let first = memory.first.get_or_insert_with(|| self.node.clone().unwrap_or_default()).clone();
        match fault {
            Fault::TakesAnyNode if self.node.as_ref().is_none_or(|node| node.id.is_empty()) => {
                self.node = Some(Node { id: "anybody".into(), ..Node::default() });
            }
            Fault::LetsTheNodeChange if self.node.is_some() => self.node = Some(first),
            Fault::HasOneNonce => {
                self.response_nonce = memory.nonces.get(&self.type_url).cloned().unwrap_or_default();
            }
            Fault::LosesStaleSubscriptions
                if !self.response_nonce.is_empty()
                    && memory.nonces.get(&self.type_url) != Some(&self.response_nonce) =>
            {
                return None;
            }
            Fault::LosesSubscriptionsOfNacks if self.error_detail.is_some() => {
                self.resource_names_subscribe.clear()
            }
            Fault::KnowsNoUnsubscribe => self.resource_names_unsubscribe.clear(),
            Fault::DoesNotRepeat => {
                let kind = self.type_url.clone();
                self.resource_names_subscribe
                    .retain(|name| memory.subscribed.insert((kind.clone(), name.clone())));
            }
            Fault::DoesNotResume => self.initial_resource_versions.clear(),
            Fault::ForgetsWhatWasRefused if self.error_detail.is_some() => {
                memory.refused.insert(self.type_url.clone());
            }
            _ => {}
        }
        Some(self)
    }

    fn answer(&self) -> Option<(String, bool)> {
        let answers = !self.response_nonce.is_empty();
        answers.then(|| (self.type_url.clone(), self.error_detail.is_some()))
    }

    fn acknowledging(type_url: &str, nonce: &str) -> Option<Self> {
        Some(Self { type_url: type_url.into(), response_nonce: nonce.into(), ..Default::default() })
    }
}

impl Says for DiscoveryResponse {
    fn alter(mut self, fault: Fault, memory: &mut Memory) -> Option<Self> {
        memory.nonces.insert(self.type_url.clone(), self.nonce.clone());
        match fault {
            Fault::HasOneNonce => self.nonce = "always-the-same".into(),
            Fault::SaysThingsTwice => self.resources.extend(self.resources.first().cloned()),
            Fault::HasOtherSecretsOverAds if is_of_secrets(&self.type_url) => {
                self.resources.iter_mut().for_each(|secret| secret.value.extend(MORE));
            }
            Fault::CountsVersions => self.version_info = format!("{}-{}", memory.stream, self.version_info),
            Fault::ForgetsWhatWasRefused if memory.refused.contains(&self.type_url) => return None,
            _ => {}
        }
        Some(self)
    }

    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }
}

impl Says for DeltaDiscoveryResponse {
    fn alter(mut self, fault: Fault, memory: &mut Memory) -> Option<Self> {
        memory.nonces.insert(self.type_url.clone(), self.nonce.clone());
        match fault {
            Fault::HasOneNonce => self.nonce = "always-the-same".into(),
            Fault::SaysThingsTwice => self.resources.extend(self.resources.first().cloned()),
            Fault::HasOtherSecretsOverAds if is_of_secrets(&self.type_url) => {
                let values = self.resources.iter_mut().filter_map(|one| one.resource.as_mut());
                values.for_each(|secret| secret.value.extend(MORE));
            }
            Fault::HidesWhatIsMissing => {
                self.removed_resources.clear();
                return (!self.resources.is_empty()).then_some(self);
            }
            Fault::CountsVersions => {
                for resource in &mut self.resources {
                    resource.version = format!("{}-{}", memory.stream, resource.version);
                }
            }
            Fault::ForgetsWhatWasRefused if memory.refused.contains(&self.type_url) => return None,
            _ => {}
        }
        Some(self)
    }

    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }
}

/// A field that no secret has, in bytes.
const MORE: [u8; 2] = [0xf8, 0x01];

fn is_of_secrets(type_url: &str) -> bool {
    type_url == ResourceType::Secret.type_url()
}

/// What stands before the server.
#[derive(Clone)]
struct Middle {
    server: SocketAddr,
    fault: Fault,
    streams: Arc<std::sync::atomic::AtomicUsize>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Middle {
    async fn client(&self) -> Result<AggregatedDiscoveryServiceClient<tonic::transport::Channel>, Status> {
        let client = AggregatedDiscoveryServiceClient::connect(format!("http://{}", self.server)).await;
        client.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn secrets(&self) -> Result<SecretDiscoveryServiceClient<tonic::transport::Channel>, Status> {
        let client = SecretDiscoveryServiceClient::connect(format!("http://{}", self.server)).await;
        client.map_err(|error| Status::unavailable(error.to_string()))
    }

    fn memory(&self) -> Memory {
        let stream = self.streams.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Memory { stream, ..Memory::default() }
    }

    /// Passes everything through, altered.
    fn pump<I: Asks, O: Says>(
        &self,
        mut asked: Streaming<I>,
        to_server: mpsc::UnboundedSender<I>,
        mut said: Streaming<O>,
    ) -> Answers<O> {
        let (fault, mut memory) = (self.fault, self.memory());
        let (to_client, answers) = mpsc::unbounded_channel();
        let mut last: BTreeMap<String, O> = BTreeMap::new();
        // Ends with the streams that it joins.
        #[expect(clippy::disallowed_methods, reason = "a fake server in a test")]
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    request = asked.next() => {
                        let Some(Ok(request)) = request else { return };
                        if let Some((kind, is_nack)) = request.answer() {
                            let resends = if is_nack { fault == Fault::ResendsOnNack } else { fault == Fault::ResendsOnAck };
                            if let Some(response) = last.get(&kind).filter(|_| resends) {
                                to_client.send(Ok(response.clone())).ok();
                            }
                        }
                        if let Some(request) = request.alter(fault, &mut memory) {
                            to_server.send(request).ok();
                        }
                    }
                    response = said.next() => match response {
                        None => return,
                        Some(Err(status)) => {
                            to_client.send(Err(status)).ok();
                            return;
                        }
                        Some(Ok(response)) => {
                            let (kind, nonce) = (response.type_url().to_owned(), response.nonce().to_owned());
                            if fault == Fault::WaitsForNoAnswer && let Some(ack) = I::acknowledging(&kind, &nonce) {
                                to_server.send(ack).ok();
                            }
                            if let Some(response) = response.alter(fault, &mut memory) {
                                last.insert(kind, response.clone());
                                to_client.send(Ok(response)).ok();
                            }
                        }
                    },
                }
            }
        });
        Box::pin(UnboundedReceiverStream::new(answers))
    }
}

#[async_trait]
impl AggregatedDiscoveryService for Middle {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (to_server, requests) = mpsc::unbounded_channel();
        let requests = UnboundedReceiverStream::new(requests);
        let said = self.client().await?.stream_aggregated_resources(requests).await?.into_inner();
        Ok(Response::new(self.pump(request.into_inner(), to_server, said)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (to_server, requests) = mpsc::unbounded_channel();
        let requests = UnboundedReceiverStream::new(requests);
        let said = self.client().await?.delta_aggregated_resources(requests).await?.into_inner();
        Ok(Response::new(self.pump(request.into_inner(), to_server, said)))
    }
}

/// Secrets of their own service pass unaltered.
#[async_trait]
impl SecretDiscoveryService for Middle {
    type StreamSecretsStream = Answers<DiscoveryResponse>;
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let requests = request.into_inner().filter_map(Result::ok);
        let said = self.secrets().await?.stream_secrets(requests).await?.into_inner();
        Ok(Response::new(Box::pin(said)))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let requests = request.into_inner().filter_map(Result::ok);
        let said = self.secrets().await?.delta_secrets(requests).await?.into_inner();
        Ok(Response::new(Box::pin(said)))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

/// Those of these statements that a server with this fault is found to break; of all where none are given.
async fn broken_by(fault: Fault, variant: Variant, suspects: &[u8]) -> Result<BTreeSet<u8>> {
    let inner = InProcess::start(ResourceType::Cluster).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let middle = Middle { server: inner.address, fault, streams: Default::default() };
    let secrets = SecretDiscoveryServiceServer::new(middle.clone());
    let server =
        Server::builder().add_service(AggregatedDiscoveryServiceServer::new(middle)).add_service(secrets);
    let mut tasks = JoinSet::new();
    tasks.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let lane =
        Lane { driver: Some(Arc::new(inner)), ..lane(variant, None, Some(address.to_string())).await? };
    // What stands in the middle queues whatever is not read, which is no fault of the server's.
    const QUEUES: u8 = 30;
    let findings = lane.judge_by(|id| id != QUEUES && (suspects.is_empty() || suspects.contains(&id))).await;
    Ok(findings.iter().filter(|finding| finding.is_fail()).map(|finding| finding.statement.id).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_fault_is_found_out_by_the_statement_about_it() -> Result<()> {
    use Fault::*;
    use Variant::{Delta, Sotw};
    let cases: [(Fault, Variant, &[u8]); 28] = [
        (CountsVersions, Sotw, &[10]),
        (CountsVersions, Delta, &[10, 26]),
        (Nothing, Sotw, &[]),
        (Nothing, Delta, &[]),
        (TakesAnyNode, Sotw, &[1]),
        (TakesAnyNode, Delta, &[1]),
        (LetsTheNodeChange, Sotw, &[2]),
        (LetsTheNodeChange, Delta, &[2]),
        (ResendsOnAck, Sotw, &[7, 11]),
        (ResendsOnAck, Delta, &[7, 11]),
        (ResendsOnNack, Sotw, &[12, 11]),
        (ResendsOnNack, Delta, &[12, 11]),
        (HasOneNonce, Sotw, &[4, 6]),
        (HasOneNonce, Delta, &[4, 6]),
        (TakesUnknownNoncesInSotw, Sotw, &[8]),
        (LosesStaleSubscriptions, Delta, &[9]),
        (LosesSubscriptionsOfNacks, Sotw, &[15]),
        (LosesSubscriptionsOfNacks, Delta, &[15]),
        (ForgetsWhatWasRefused, Sotw, &[13, 16]),
        (ForgetsWhatWasRefused, Delta, &[13, 15, 16]),
        (KnowsNoUnsubscribe, Delta, &[18, 19, 20]),
        (DoesNotRepeat, Delta, &[22]),
        (HidesWhatIsMissing, Delta, &[19, 23, 26, 27]),
        (SaysThingsTwice, Sotw, &[25]),
        (DoesNotResume, Delta, &[26]),
        (WaitsForNoAnswer, Delta, &[14, 27]),
        (HasOtherSecretsOverAds, Sotw, &[34]),
        (HasOtherSecretsOverAds, Delta, &[34]),
    ];
    let mut judged = JoinSet::new();
    for (fault, variant, expected) in cases {
        judged.spawn(async move { (fault, variant, expected, broken_by(fault, variant, expected).await) });
    }
    for (fault, variant, expected, found) in judged.join_all().await {
        let found = found?;
        let missed: Vec<_> = expected.iter().filter(|id| !found.contains(id)).collect();
        assert!(missed.is_empty(), "{fault:?} over {variant:?}: {missed:?} do not show it; found {found:?}");
        assert!(fault != Nothing || found.is_empty(), "a server without a fault is said to break {found:?}");
    }
    Ok(())
}
