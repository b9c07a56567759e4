//! TLS that holds nothing back: what the socket has no room for stays with whoever writes it.
//!
//! rustls encrypts whatever it is given, and tokio-rustls looks for room in the socket afterwards. Ten thousand streams
//! that read more slowly than they are written to would each hold up to 64 KB of ciphertext, memory that an allocator does
//! not easily give back once something small lies above it. Here room is asked for first, and one record is made for it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What may wait for the socket: a record and a frame's head in another, in ciphertext.
const WAITING: usize = 17 << 10;
/// A write below this is not worth the question.
const LARGE: usize = 8 << 10;

/// The server's end of a connection.
#[derive(Debug)]
pub(super) struct Frugal {
    stream: TlsStream<TcpStream>,
    has_written: bool,
}

impl Frugal {
    /// The peer's connection after its handshake.
    ///
    /// # Errors
    /// The handshake came to nothing.
    pub(super) async fn accept(acceptor: &TlsAcceptor, tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let mut stream = acceptor.accept(tcp).await?;
        stream.get_mut().1.set_buffer_limit(Some(WAITING));
        Ok(Self { stream, has_written: false })
    }

    /// What is known of the peer.
    pub(super) fn tls(&self) -> &ServerConnection {
        self.stream.get_ref().1
    }

    /// Waits until so much may be encrypted.
    fn poll_room(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<()>> {
        if length < LARGE {
            return Poll::Ready(Ok(()));
        }
        if self.tls().wants_write() {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        }
        let tcp = self.stream.get_ref().0;
        loop {
            ready!(tcp.poll_write_ready(cx))?;
            match tcp.try_io(Interest::WRITABLE, || has_room(tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                asked => return Poll::Ready(asked),
            }
        }
    }
}

/// # Errors
/// `WouldBlock` while a third of the socket's buffer is not free. The kernel tells of it when it is.
fn has_room(tcp: &TcpStream) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(tcp, PollFlags::OUT)], Some(&now))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

impl AsyncRead for Frugal {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Frugal {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx, buf.len()))?;
        self.has_written = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    // Head and content of a message are one record, and one call of the system, instead of two.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx, bufs.iter().map(|buf| buf.len()).sum()))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    // h2 asks when it begins, and copies frames of up to 1 KB into one write where it hears no, a quarter of that where it
    // hears yes. For larger ones it asks before each write.
    fn is_write_vectored(&self) -> bool {
        self.has_written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
