//! One question, one answer.

use futures::{Stream, StreamExt as _};
use tokio::time::timeout;
use tonic::Status as Refusal;

use super::{
    PATIENCE, Source,
    stream::{Incoming, Shell, Turn},
};
use crate::session::Response;

/// Answers the first request and no more, waiting a while for there to be an answer.
pub(super) async fn fetch<S, R, I>(mut shell: Shell<S, R>) -> Result<Response, Refusal>
where
    S: Source,
    R: Stream<Item = Result<I, Refusal>> + Send + Unpin + 'static,
    I: Incoming,
{
    let request = timeout(PATIENCE, shell.requests.next()).await;
    let request = request.map_err(|_| super::stream::no_request())?;
    let request = request.unwrap_or_else(|| Err(Refusal::invalid_argument("there is no request")))?;
    if let Some(end) = shell.on_request(Some(Ok(request)), &tracing::Span::none()) {
        return Err(end.refusal());
    }
    match timeout(PATIENCE, shell.first_answer()).await {
        Ok(Turn::Send(response)) => Ok(response),
        Ok(end) => Err(end.refusal()),
        Err(_) => Err(Refusal::deadline_exceeded("nothing is ready to be served yet")),
    }
}
