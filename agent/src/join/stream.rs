//! A TLS stream that remembers why it failed: what lies above turns causes into text.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The alert by which the peer ended the connection, once it has.
pub(super) type Alert = Arc<OnceLock<rustls::Error>>;

/// A TLS connection, and where its alert is noted.
pub(super) struct Noting {
    stream: TlsStream<TcpStream>,
    alert: Alert,
}

impl Noting {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> (Self, Alert) {
        let alert = Alert::default();
        (Self { stream, alert: Arc::clone(&alert) }, alert)
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(alert) = alert_in(error)
        {
            // The first is the cause of what comes after it.
            let _ = self.alert.set(alert);
        }
        polled
    }
}

/// The alert that an I/O error of a TLS stream stands for.
pub(super) fn alert_in(error: &io::Error) -> Option<rustls::Error> {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())?;
    matches!(cause, rustls::Error::AlertReceived(_)).then(|| cause.clone())
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(polled)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.note(polled)
    }
}
