//! Waiting for Envoy, and not in silence.

use std::{convert::Infallible, time::Duration};

use tokio::time::sleep;
use tracing::{info, warn};

use crate::{
    admin::{Admin, Which},
    server_addr::ServerAddr,
};

/// How long a start may take before anything is said of it.
const USUAL: Duration = Duration::from_secs(5);
/// Between two warnings.
const AGAIN: Duration = Duration::from_secs(30);

/// Waits until Envoy is live. While it is not, the log says what it waits for: soon, and then as a warning.
pub(super) async fn wait(admin: Admin, which: &Which, server: &ServerAddr) {
    tokio::select! {
        () = admin.live(which) => {}
        never = report(admin, which, server) => match never {},
    }
}

async fn report(admin: Admin, which: &Which, server: &ServerAddr) -> Infallible {
    sleep(USUAL).await;
    let awaits = awaited(admin, which).await;
    info!(%server, awaits, "envoy is not live yet");
    loop {
        sleep(AGAIN).await;
        let awaits = awaited(admin, which).await;
        warn!(%server, awaits, "envoy is still not live");
    }
}

/// What Envoy needs next, by the state that it says it is in (`envoy.admin.v3.ServerInfo.State`).
async fn awaited(admin: Admin, which: &Which) -> &'static str {
    match admin.state().await.as_deref() {
        Ok(_) if matches!(admin.is_it(which).await, Ok(false)) => {
            "the port of its admin interface, which another Envoy has"
        }
        Ok("PRE_INITIALIZING") => "its clusters from the server",
        Ok("INITIALIZING") => "its listeners from the server",
        Ok(_) => "its configuration from the server",
        Err(_) => "an answer from its admin interface",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::watch,
        task::JoinSet,
    };

    use super::*;

    #[tokio::test]
    async fn what_is_awaited_follows_from_envoys_own_word() {
        let (_, turn) = watch::channel(None);
        let which = Which { bootstrap: "b".into(), turn };
        for (word, expected) in [
            ("PRE_INITIALIZING", "clusters"),
            ("INITIALIZING", "listeners"),
            ("DRAINING", "configuration"),
            ("", "configuration"),
        ] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let admin = Admin::new(listener.local_addr().unwrap());
            let mut envoy = JoinSet::new();
            envoy.spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
                let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length";
                let answer = format!("{head}: {}\r\n\r\n{word}\n", word.len() + 1);
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            assert_eq!(awaited(admin, &which).await, format!("its {expected} from the server"), "{word}");
            envoy.join_all().await;
            assert_eq!(awaited(admin, &which).await, "an answer from its admin interface");
        }
    }
}
