//! One connection to the server, and what can go wrong with it.

use std::{error::Error as StdError, io, sync::Mutex, time::Duration};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use signet_policies::identity::Workload;
use signet_sds::secret::Secrets;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Status,
    transport::{Endpoint, Uri},
};
use tower::service_fn;

use super::{Server, tls, token_hint};

/// Why a call came to nothing.
#[derive(Debug, Error)]
pub(super) enum CallError {
    #[error("no connection to the server ({0})")]
    Unreachable(io::Error),
    #[error("the TLS configuration cannot be made ({0})")]
    Tls(rustls::Error),
    #[error("the server is not the one that the roots vouch for ({0})")]
    NotTheServer(rustls::Error),
    #[error("the server did not accept our certificate ({0})")]
    NotAccepted(rustls::Error),
    #[error("the server refused: {message} ({code:?})")]
    Refused { code: Code, message: String },
    #[error("the server cannot answer: {message} ({code:?})")]
    Unavailable { code: Code, message: String },
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

    /// What a failed call means. In TLS 1.3 a refused client certificate shows only here, as an alert in place
    /// of an answer (RFC 8446, section 4.4.2.4).
    pub(super) fn from_status(status: Status) -> Self {
        if let Some(alert) = alert_in(&status) {
            return Self::NotAccepted(alert);
        }
        let (code, message) = (status.code(), status.message().to_owned());
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
            | Code::DataLoss => Self::Unavailable { code, message },
        }
    }

    /// What a failed handshake means.
    fn from_handshake(error: io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
        match cause {
            Some(alert @ rustls::Error::AlertReceived(_)) => Self::NotAccepted(alert),
            Some(untrusted @ rustls::Error::InvalidCertificate(_)) => Self::NotTheServer(untrusted),
            _ => Self::Unreachable(error),
        }
    }
}

fn alert_in(status: &Status) -> Option<rustls::Error> {
    let mut next: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(alert @ rustls::Error::AlertReceived(_)) = tls.or(error.downcast_ref()) {
            return Some(alert.clone());
        }
        next = error.source();
    }
    None
}

/// A gRPC channel on one TLS connection.
pub(super) struct Channel(tonic::transport::Channel);

impl Channel {
    /// Connects, shows `held` if the server asks, and checks who the server is.
    pub(super) async fn open(server: &Server, held: Option<&Secrets>) -> Result<Self, CallError> {
        let stream = handshake(server, held).await?;
        let stream = Mutex::new(Some(TokioIo::new(stream)));
        let connector = service_fn(move |_: Uri| {
            let stream = stream.lock().map(|mut stream| stream.take()).ok().flatten();
            async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        // The connector ends TLS itself; the name in this URI is only the :authority of the requests.
        let endpoint = Endpoint::from_static("http://signet.server");
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|error| CallError::Unreachable(io::Error::other(error)))?;
        Ok(Self(channel))
    }

    pub(super) fn inner(self) -> tonic::transport::Channel {
        self.0
    }
}

async fn handshake(server: &Server, held: Option<&Secrets>) -> Result<TlsStream<TcpStream>, CallError> {
    let config = tls::client_config(server, held).map_err(CallError::Tls)?;
    let (host, port) = (server.addr.host().to_owned(), server.addr.port());
    let name = ServerName::try_from(host.clone());
    let name = name.map_err(|error| CallError::Unreachable(io::Error::other(error)))?;
    let stream = TcpStream::connect((host, port)).await.map_err(CallError::Unreachable)?;
    stream.set_nodelay(true).map_err(CallError::Unreachable)?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(name, stream).await.map_err(CallError::from_handshake)
}
