//! One connection to the server, and what can go wrong with it.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use signet_policies::identity::Workload;
use signet_sds::secret::Secrets;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Response, Status,
    transport::{Endpoint, Uri},
};
use tower::service_fn;

use super::{
    Server,
    pb::node_service_client::NodeServiceClient,
    stream::{Alert, Noting, alert_in},
    tls, token_hint,
};

/// A server that does not answer pings for so long is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why a call came to nothing.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("no connection to the server ({0})")]
    Unreachable(io::Error),
    #[error("the TLS configuration cannot be made ({0})")]
    Tls(rustls::Error),
    #[error(
        "the server is not the one that the roots vouch for ({0}); where its root was changed while this agent was off, \
         copy the new ca.pem from the server's data folder to the file that --ca-file names, and make a new token"
    )]
    NotTheServer(rustls::Error),
    #[error("the server did not accept our certificate ({}); {}", .0, way_back(.0))]
    NotAccepted(rustls::Error),
    #[error("the server refused: {message} ({code:?})")]
    Refused { code: Code, message: String },
    #[error("the server cannot answer: {message} ({code:?})")]
    Unavailable { code: Code, message: String, stay_away: Option<Duration> },
    #[error("the server did not answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("there is neither a valid certificate nor a token; {}", token_hint(.0))]
    NoCredentials(Workload),
}

impl CallError {
    /// Whether asking the same again gives the same answer.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unavailable { .. } | Self::Late(_) => false,
            Self::Tls(_)
            | Self::NotTheServer(_)
            | Self::NotAccepted(_)
            | Self::Refused { .. }
            | Self::NoCredentials(_) => true,
        }
    }

    /// How long the server wants not to be asked again.
    pub(super) fn stay_away(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { stay_away, .. } => *stay_away,
            Self::Unreachable(_)
            | Self::Late(_)
            | Self::Tls(_)
            | Self::NotTheServer(_)
            | Self::NotAccepted(_)
            | Self::Refused { .. }
            | Self::NoCredentials(_) => None,
        }
    }

    /// What a failed call means.
    fn from_status(status: &Status) -> Self {
        let (code, message) = (status.code(), status.message().to_owned());
        // As gRPC's own retries have it (gRFC A6).
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        let pushback = pushback.and_then(|value| value.to_str().ok()?.parse().ok());
        let stay_away = pushback.map(Duration::from_millis);
        match code {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Refused { code, message },
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Unavailable { code, message, stay_away },
        }
    }

    /// What a failed handshake means.
    fn from_handshake(error: io::Error) -> Self {
        if let Some(alert) = alert_in(&error) {
            return Self::NotAccepted(alert);
        }
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match cause {
            Some(untrusted @ rustls::Error::InvalidCertificate(_)) => Self::NotTheServer(untrusted.clone()),
            _ => Self::Unreachable(error),
        }
    }
}

/// What helps where the server ends a handshake with this alert.
fn way_back(alert: &rustls::Error) -> &'static str {
    match *alert == rustls::Error::AlertReceived(AlertDescription::CertificateRevoked) {
        true => {
            "it was revoked: if that was not meant for this agent, a new token lets it join again, after `signet ca allow` where \
             its identity was banned"
        }
        false => "where its root was changed while this agent was off, a new token lets it join again",
    }
}

/// A gRPC channel on one TLS connection.
pub(crate) struct Channel {
    inner: tonic::transport::Channel,
    alert: Alert,
}

impl Channel {
    /// Connects, shows `held` if the server asks, and checks who the server is.
    pub(crate) async fn open(server: &Server, held: Option<&Secrets>) -> Result<Self, CallError> {
        let stream = handshake(server, held).await?;
        let (stream, alert) = Noting::new(stream);
        let stream = Mutex::new(Some(TokioIo::new(stream)));
        let connector = service_fn(move |_: Uri| {
            let stream = stream.lock().map(|mut stream| stream.take()).ok().flatten();
            async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        // The connector ends TLS itself; the name in this URI is only the :authority of the requests.
        let endpoint = Endpoint::from_static("http://signet.server")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        match endpoint.connect_with_connector(connector).await {
            Ok(inner) => Ok(Self { inner, alert }),
            Err(error) => Err(unless_alerted(&alert, CallError::Unreachable(io::Error::other(error)))),
        }
    }

    pub(crate) fn client(&self) -> NodeServiceClient<tonic::transport::Channel> {
        NodeServiceClient::new(self.inner.clone())
    }

    /// What came of a call.
    pub(crate) fn settle<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, CallError> {
        answer.map(Response::into_inner).map_err(|status| self.failure(&status))
    }

    /// Why a call, or a stream, ended.
    pub(crate) fn failure(&self, status: &Status) -> CallError {
        unless_alerted(&self.alert, CallError::from_status(status))
    }
}

/// In TLS 1.3 the server's view of our certificate comes after our handshake has ended: as an alert in place of the
/// first answer (RFC 8446, section 4.4.2.4).
fn unless_alerted(alert: &Alert, otherwise: CallError) -> CallError {
    alert.get().map_or(otherwise, |alert| CallError::NotAccepted(alert.clone()))
}

async fn handshake(server: &Server, held: Option<&Secrets>) -> Result<TlsStream<TcpStream>, CallError> {
    let config = tls::client_config(server, held).map_err(CallError::Tls)?;
    let (host, port) = (server.addr.host().to_owned(), server.addr.port());
    let name = ServerName::try_from(host.clone());
    let name = name.map_err(|error| CallError::Unreachable(io::Error::other(error)))?;
    let stream = TcpStream::connect((host, port)).await.map_err(CallError::Unreachable)?;
    stream.set_nodelay(true).map_err(CallError::Unreachable)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(CallError::from_handshake)
}
