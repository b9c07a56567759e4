//! Answers in as few writes as there can be.
//!
//! h2 copies a small frame into the buffer that it writes next. A larger one it writes out where it lies, before it looks
//! at the frame after it: the status behind a certificate is then a write, a TLS record and a packet of its own. So an
//! answer goes to it in pieces that it copies, where the connection did not say when it began that it takes several slices
//! at once: then h2 copies a quarter of that.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// The largest frame that h2 copies, in bytes.
const PIECE: usize = 1023;
/// What is longer costs more in frames than a write is worth.
const MOST: usize = 4096;

/// The body of an answer, in pieces.
pub(super) struct InPieces {
    answer: Body,
    /// Of the frame that is being sent.
    rest: Bytes,
}

impl InPieces {
    pub(super) const fn new(answer: Body) -> Self {
        Self { answer, rest: Bytes::new() }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl HttpBody for InPieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        match ready!(Pin::new(&mut self.answer).poll_frame(cx)).transpose()?.map(Frame::into_data) {
            Some(Ok(data)) if data.len() <= MOST => {
                self.rest = data;
                Poll::Ready(Some(Ok(self.piece())))
            }
            Some(Ok(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Err(trailers)) => Poll::Ready(Some(Ok(trailers))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
