//! The response side of one stream, as an HTTP body of shared bytes.
//!
//! tonic's own encoder keeps a buffer of the size of a stream's largest message for as long as the stream is
//! open; this keeps nothing.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use http_body::Frame;
use tonic::Status as Refusal;

use super::splice::{Piece, Splice};
use crate::session::{Response, Variant};

/// What a stream says, each response made when the one before has been taken.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<Response, Refusal>> + Send>>;

/// The response side of one call: responses as frames of shared bytes, and the status of their end as trailers.
pub struct Body {
    /// `None` when the trailers are out.
    responses: Option<Responses>,
    variant: Variant,
    sending: Option<Splice>,
}

impl Body {
    pub(super) const fn new(responses: Responses, variant: Variant) -> Self {
        Self { responses: Some(responses), variant, sending: None }
    }

    fn end(&mut self, status: &Refusal) -> Frame<Piece> {
        self.responses = None;
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // Only a message that is no header's value could do this, and messages are percent-encoded.
            trailers.insert(Refusal::GRPC_STATUS, http::HeaderValue::from_static("13"));
        }
        Frame::trailers(trailers)
    }
}

/// Nothing, as after a status that came with the head.
impl Default for Body {
    fn default() -> Self {
        Self { responses: None, variant: Variant::Sotw, sending: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("is_over", &self.responses.is_none()).finish_non_exhaustive()
    }
}

/// The same with every piece joined, as tonic's server wants it.
pub(super) struct Joined(pub(super) Body);

impl http_body::Body for Joined {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let joined = |frame: Frame<Piece>| frame.map_data(Piece::joined);
        Pin::new(&mut self.0).poll_frame(cx).map_ok(joined)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Refusal>>> {
        loop {
            if let Some(piece) = self.sending.as_mut().and_then(Iterator::next) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.sending = None;
            let Some(responses) = &mut self.responses else {
                return Poll::Ready(None);
            };
            let end = match ready!(responses.as_mut().poll_next(cx)) {
                Some(Ok(response)) => {
                    self.sending = Splice::new(&response, self.variant);
                    if self.sending.is_some() {
                        continue;
                    }
                    Refusal::resource_exhausted("the configuration is larger than gRPC can carry")
                }
                Some(Err(refusal)) => refusal,
                None => Refusal::ok(""),
            };
            return Poll::Ready(Some(Ok(self.end(&end))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.responses.is_none()
    }
}
