//! A socket that is written in one piece.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// As much as is gathered, in bytes: more than a secret with its frame has.
const MOST: usize = 4 << 10;

/// A connection of a proxy. The head of a frame and its payload lie apart; to copy both together and send them costs the
/// kernel less than to collect them itself (writev(2)), as long as they are small.
pub(super) struct Socket(pub(super) UnixStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = [0; MOST];
        let mut length = 0;
        for piece in pieces {
            let Some(place) = gathered.get_mut(length..length + piece.len()) else {
                return Pin::new(&mut self.0).poll_write_vectored(cx, pieces);
            };
            place.copy_from_slice(piece);
            length += piece.len();
        }
        Pin::new(&mut self.0).poll_write(cx, &gathered[..length])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_their_order_whether_or_not_they_are_few_enough_to_be_gathered() {
        for length in [0, 1, MOST - 9, MOST - 8, 3 * MOST] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut ours = Socket(ours);
            let payload: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let pieces = [b"head of 9".as_slice(), &payload];
            let written = ours.write_vectored(&pieces.map(IoSlice::new)).await.unwrap();
            assert_eq!(written, 9 + length);
            drop(ours);
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            assert!(read == pieces.concat(), "{length}");
        }
    }
}
