//! What needs the whole agent: its cache, and identities that a spec names.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::ServerName;
use serde_json::json;
use signet::{
    demo::steps::ModeStep,
    local::{load::Load, probe::tls_connector},
};
use signet_tests::{
    Outsider, TestMesh,
    bed::{Bed, app::App, at, listening},
    eventually, tally_of,
};
use signet_xds::{
    ResourceType,
    pb::envoy::service::{
        discovery::v3::DeltaDiscoveryRequest,
        secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
    },
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// 44 and F3: killed without warning, under load, while nobody can sign.
#[tokio::test(flavor = "multi_thread")]
async fn s44_an_agent_that_is_killed_while_the_server_is_down_serves_from_its_sealed_cache_at_once()
-> Result<()> {
    let mut mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    // From now on the cache is sealed: the next certificate is kept so.
    let key = mesh.folder.path().join("cache.key");
    std::fs::write(&key, "a test's key, which is as good as any random one")?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    let flags = ["--cache-key-file".to_owned(), key.display().to_string()];
    mesh.stage.sidecars[1].add_flags(&flags);
    mesh.stage.sidecars[1].kill_agent().await?;
    mesh.stage.sidecars[1].restart_agent().await?;
    let serials = mesh.stage.serials().await?;
    mesh.stage.rotate(&serials).await?;
    let kept = mesh.stage.sidecars[1].state_file("identity.json");
    eventually("the sealed cache", PATIENCE, || async {
        let text = std::fs::read_to_string(&kept)?;
        ensure!(text.contains("\"version\": \"3\"") && !text.contains("PRIVATE"), "{text}");
        Ok(())
    })
    .await?;
    let serials = mesh.stage.serials().await?;
    let load = Load::start(&mesh.stage.load_plan()?);
    mesh.stage.server.kill().await?;
    mesh.stage.sidecars[1].kill_agent().await?;
    let asked = Instant::now();
    let socket = mesh.stage.sidecars[1].ready.socket.clone();
    let (back, restarted) = tokio::join!(
        eventually("the socket", PATIENCE, || async {
            Ok(tokio::net::UnixStream::connect(&socket).await.map(|_| asked.elapsed())?)
        }),
        mesh.stage.sidecars[1].restart_agent(),
    );
    restarted.context("the agent is ready without a server")?;
    let back = back?;
    ensure!(back < Duration::from_secs(2), "the socket was back after {back:?}");
    assert_eq!(mesh.stage.serials().await?, serials, "the same certificates are presented");
    let tally = tally_of(load, 300).await?;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    mesh.stage.server.restart().await?;
    mesh.end().await;
    Ok(())
}

/// The agent gets the identity when its Envoy asks for it, and the server grants it as the spec names it.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_a_spec_names_is_obtained_and_presented() -> Result<()> {
    const TEAM: &str = "spiffe://signet.internal/team/a";
    let mut bed = Bed::start().await?;
    bed.mesh("team").await?;
    let app = App::http("a").await?;
    let node = bed
        .served("team", "a", &app, "http", |spec| {
            let certificate = json!({"sds": {"secretName": TEAM}});
            spec["listeners"][0]["tls"] = json!({"mode": "STRICT", "certificate": certificate});
        })
        .await?;
    bed.virtual_node("team", "other", json!({})).await?;
    let outsider = Outsider::join(&bed.server, &bed.client, "team", "other").await?;
    let connector = tls_connector(outsider.roots(), None, &[])?;
    let at = at(&node, app.port);
    eventually("the further identity in a handshake", PATIENCE, || async {
        let tcp = TcpStream::connect(at).await?;
        let stream = connector.connect(ServerName::IpAddress(at.ip().into()), tcp).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("no certificate")?;
        let names = signet_sds::verify::uri_names(leaf)?;
        ensure!(names == [TEAM], "{names:?}");
        Ok(())
    })
    .await?;
    // 4: who holds it loses it when the spec names it no longer, long before its renewal.
    let (requests, receiver) = mpsc::channel(1);
    let request = DeltaDiscoveryRequest {
        type_url: ResourceType::Secret.type_url().to_owned(),
        resource_names_subscribe: vec![TEAM.to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(request).await?;
    let channel = crate::faults::socket::channel(&node.sidecar.ready.socket, 65_535).await?;
    let mut client = SecretDiscoveryServiceClient::new(channel);
    let mut secrets = client.delta_secrets(ReceiverStream::new(receiver)).await?.into_inner();
    let held = secrets.message().await?.context("the stream has ended")?;
    assert_eq!(held.resources.first().map(|one| one.name.as_str()), Some(TEAM));
    // What is removed waits for the answer to what was sent.
    let answer = DeltaDiscoveryRequest { response_nonce: held.nonce, ..DeltaDiscoveryRequest::default() };
    requests.send(DeltaDiscoveryRequest { type_url: held.type_url, ..answer }).await?;
    bed.respec("team", "a", listening(&node.ingress.to_string(), app.port, "http")).await?;
    let gone = timeout(PATIENCE, secrets.message()).await.context("it is served on")??;
    assert_eq!(gone.context("the stream has ended")?.removed_resources, [TEAM]);
    bed.end().await;
    Ok(())
}
