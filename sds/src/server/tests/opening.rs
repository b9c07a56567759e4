//! Statements 1 to 7: opening a stream, and who does.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream as BlockingStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use hyper_util::rt::TokioIo;
use rustix::thread::set_thread_res_uid;
use signet_xds::pb::envoy::{
    config::core::v3::Node,
    service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
};
use tonic::transport::Endpoint;

use super::*;

/// Sends the opening of an HTTP/2 connection as user `uid`, and counts the bytes that come back first.
///
/// On Linux a thread has credentials of its own, and they are what the kernel notes when it connects.
fn bytes_for(uid: u32, path: &Path) -> usize {
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
async fn s01_a_process_of_another_user_is_turned_away_before_it_is_told_a_byte() {
    let served = serve(Some(secrets()));
    // Root's group may enter, so that it is the kernel's word and no file mode that turns the stranger away.
    std::fs::set_permissions(served.folder.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
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

#[tokio::test]
async fn s02_what_a_peer_says_of_itself_changes_nothing_of_what_it_gets() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let other = "spiffe://signet.internal/mesh/m/virtual-node/b";
    let node = Node { id: other.to_owned(), cluster: other.to_owned(), ..Node::default() };
    let first = DiscoveryRequest { node: Some(node), ..request(&["default", other]) };
    let mut stream = Peer::connect(&served.path).await.sotw(first).await;
    assert_eq!(stream.next().await, [expected(&held, "default")]);
    stream.is_silent().await;
}

/// A process that connects to the socket, hands the connection to this one, and does as it is told.
struct Stranger {
    process: Child,
    stream: UnixStream,
}

impl Stranger {
    fn connect(path: &Path) -> Self {
        let script = "import os, socket, sys\n\
             sds = socket.socket(socket.AF_UNIX); sds.connect(sys.argv[1])\n\
             ours = socket.socket(socket.AF_UNIX); ours.connect(sys.argv[2])\n\
             socket.send_fds(ours, [b'.'], [sds.fileno()])\n\
             for line in sys.stdin: os.setuid(int(line)); print('.', flush=True)\n";
        let folder = tempfile::tempdir().unwrap();
        let meeting = folder.path().join("meeting");
        let listener = std::os::unix::net::UnixListener::bind(&meeting).unwrap();
        let process = Command::new("python3")
            .args(["-c", script])
            .args([path, &meeting])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let (ours, _) = listener.accept().unwrap();
        let stream = receive(&ours);
        stream.set_nonblocking(true).unwrap();
        Self { process, stream: UnixStream::from_std(stream).unwrap() }
    }

    /// The stream of somebody who is at the other end of the stranger's connection.
    async fn ask(stream: UnixStream) -> Result<Sotw, tonic::Status> {
        let stream = std::sync::Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = stream.lock().unwrap().take();
            async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
        });
        let channel = Endpoint::from_static("http://sds.socket").connect_with_connector(connector).await;
        let channel = channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        Ok(Peer(SecretDiscoveryServiceClient::new(channel)).sotw(request(&["default"])).await)
    }
}

fn receive(socket: &BlockingStream) -> BlockingStream {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [std::io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty()).unwrap();
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        RecvAncillaryMessage::ScmCredentials(_) | _ => None,
    });
    descriptor.expect("a descriptor").into()
}

#[tokio::test]
async fn s03_a_connection_whose_process_has_ended_is_nobodys_and_gets_nothing() {
    let served = serve(Some(secrets()));
    let mut stranger = Stranger::connect(&served.path);
    // It is admitted while it lives, and ends before it asks: its number may be anybody's by now.
    let mut peers = Sotw::open(&served, &["default"]).await;
    peers.next().await;
    stranger.process.kill().unwrap();
    stranger.process.wait().unwrap();
    match Stranger::ask(stranger.stream).await {
        Ok(mut stream) => assert_eq!(stream.end().await.code(), Code::PermissionDenied),
        Err(refused) => assert_eq!(refused.code(), Code::Unavailable, "closed before it could ask"),
    }
    assert_eq!(served.deliveries.totals().sent, 1, "to the other one");
}

#[tokio::test]
async fn s04_a_running_stream_ends_when_its_process_ends_or_becomes_another_users() {
    for becomes_another in [true, false] {
        let served = serve(Some(secrets()));
        let mut stranger = Stranger::connect(&served.path);
        let mut stream = Stranger::ask(stranger.stream).await.unwrap();
        stream.next().await;
        let changed = Instant::now();
        if becomes_another {
            writeln!(stranger.process.stdin.as_mut().unwrap(), "12345").unwrap();
        } else {
            stranger.process.kill().unwrap();
            stranger.process.wait().unwrap();
        }
        let ended = stream.end().await;
        assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
        assert!(changed.elapsed() < Duration::from_secs(5), "within one look");
        stranger.process.kill().unwrap();
        stranger.process.wait().unwrap();
    }
}

#[tokio::test]
async fn s05_no_request_needs_a_node_and_a_later_one_may_leave_it_out() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let mut without = Sotw::open(&served, &["default"]).await;
    assert_eq!(without.next().await, [expected(&held, "default")]);
    let node = Some(Node { id: "envoy".to_owned(), ..Node::default() });
    let first = DiscoveryRequest { node, ..request(&["default"]) };
    let mut with = Peer::connect(&served.path).await.sotw(first).await;
    with.next().await;
    with.answer(None, Some(&["default", "ROOTCA"])).await;
    assert!(names_of(&with.next().await).contains(&"ROOTCA"));
}

#[tokio::test]
async fn s06_another_type_ends_the_stream_and_is_not_repeated() {
    let served = serve(Some(secrets()));
    for type_url in [ResourceType::Cluster.type_url(), "type.googleapis.com/evil.Type"] {
        let first = DiscoveryRequest { type_url: type_url.to_owned(), ..request(&["default"]) };
        let ended = Peer::connect(&served.path).await.sotw(first).await.end().await;
        assert_eq!(ended.code(), Code::InvalidArgument);
        assert!(!ended.message().contains(type_url), "{ended:?}");
    }
}

#[tokio::test]
async fn s07_a_request_before_the_first_certificate_is_held_and_answered_when_there_is_one() {
    let served = serve(None);
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.is_silent().await;
    let held = secrets();
    served.publish(&held);
    assert_eq!(stream.next().await, [expected(&held, "default")]);
}
