//! gRPC calls of a test, by tonic, of any method: messages are bytes.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use serde_json::Value;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::Endpoint,
};

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Makes one unary call to a virtual service, on a connection of its own, and returns what the application says that
/// it was sent, see [`super::call::Answer::json`]. `method` is `/package.Service/Method`.
///
/// # Errors
/// The outer error: there is no connection. The inner one: the call's status.
pub async fn call(
    address: SocketAddr,
    host: &str,
    method: &str,
    metadata: MetadataMap,
) -> Result<Result<Value, Status>> {
    let endpoint =
        Endpoint::from_shared(format!("http://{address}"))?.origin(format!("http://{host}").parse()?);
    let mut client = Grpc::new(endpoint.connect().await?);
    client.ready().await?;
    let mut request = Request::new(Bytes::from_static(b"hello"));
    *request.metadata_mut() = metadata;
    let method: PathAndQuery = method.parse()?;
    match client.unary(request, method, Raw).await {
        Ok(answer) => Ok(Ok(serde_json::from_slice(answer.get_ref())?)),
        Err(status) => Ok(Err(status)),
    }
}
