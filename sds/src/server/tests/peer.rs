//! The scripted client: as Envoy speaks, and as nobody should.

use std::{collections::HashMap, path::Path};

use hyper_util::rt::TokioIo;
use signet_xds::pb::{
    envoy::service::{
        discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryResponse},
        secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
    },
    google::rpc,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::*;

pub(super) type Client = SecretDiscoveryServiceClient<Channel>;

/// One connection, on which streams are opened.
pub(super) struct Peer(pub(super) Client);

impl Peer {
    pub(super) async fn connect(path: &Path) -> Self {
        let path = path.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://sds.socket");
        Self(SecretDiscoveryServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap()))
    }

    pub(super) async fn sotw(&self, first: DiscoveryRequest) -> Sotw {
        let (requests, receiver) = mpsc::channel(64);
        requests.send(first.clone()).await.unwrap();
        let responses = self.0.clone().stream_secrets(ReceiverStream::new(receiver)).await;
        Sotw { requests, responses: responses.unwrap().into_inner(), last: None, names: first.resource_names }
    }

    pub(super) async fn delta(&self, names: &[&str], held: HashMap<String, String>) -> Delta {
        let (requests, receiver) = mpsc::channel(64);
        let first = DeltaDiscoveryRequest {
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            initial_resource_versions: held,
            ..Default::default()
        };
        requests.send(first).await.unwrap();
        let responses = self.0.clone().delta_secrets(ReceiverStream::new(receiver)).await;
        Delta { requests, responses: responses.unwrap().into_inner() }
    }
}

pub(super) async fn fetch(served: &Served, names: &[&str]) -> Result<DiscoveryResponse, Status> {
    let mut client = Peer::connect(&served.path).await.0;
    let fetched = timeout(PATIENCE, client.fetch_secrets(request(names))).await.expect("in time");
    fetched.map(tonic::Response::into_inner)
}

/// A first request.
pub(super) fn request(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: ResourceType::Secret.type_url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    }
}

/// A state-of-the-world stream.
pub(super) struct Sotw {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    pub(super) last: Option<DiscoveryResponse>,
    names: Vec<String>,
}

impl Sotw {
    pub(super) async fn open(served: &Served, names: &[&str]) -> Self {
        Peer::connect(&served.path).await.sotw(request(names)).await
    }

    /// The next response; it is not answered.
    pub(super) async fn hear(&mut self) -> Vec<Secret> {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("in time").unwrap().unwrap();
        let secrets =
            response.resources.iter().map(|any| Secret::decode(any.value.as_slice()).unwrap()).collect();
        self.last = Some(response);
        secrets
    }

    /// The next response, acknowledged.
    pub(super) async fn next(&mut self) -> Vec<Secret> {
        let secrets = self.hear().await;
        self.answer(None, None).await;
        secrets
    }

    /// Answers the last response, perhaps with other names.
    pub(super) async fn answer(&mut self, error: Option<&str>, names: Option<&[&str]>) {
        if let Some(names) = names {
            self.names = names.iter().map(ToString::to_string).collect();
        }
        let last = self.last.clone().unwrap_or_default();
        let error_detail =
            error.map(|message| rpc::Status { code: 13, message: message.to_owned(), ..Default::default() });
        self.send(DiscoveryRequest {
            resource_names: self.names.clone(),
            version_info: if error.is_some() { String::new() } else { last.version_info },
            response_nonce: last.nonce,
            error_detail,
            ..request(&[])
        })
        .await;
    }

    pub(super) async fn send(&self, request: DiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub(super) async fn is_silent(&mut self) {
        if let Ok(said) = timeout(QUIET, self.responses.message()).await {
            panic!("nothing should have come: {:?}", said.map(|said| said.map(|said| said.version_info)));
        }
    }

    /// The status with which the stream ends, whatever comes before.
    pub(super) async fn end(&mut self) -> Status {
        let ended = timeout(PATIENCE, async {
            loop {
                match self.responses.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Status::ok(""),
                    Err(status) => return status,
                }
            }
        });
        ended.await.expect("the stream goes on")
    }

    pub(super) fn version(&self) -> &str {
        self.last.as_ref().map_or("", |last| last.version_info.as_str())
    }

    pub(super) fn nonce(&self) -> &str {
        self.last.as_ref().map_or("", |last| last.nonce.as_str())
    }
}

/// A delta stream.
pub(super) struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    /// The next response, acknowledged.
    pub(super) async fn next(&mut self) -> DeltaDiscoveryResponse {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("in time").unwrap().unwrap();
        let ack = DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..Default::default() };
        self.requests.send(ack).await.unwrap();
        response
    }

    pub(super) async fn is_silent(&mut self) {
        assert!(timeout(QUIET, self.responses.message()).await.is_err(), "nothing should have come");
    }
}
