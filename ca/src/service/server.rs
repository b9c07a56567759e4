//! The gRPC server around the node service.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};
use tracing::warn;

use super::{AUDIT, NodePeer, NodeService, answer::InPieces, proto::node_service_server::NodeServiceServer};

/// The longest message that is read, in bytes. One longer is refused by its announced length, unread.
const MAX_MESSAGE: usize = 256 * 1024;

/// The node service as tonic serves it.
///
/// Messages that are too long or no messages at all never reach the service, so that it cannot log them; this
/// does.
#[derive(Clone, Debug)]
pub struct NodeServer(NodeServiceServer<NodeService>);

impl NodeServer {
    pub(super) fn new(service: NodeService) -> Self {
        Self(NodeServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE))
    }
}

impl NamedService for NodeServer {
    const NAME: &'static str = <NodeServiceServer<NodeService> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for NodeServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = NodePeer::who_sent(request.extensions());
        let path = request.uri().path().to_owned();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let status = Status::from_header_map(answer.headers());
            if let Some(status) = status.filter(is_of_the_frame) {
                let (caller, reason) = (peer.name(), status.message());
                warn!(target: AUDIT, rpc = path, caller, reason, "refused a message");
            }
            Ok(answer.map(|body| Body::new(InPieces::new(body))))
        })
    }
}

/// Whether tonic itself refused the message: the service answers with none of these, but where it says when to come
/// back.
fn is_of_the_frame(status: &Status) -> bool {
    use tonic::Code;
    if status.metadata().contains_key(super::refusal::COME_BACK) {
        return false;
    }
    matches!(status.code(), Code::OutOfRange | Code::Internal | Code::Unimplemented | Code::ResourceExhausted)
}
