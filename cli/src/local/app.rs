//! A small HTTP application: answers every request with its own name.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::HeaderMap};
use tokio::{net::TcpListener, task::JoinSet};

/// The header that an application puts its name in.
pub const NAME_HEADER: &str = "x-app";
/// The header by which Envoy tells the application who the client is.
const CLIENT_HEADER: &str = "x-forwarded-client-cert";

/// Starts an application on `address` inside `tasks`, and returns where it listens.
///
/// # Errors
/// The address is taken.
pub async fn start(name: &str, address: SocketAddr, tasks: &mut JoinSet<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let router = Router::new().fallback(answer).with_state(name.to_owned());
    tasks.spawn(async move {
        // Serving ends only with the task.
        drop(axum::serve(listener, router).await);
    });
    Ok(bound)
}

async fn answer(State(name): State<String>, headers: HeaderMap) -> ([(&'static str, String); 1], String) {
    let client = headers.get(CLIENT_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("-");
    let body = format!("{name} client={client}\n");
    ([(NAME_HEADER, name)], body)
}
