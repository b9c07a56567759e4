//! Clients of an agent's socket that are slow, that refuse, or that are cut off; and the socket's own end.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use hyper_util::rt::TokioIo;
use signet::local::probe::serial_of;
use signet_tests::{
    bed::{
        pair::Pair,
        relay::Relay,
        trial::{Trial, memory},
    },
    eventually,
};
use signet_xds::{
    ResourceType,
    pb::{
        envoy::service::{
            discovery::v3::{DiscoveryRequest, DiscoveryResponse},
            secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
        },
        google::rpc,
    },
};
use tokio::{net::UnixStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{PATIENCE, RATE, flawless, guest, held, renewed, until_logged, until_presented};
use crate::secrets::bed::Variant;

/// Clients that never read.
const SLOW: usize = 48;
/// Most that they may cost, in kilobytes: 48 connections with a message or two waiting on each take about a tenth.
const MOST: u64 = 48 * 1024;

pub(crate) async fn channel(socket: &Path, window: u32) -> Result<Channel> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://sds.socket").initial_stream_window_size(window);
    Ok(endpoint.connect_with_connector(connector).await?)
}

fn request(name: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: ResourceType::Secret.type_url().to_owned(),
        resource_names: vec![name.to_owned()],
        ..DiscoveryRequest::default()
    }
}

/// Of the certificate in a response, as an observer has it.
fn serial(response: &DiscoveryResponse) -> Result<String> {
    let secret = &response.resources.first().context("a secret")?.value;
    let certificate = pem::parse_many(secret)?.into_iter().find(|block| block.tag() == "CERTIFICATE");
    serial_of(&certificate.context("a certificate")?.into_contents().into())
}

/// A stream that is never read, and takes a hundred bytes before it would have to be.
async fn slow(socket: &Path) -> Result<(mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>)> {
    let (requests, receiver) = mpsc::channel(4);
    requests.send(request("default")).await?;
    let mut client = SecretDiscoveryServiceClient::new(channel(socket, 100).await?);
    Ok((requests, client.stream_secrets(ReceiverStream::new(receiver)).await?.into_inner()))
}

/// A client that takes the roots, or refuses them, as an Envoy with another validator would.
pub(super) struct Refuser {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    version: String,
}

impl Refuser {
    pub(super) async fn connect(socket: &Path) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(4);
        requests.send(request("ROOTCA")).await?;
        let mut client = SecretDiscoveryServiceClient::new(channel(socket, 65_535).await?);
        let responses = client.stream_secrets(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { requests, responses, version: String::new() })
    }

    async fn hear(&mut self) -> Result<DiscoveryResponse> {
        let next = timeout(PATIENCE, self.responses.message()).await.context("no roots came")?;
        next?.context("the stream has ended")
    }

    /// Takes the next roots, and tells what they are.
    pub(super) async fn accept(&mut self) -> Result<Vec<u8>> {
        let roots = self.hear().await?;
        self.version = roots.version_info;
        let answer = DiscoveryRequest {
            version_info: self.version.clone(),
            response_nonce: roots.nonce,
            ..request("ROOTCA")
        };
        self.requests.send(answer).await?;
        Ok(roots.resources.into_iter().flat_map(|any| any.value).collect())
    }

    /// Refuses the next roots.
    pub(super) async fn refuse(&mut self, why: &str) -> Result<()> {
        let roots = self.hear().await?;
        let error = rpc::Status { code: 13, message: why.to_owned(), ..rpc::Status::default() };
        let answer = DiscoveryRequest {
            version_info: self.version.clone(),
            response_nonce: roots.nonce,
            error_detail: Some(error),
            ..request("ROOTCA")
        };
        Ok(self.requests.send(answer).await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_clients_that_never_read_delay_no_envoy_and_cost_a_bounded_amount_of_memory() -> Result<()> {
    let pair = Pair::start(RATE).await?;
    let mut trial = Trial::begin(&pair).await?;
    let socket = &pair.server.sidecar.ready.socket;
    let mut clients = Vec::new();
    for _ in 0..SLOW {
        clients.push(slow(socket).await?);
    }
    let light = memory(&pair).remove("agent of server").context("the agent runs")?;
    for _ in 0..6 {
        trial.renewed(&pair).await?;
    }
    let heavy = memory(&pair).remove("agent of server").context("the agent runs")?;
    ensure!(heavy < light + MOST, "{light} kB before, {heavy} kB after six renewals");
    // Whoever reads at last gets the newest, and at most what was on its way besides.
    let (requests, newest) = clients.first_mut().context("a client")?;
    let last = trial.observed(&pair).last.context("nothing was seen")?;
    let mut read = 0;
    loop {
        let response = timeout(PATIENCE, newest.message()).await?.ok().flatten().context("an answer")?;
        read += 1;
        if serial(&response)? == last {
            break;
        }
        let answer = DiscoveryRequest {
            version_info: response.version_info,
            response_nonce: response.nonce,
            ..request("default")
        };
        requests.send(answer).await?;
    }
    ensure!(read <= 3, "{read} messages waited");
    drop(clients);
    println!("{light} → {heavy} kB; {}", flawless(trial, pair).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_an_envoy_whose_stream_is_cut_again_and_again_is_sent_nothing_twice_and_converges() -> Result<()>
{
    let pair = Pair::start(RATE).await?;
    let trial = Trial::begin(&pair).await?;
    let socket = &pair.server.sidecar.ready.socket;
    for variant in [Variant::Sotw, Variant::Delta] {
        let path = pair.bed.path(&format!("{variant:?}.sock"));
        let relay = Relay::unix(&path, socket)?;
        let guest = guest(&path, variant).await?;
        let before = held(&pair).await?;
        until_presented(&guest, &before[1]).await?;
        let updates = guest.counter("ssl_context_update_by_sds").await?;
        let taken = guest.counter("update_success").await?;
        for cut in 1..=4 {
            let accepted = relay.accepted();
            relay.cut();
            eventually("Envoy comes back", PATIENCE, || async {
                ensure!(relay.accepted() > accepted, "after cut {cut}");
                ensure!(guest.counter("control_plane.connected_state").await? == 2, "both streams");
                Ok(())
            })
            .await?;
        }
        let again = guest.counter("ssl_context_update_by_sds").await?;
        ensure!(again == updates, "{variant:?}: contexts were made anew: {updates} → {again}");
        // A delta client says what it holds, and is sent nothing of it.
        let resent = guest.counter("update_success").await? - taken;
        ensure!(variant == Variant::Sotw || resent == 0, "{resent} secrets were sent again");
        pair.server.sidecar.rotate()?;
        pair.caller.sidecar.rotate()?;
        relay.cut();
        renewed(&pair, &before).await?;
        until_presented(&guest, &held(&pair).await?[1]).await?;
    }
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_an_agent_whose_socket_is_unlinked_or_taken_says_so_and_serves_there_again() -> Result<()> {
    let pair = Pair::start(RATE).await?;
    let mut trial = Trial::begin(&pair).await?;
    let node = &pair.server;
    let socket = &node.sidecar.ready.socket;
    let number = |path: &Path| std::fs::symlink_metadata(path).map(|found| found.ino()).ok();

    std::fs::remove_file(socket)?;
    eventually("it is bound again", PATIENCE, || async {
        number(socket).map(drop).context("there is no socket")
    })
    .await?;
    until_logged(node, "the SDS socket was removed", 1).await?;
    let newcomer = guest(socket, Variant::Sotw).await?;
    until_presented(&newcomer, &held(&pair).await?[1]).await?;
    trial.renewed(&pair).await?;

    // Another user binds the path, and listens.
    std::fs::remove_file(socket)?;
    let stranger = std::os::unix::net::UnixListener::bind(socket)?;
    std::os::unix::fs::lchown(socket, Some(54_321), None)?;
    let theirs = number(socket);
    eventually("it is taken back", PATIENCE, || async {
        let now = number(socket);
        ensure!(now.is_some() && now != theirs, "it is still the stranger's");
        Ok(())
    })
    .await?;
    until_logged(node, "another user's socket", 1).await?;
    drop(stranger);
    let newcomer = guest(socket, Variant::Delta).await?;
    until_presented(&newcomer, &held(&pair).await?[1]).await?;
    trial.renewed(&pair).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}
