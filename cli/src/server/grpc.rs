//! What is served on the gRPC port: certificates for agents, configuration for Envoys.

use std::{
    future::{Ready, pending, ready},
    time::Duration,
};

use futures::future::{BoxFuture, Either, FutureExt as _};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use signet_ca::NodeServer;
use signet_controlplane::server::Ads;
use signet_xds::server::{Aggregated, Discovery, connection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, codegen::Service as _, server::NamedService as _};

use super::{
    refusals::Counted,
    tls::{Connection, Peer},
};

/// A peer that does not answer HTTP/2 pings is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The services of the port.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) nodes: Counted<NodeServer>,
    pub(super) ads: Discovery<Aggregated, Ads>,
}

impl Services {
    /// Serves whoever comes in, until `stop`; then until all connections have ended. What goes wrong with a connection ends
    /// that connection.
    pub(super) async fn serve(self, mut incoming: mpsc::Receiver<Connection>, stop: CancellationToken) {
        let drain = stop.clone();
        // Nobody accepts any more once the server drains, which ends this wait.
        let next = async move || match incoming.recv().await {
            Some(connection) => connection,
            None => pending().await,
        };
        let serve = |connection: Connection| {
            let (services, peer) = (self.clone(), connection.peer().clone());
            let answer = move |request| services.answer(request, &peer);
            connection::serve(TokioIo::new(connection), Some(KEEPALIVE), answer, drain.clone())
        };
        connection::serve_all(next, serve, stop).await;
    }

    /// A call of no service of the port ends with UNIMPLEMENTED, as the last one says.
    fn answer(&self, mut request: Request<Incoming>, peer: &Peer) -> Answer {
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match service {
            Some((Counted::<NodeServer>::NAME, _)) => {
                peer.ask_for_certificates(request.extensions_mut());
                let answer = self.nodes.clone().call(request.map(Body::new));
                Either::Left(answer.map(|Ok(answer)| answer).boxed())
            }
            _ => {
                peer.ask_for_configuration(request.extensions_mut());
                let Ok(answer) = self.ads.clone().call(request).into_inner();
                Either::Right(ready(answer))
            }
        }
    }
}

/// A certificate takes a moment; a stream is there at once.
type Answer = Either<BoxFuture<'static, Response<Body>>, Ready<Response<Body>>>;
