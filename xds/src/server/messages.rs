//! The requests of one stream, taken out of the frames of its HTTP body.

use std::{
    error::Error,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use http_body::Body;
use prost::Message;
use tonic::Status as Refusal;

use super::MAX_REQUEST;

/// The compression flag and the length.
const FRAME: usize = 5;

/// Decodes gRPC messages as their bytes arrive, and keeps no memory between two of them.
pub(super) struct Messages<B, M> {
    body: Pin<Box<B>>,
    buffer: BytesMut,
    ended: bool,
    message: PhantomData<fn() -> M>,
}

impl<B, M> Messages<B, M> {
    pub(super) fn new(body: B) -> Self {
        Self { body: Box::pin(body), buffer: BytesMut::new(), ended: false, message: PhantomData }
    }
}

impl<B, M: Message + Default> Messages<B, M> {
    /// The next message that has arrived whole.
    fn take(&mut self) -> Result<Option<M>, Refusal> {
        let Some((&[flag, a, b, c, d], rest)) = self.buffer.split_first_chunk::<FRAME>() else {
            return Ok(None);
        };
        if flag != 0 {
            return Err(Refusal::unimplemented("compressed requests are not understood"));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > MAX_REQUEST {
            return Err(Refusal::resource_exhausted(format!("a request is larger than {MAX_REQUEST} bytes")));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(FRAME);
        let message = M::decode(self.buffer.split_to(length).freeze());
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        let malformed = |_| Refusal::invalid_argument("a request is no valid protobuf message of its type");
        message.map(Some).map_err(malformed)
    }
}

impl<B, M> Stream for Messages<B, M>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    M: Message + Default,
{
    type Item = Result<M, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(item) = self.take().transpose() {
                self.ended = item.is_err();
                return Poll::Ready(Some(item));
            }
            match ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Refusal::from_error(error.into()))));
                }
                None => {
                    self.ended = true;
                    let cut = || Err(Refusal::invalid_argument("the stream ended within a request"));
                    return Poll::Ready((!self.buffer.is_empty()).then(cut));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
