//! The scripted client: one stream, of either variant, on any discovery service.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use prost::Message;
use signet_xds::{
    ResourceType,
    pb::{
        envoy::{
            config::{
                cluster::v3::Cluster, core::v3::Node, endpoint::v3::ClusterLoadAssignment,
                listener::v3::Listener, route::v3::RouteConfiguration,
            },
            extensions::transport_sockets::tls::v3::Secret,
            service::discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            },
        },
        google::{protobuf::Any, rpc},
    },
    server::{Aggregated, Api, Clusters, Endpoints, Listeners, Routes, Secrets},
    session::Variant,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use super::{Lane, PATIENCE};

/// One request of either variant.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) node: Option<Node>,
    pub(super) type_url: String,
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) error: Option<String>,
    /// SotW: all names. Delta: names to add.
    pub(super) names: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
    pub(super) initial: BTreeMap<String, String>,
}

/// One resource as it came.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    /// Delta: the resource's own; SotW: that of the response.
    pub(super) version: String,
    pub(super) any: Any,
    pub(super) has_ttl: bool,
}

/// One response of either variant.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) type_url: String,
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) items: Vec<Item>,
    pub(super) removed: Vec<String>,
}

impl Said {
    pub(super) fn kind(&self) -> Option<ResourceType> {
        ResourceType::from_type_url(&self.type_url)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.items.iter().map(|item| item.name.clone()).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.items.iter().any(|item| item.name == name)
    }
}

enum Requests {
    Sotw(mpsc::UnboundedSender<DiscoveryRequest>),
    Delta(mpsc::UnboundedSender<DeltaDiscoveryRequest>),
}

enum Responses {
    Sotw(Streaming<DiscoveryResponse>),
    Delta(Streaming<DeltaDiscoveryResponse>),
}

/// A stream, what was asked on it and what came.
pub(super) struct Wire {
    requests: Requests,
    responses: Responses,
    node: Option<Node>,
    quiet: Duration,
    /// The last nonce of each kind.
    nonces: BTreeMap<ResourceType, String>,
    /// SotW: what was last asked for.
    names: BTreeMap<ResourceType, Vec<String>>,
    /// Every response so far.
    pub(super) heard: Vec<Said>,
}

/// The path of a streaming method.
fn path(lane: &Lane) -> Result<http::uri::PathAndQuery> {
    fn of<A: Api>(variant: Variant) -> String {
        let method = match variant {
            Variant::Sotw => A::SOTW,
            Variant::Delta => A::DELTA,
        };
        format!("/{}/{method}", A::NAME)
    }
    let path = match lane.service {
        None => of::<Aggregated>(lane.variant),
        Some(ResourceType::Cluster) => of::<Clusters>(lane.variant),
        Some(ResourceType::Endpoint) => of::<Endpoints>(lane.variant),
        Some(ResourceType::Listener) => of::<Listeners>(lane.variant),
        Some(ResourceType::Route) => of::<Routes>(lane.variant),
        Some(ResourceType::Secret) => of::<Secrets>(lane.variant),
    };
    Ok(path.parse()?)
}

impl Wire {
    pub(super) async fn open(lane: &Lane) -> Result<Self> {
        let mut grpc = Grpc::new(lane.target.channel.clone());
        grpc.ready().await.context("the server cannot be reached")?;
        let (requests, responses) = match lane.variant {
            Variant::Sotw => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
                let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
                let responses = timeout(PATIENCE, grpc.streaming(request, path(lane)?, codec)).await;
                let responses = responses.context("the stream was not opened in time")??;
                (Requests::Sotw(sender), Responses::Sotw(responses.into_inner()))
            }
            Variant::Delta => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
                let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
                let responses = timeout(PATIENCE, grpc.streaming(request, path(lane)?, codec)).await;
                let responses = responses.context("the stream was not opened in time")??;
                (Requests::Delta(sender), Responses::Delta(responses.into_inner()))
            }
        };
        let node = Some(lane.target.node.clone());
        let (nonces, names, heard) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Ok(Self { requests, responses, node, quiet: lane.quiet, nonces, names, heard })
    }

    /// Sends a request as it is.
    pub(super) fn send(&mut self, ask: Ask) {
        let error_detail = ask.error.map(|message| rpc::Status { code: 3, message, ..Default::default() });
        // A stream that has ended says so when it is read.
        match &self.requests {
            Requests::Sotw(requests) => drop(requests.send(DiscoveryRequest {
                node: ask.node,
                type_url: ask.type_url,
                response_nonce: ask.nonce,
                version_info: ask.version,
                resource_names: ask.names,
                error_detail,
                ..Default::default()
            })),
            Requests::Delta(requests) => drop(requests.send(DeltaDiscoveryRequest {
                node: ask.node,
                type_url: ask.type_url,
                response_nonce: ask.nonce,
                resource_names_subscribe: ask.names,
                resource_names_unsubscribe: ask.unsubscribe,
                initial_resource_versions: ask.initial.into_iter().collect(),
                error_detail,
                ..Default::default()
            })),
        }
    }

    /// A request of a kind with its nonce, and the node where it is the stream's first.
    pub(super) fn request(&mut self, kind: ResourceType, names: &[&str]) -> Ask {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let nonce = self.nonces.get(&kind).cloned().unwrap_or_default();
        let node = self.node.take();
        Ask { node, type_url: kind.type_url().to_owned(), nonce, names, ..Ask::default() }
    }

    /// SotW: these names from now on. Delta: these too. It carries no acknowledgement that is not there already.
    pub(super) fn ask(&mut self, kind: ResourceType, names: &[&str]) {
        let ask = self.request(kind, names);
        self.names.insert(kind, ask.names.clone());
        self.send(ask);
    }

    /// Gives names up: SotW by listing the others.
    pub(super) fn give_up(&mut self, kind: ResourceType, names: &[&str]) {
        let mut ask = self.request(kind, &[]);
        match self.requests {
            Requests::Sotw(_) => {
                let listed = self.names.entry(kind).or_default();
                listed.retain(|name| !names.contains(&name.as_str()));
                ask.names.clone_from(listed);
            }
            Requests::Delta(_) => ask.unsubscribe = names.iter().map(ToString::to_string).collect(),
        }
        self.send(ask);
    }

    /// Answers the last response of a kind, with the names that are asked for already and perhaps more.
    pub(super) fn answer(&mut self, kind: ResourceType, error: Option<&str>, more: &[&str]) {
        let mut ask = self.request(kind, more);
        ask.error = error.map(str::to_owned);
        if let Requests::Sotw(_) = self.requests {
            let listed = self.names.entry(kind).or_default();
            listed.append(&mut ask.names);
            ask.names.clone_from(listed);
            let last = self.heard.iter().rev().find(|said| said.kind() == Some(kind));
            ask.version =
                last.filter(|_| error.is_none()).map(|said| said.version.clone()).unwrap_or_default();
        }
        self.send(ask);
    }

    pub(super) fn ack(&mut self, kind: ResourceType) {
        self.answer(kind, None, &[]);
    }

    /// The next response.
    pub(super) async fn next(&mut self) -> Result<Said> {
        match timeout(PATIENCE, self.receive()).await {
            Err(_) => bail!("no response within {} s", PATIENCE.as_secs()),
            Ok(Ok(Some(said))) => Ok(said),
            Ok(Ok(None)) => bail!("the stream ended instead of a response"),
            Ok(Err(status)) => bail!("the stream ended with {:?}: {}", status.code(), status.message()),
        }
    }

    /// Whether nothing comes for a while.
    pub(super) async fn quiet(&mut self, why: &str) -> Result<()> {
        match timeout(self.quiet, self.receive()).await {
            Err(_) => Ok(()),
            Ok(Ok(Some(said))) => {
                let kind = said.kind().map_or(said.type_url.clone(), |kind| kind.to_string());
                bail!("{why}, but {kind} {:?} -{:?} was sent", said.names(), said.removed)
            }
            Ok(Ok(None)) => bail!("the stream ended"),
            Ok(Err(status)) => bail!("the stream ended with {:?}: {}", status.code(), status.message()),
        }
    }

    /// The code with which the stream ends.
    pub(super) async fn end(&mut self) -> Result<Code> {
        let ended = timeout(PATIENCE, async {
            loop {
                match self.receive().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Code::Ok,
                    Err(status) => return status.code(),
                }
            }
        });
        ended.await.with_context(|| format!("the stream goes on after {} s", PATIENCE.as_secs()))
    }

    /// Acknowledges whatever comes until nothing does.
    pub(super) async fn settle(&mut self) -> Result<Vec<Said>> {
        let mut all = Vec::new();
        while let Ok(received) = timeout(self.quiet, self.receive()).await {
            let said = received?.context("the stream ended")?;
            let kind = said.kind().with_context(|| format!("a response of type {}", said.type_url))?;
            self.ack(kind);
            ensure!(all.len() < 1000, "the server never stops to send");
            all.push(said);
        }
        Ok(all)
    }

    async fn receive(&mut self) -> Result<Option<Said>, Status> {
        let said = match &mut self.responses {
            Responses::Sotw(responses) => responses.message().await?.map(of_sotw),
            Responses::Delta(responses) => responses.message().await?.map(of_delta),
        };
        if let Some(said) = &said {
            if let Some(kind) = said.kind() {
                self.nonces.insert(kind, said.nonce.clone());
            }
            self.heard.push(said.clone());
        }
        Ok(said)
    }
}

fn of_sotw(response: DiscoveryResponse) -> Said {
    let version = response.version_info;
    let item = |any: Any| Item { name: name_of(&any), version: version.clone(), any, has_ttl: false };
    Said {
        items: response.resources.into_iter().map(item).collect(),
        type_url: response.type_url,
        nonce: response.nonce,
        version,
        removed: Vec::new(),
    }
}

fn of_delta(response: DeltaDiscoveryResponse) -> Said {
    let items = response.resources.into_iter().map(|resource| Item {
        has_ttl: resource.ttl.is_some(),
        name: resource.name,
        version: resource.version,
        any: resource.resource.unwrap_or_default(),
    });
    Said {
        items: items.collect(),
        type_url: response.type_url,
        nonce: response.nonce,
        version: response.system_version_info,
        removed: response.removed_resources,
    }
}

/// What a resource calls itself.
fn name_of(any: &Any) -> String {
    fn decoded<M: Message + Default>(any: &Any, name: impl Fn(M) -> String) -> String {
        M::decode(&*any.value).map(name).unwrap_or_else(|error| format!("(malformed: {error})"))
    }
    match ResourceType::from_type_url(&any.type_url) {
        Some(ResourceType::Cluster) => decoded(any, |it: Cluster| it.name),
        Some(ResourceType::Endpoint) => decoded(any, |it: ClusterLoadAssignment| it.cluster_name),
        Some(ResourceType::Listener) => decoded(any, |it: Listener| it.name),
        Some(ResourceType::Route) => decoded(any, |it: RouteConfiguration| it.name),
        Some(ResourceType::Secret) => decoded(any, |it: Secret| it.name),
        None => format!("(of type {})", any.type_url),
    }
}
