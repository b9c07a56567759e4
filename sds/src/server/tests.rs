//! The server on a real socket, before a real gRPC client, and before processes of other users.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use prost::Message;
use rustix::thread::set_thread_res_uid;
use signet_policies::identity::SpiffeId;
use signet_xds::{
    ResourceType,
    pb::envoy::{
        extensions::transport_sockets::tls::v3::Secret,
        service::{
            discovery::v3::{DiscoveryRequest, DiscoveryResponse},
            secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
        },
    },
};
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Endpoint};

use super::*;
use crate::{
    deliveries::Delivery,
    keypair::KeyPair,
    socket,
    testing::{Answer, FakeSigner},
    translate::{Held, Validator, translate},
    verify::verify,
};

const OWN: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";
const PATIENCE: Duration = Duration::from_secs(10);

fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn secrets() -> Arc<Secrets> {
    let identity: SpiffeId = OWN.parse().unwrap();
    let signer = FakeSigner::new(&identity, Arc::new(moment), Duration::from_secs(3600));
    let key = KeyPair::generate().unwrap();
    let signed = signer.certificate(Answer::Good, &key.request(&identity).unwrap());
    Arc::new(verify(signed, key, &identity, moment().into()).unwrap())
}

struct Served {
    _folder: tempfile::TempDir,
    path: PathBuf,
    secrets: watch::Sender<Option<Arc<Secrets>>>,
    deliveries: Deliveries,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<(), ServeError>>,
}

fn own_uid() -> u32 {
    let (one, _other) = UnixStream::pair().unwrap();
    one.peer_cred().unwrap().uid()
}

/// Serves `held` to processes of this user.
fn serve(held: Option<Arc<Secrets>>) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = socket::bind(&path).unwrap();
    let (sender, receiver) = watch::channel(held);
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let deliveries = Deliveries::new(Arc::new(moment));
    let serving = Serving {
        own: receiver,
        further: watch::channel(Vec::new()).1,
        users: AllowedUsers::new([own_uid()]),
        recheck: RECHECK,
        deliveries: deliveries.clone(),
    };
    tasks.spawn(run(listener, serving, shutdown.clone()));
    Served { _folder: folder, path, secrets: sender, deliveries, shutdown, tasks }
}

/// One SotW stream, as Envoy opens one for each secret.
struct Stream {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

async fn connect(path: &Path) -> SecretDiscoveryServiceClient<tonic::transport::Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://sds.socket");
    SecretDiscoveryServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

impl Stream {
    async fn open(served: &Served, names: &[&str]) -> Self {
        let (requests, receiver) = mpsc::channel(8);
        requests.send(request(names, None)).await.unwrap();
        let mut client = connect(&served.path).await;
        let responses = client.stream_secrets(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    /// The next response, which is acknowledged.
    async fn next(&mut self, names: &[&str]) -> Vec<Secret> {
        let response = timeout(PATIENCE, self.responses.message()).await.expect("in time").unwrap().unwrap();
        self.requests.send(request(names, Some(&response))).await.unwrap();
        response.resources.iter().map(|any| Secret::decode(any.value.as_slice()).unwrap()).collect()
    }
}

fn request(names: &[&str], answered: Option<&DiscoveryResponse>) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: ResourceType::Secret.type_url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        version_info: answered.map(|it| it.version_info.clone()).unwrap_or_default(),
        response_nonce: answered.map(|it| it.nonce.clone()).unwrap_or_default(),
        ..DiscoveryRequest::default()
    }
}

fn expected(secrets: &Arc<Secrets>, name: &str) -> Vec<Secret> {
    let snapshot = translate(&Held::of(Arc::clone(secrets)), Validator::TrustedCa);
    vec![Secret::decode(snapshot.get(ResourceType::Secret, name).unwrap().value().clone()).unwrap()]
}

#[tokio::test]
async fn every_name_is_answered_with_its_secret_and_the_next_one_is_pushed() {
    let (first, second) = (secrets(), secrets());
    let served = serve(Some(Arc::clone(&first)));
    let names = ["default", "ROOTCA", "ALL", OWN, "spiffe://signet.internal"];
    let mut streams = Vec::new();
    for name in names {
        let mut stream = Stream::open(&served, &[name]).await;
        assert_eq!(stream.next(&[name]).await, expected(&first, name), "{name}");
        streams.push(stream);
    }
    served.secrets.send_replace(Some(Arc::clone(&second)));
    for (stream, name) in streams.iter_mut().zip(names) {
        assert_eq!(stream.next(&[name]).await, expected(&second, name), "{name}");
    }
}

#[tokio::test]
async fn what_each_stream_was_sent_and_accepted_is_told_in_the_words_of_the_authority() {
    let (first, second) = (secrets(), secrets());
    let served = serve(Some(Arc::clone(&first)));
    let mut changes = served.deliveries.changes();
    let mut until = async |wanted: &dyn Fn(&[Delivery]) -> bool| {
        let told = timeout(PATIENCE, changes.wait_for(|_| wanted(&served.deliveries.list()))).await;
        drop(told.expect("in time").unwrap());
    };
    let mut streams = [Stream::open(&served, &["default"]).await, Stream::open(&served, &["ROOTCA"]).await];
    for secrets in [&first, &second] {
        served.secrets.send_replace(Some(Arc::clone(secrets)));
        for (stream, name) in streams.iter_mut().zip(["default", "ROOTCA"]) {
            stream.next(&[name]).await;
        }
        let versions = [secrets.leaf().serial().to_owned(), secrets.bundle().version()];
        until(&|list| {
            let told = |name: &str, version: &String| {
                let one = list.iter().find(|one| one.name == name);
                one.is_some_and(|one| one.accepted.as_ref() == Some(version) && one.sent == one.accepted)
            };
            ["default", "ROOTCA"].iter().zip(&versions).all(|(name, version)| told(name, version))
        })
        .await;
    }
    let convergence = served.deliveries.convergence().unwrap();
    assert_eq!((convergence.serial.as_str(), convergence.streams), (second.leaf().serial(), 1));
    assert!(convergence.took.is_some());
    drop(streams);
    until(&|list| list.is_empty()).await;
}

#[tokio::test]
async fn a_request_before_the_first_certificate_is_held_and_answered_when_there_is_one() {
    let served = serve(None);
    let mut stream = Stream::open(&served, &["default"]).await;
    let held = secrets();
    served.secrets.send_replace(Some(Arc::clone(&held)));
    assert_eq!(stream.next(&["default"]).await, expected(&held, "default"));
}

#[tokio::test]
async fn an_unknown_name_is_left_unanswered_and_harms_no_other_and_withdrawal_sends_nothing() {
    let (first, second) = (secrets(), secrets());
    let served = serve(Some(Arc::clone(&first)));
    let mut unknown = Stream::open(&served, &["kubernetes://other"]).await;
    let names = ["default", "no-such-secret"];
    let mut mixed = Stream::open(&served, &names).await;
    assert_eq!(mixed.next(&names).await, expected(&first, "default"));
    served.secrets.send_replace(None);
    served.secrets.send_replace(Some(Arc::clone(&second)));
    // Whatever the withdrawal or the unknown name had caused would come before this.
    assert_eq!(mixed.next(&names).await, expected(&second, "default"));
    served.shutdown.cancel();
    let ended = timeout(PATIENCE, unknown.responses.message()).await.expect("in time").unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "it was open, and had been sent nothing");
}

#[tokio::test]
async fn shutdown_ends_streams_so_that_the_client_comes_back_and_then_the_server() {
    let mut served = serve(Some(secrets()));
    let mut stream = Stream::open(&served, &["default"]).await;
    stream.next(&["default"]).await;
    let asked = Instant::now();
    served.shutdown.cancel();
    let ended = timeout(PATIENCE, stream.responses.message()).await.expect("in time").unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    served.tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(asked.elapsed() <= DRAIN + Duration::from_secs(1));
}

/// Sends the opening of an HTTP/2 connection as user `uid`, and counts the bytes that come back first.
///
/// On Linux a thread has credentials of its own, and they are what the kernel notes when it connects.
fn bytes_for(uid: u32, path: &Path) -> usize {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream as BlockingStream,
    };
    let uid = rustix::process::Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid).expect("this test becomes another user: run it as root, as CI does");
    let mut stream = BlockingStream::connect(path).expect("the file's mode lets root's group connect");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    // Both ends of a closed connection are silent: an error here says the same as no byte below.
    let _ = stream.write_all(&opening);
    stream.read(&mut [0; 4096]).unwrap_or(0)
}

#[tokio::test]
async fn a_process_of_another_user_is_turned_away_before_it_is_told_a_byte() {
    let served = serve(Some(secrets()));
    // Root's group may enter, so that it is the kernel's word and no file mode that turns the stranger away.
    let folder = served.path.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750)).unwrap();
    let told = async |uid: u32| {
        let path = served.path.clone();
        // Its own thread, never used again: its user stays changed.
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || sender.send(bytes_for(uid, &path)));
        timeout(PATIENCE, receiver).await.expect("in time").expect("the thread ended well")
    };
    assert_eq!(told(12_345).await, 0);
    assert!(told(own_uid()).await > 0, "the own user is answered");
}
