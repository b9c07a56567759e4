//! What is asked for is done to its end, though whoever asked goes away meanwhile. A revocation that is in the ledger and not
//! in force, or a change of the root that is on the disk and nowhere else, nobody would end before the next start.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio_util::task::TaskTracker;

/// A layer around handlers. Without it a handler ends with its connection, wherever it is.
pub(super) async fn to_its_end(
    State(under_way): State<TaskTracker>,
    request: Request,
    next: Next,
) -> Response {
    let done = under_way.spawn(next.run(request)).await;
    done.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{Router, body::Body, middleware, routing::post};
    use tokio::{sync::Notify, time::timeout};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_ended_though_whoever_asked_is_gone() {
        let [begun, go, ended] = [(); 3].map(|()| Arc::new(Notify::new()));
        let handler = {
            let (begun, go, ended) = (Arc::clone(&begun), Arc::clone(&go), Arc::clone(&ended));
            async move || {
                begun.notify_one();
                go.notified().await;
                ended.notify_one();
            }
        };
        let layer = middleware::from_fn_with_state(TaskTracker::new(), to_its_end);
        let routes = Router::new().route("/", post(handler)).layer(layer);
        let asked = routes.oneshot(http::Request::post("/").body(Body::empty()).unwrap());
        let is_under_way = tokio::select! {
            _ = asked => false,
            () = begun.notified() => true,
        };
        assert!(is_under_way);
        go.notify_one();
        timeout(Duration::from_secs(10), ended.notified()).await.expect("it went away with its client");
    }
}
