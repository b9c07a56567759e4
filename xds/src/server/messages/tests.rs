use std::convert::Infallible;

use futures::StreamExt as _;
use http_body::Frame;
use prost::Message as _;
use tonic::Code;

use super::*;
use crate::pb::envoy::service::discovery::v3::DiscoveryRequest;

/// A body of these frames.
struct Frames(std::vec::IntoIter<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

fn messages(frames: Vec<Bytes>) -> Messages<Frames, DiscoveryRequest> {
    Messages::new(Frames(frames.into_iter()))
}

fn request(name: &str) -> DiscoveryRequest {
    DiscoveryRequest { resource_names: vec![name.into()], ..Default::default() }
}

fn framed(request: &DiscoveryRequest) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

#[tokio::test]
async fn messages_are_found_however_they_are_cut_into_frames() {
    let wanted = [request("a"), request(""), DiscoveryRequest::default(), request(&"x".repeat(70_000))];
    let bytes: Vec<u8> = wanted.iter().flat_map(framed).collect();
    for size in [1, 2, 5, 7, 1000, bytes.len()] {
        let frames = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        let found: Vec<_> = messages(frames).map(Result::unwrap).collect().await;
        assert!(found == wanted, "in pieces of {size}");
    }
}

#[tokio::test]
async fn nothing_is_kept_between_messages() {
    let mut messages = messages(vec![framed(&request(&"x".repeat(70_000))).into()]);
    messages.next().await.unwrap().unwrap();
    assert_eq!(messages.buffer.capacity(), 0);
}

#[tokio::test]
async fn what_is_no_message_ends_the_stream_with_a_reason() {
    let whole = framed(&request("a"));
    let cut = whole[..whole.len() - 1].to_vec();
    let compressed = [&[1], &whole[1..]].concat();
    let huge = [0, 0xff, 0xff, 0xff, 0xff].to_vec();
    let nonsense = [0, 0, 0, 0, 1, 0xff].to_vec();
    for (bytes, code) in [
        (cut, Code::InvalidArgument),
        (compressed, Code::Unimplemented),
        (huge, Code::ResourceExhausted),
        (nonsense, Code::InvalidArgument),
    ] {
        let mut messages = messages(vec![bytes.into(), whole.clone().into()]);
        let ended = messages.next().await.unwrap();
        // A message that was cut off swallows the beginning of the next.
        if code != Code::InvalidArgument {
            assert_eq!(ended.unwrap_err().code(), code);
            assert!(messages.next().await.is_none());
        }
    }
    let mut messages = messages(vec![whole[..3].to_vec().into()]);
    assert_eq!(messages.next().await.unwrap().unwrap_err().code(), Code::InvalidArgument);
}
