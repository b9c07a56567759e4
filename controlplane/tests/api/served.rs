use std::future::IntoFuture;

use aws_sigv4::http_request::SigningSettings;
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::client::{Api, request, signed};

/// What `aws appmesh create-route` sends for the canary route of the documentation, as one line of JSON.
const CANARY_ROUTE: &str = concat!(
    r#"{"routeName": "canary-route", "spec": {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": "#,
    r#"[{"virtualNode": "service-a-v1-node", "weight": 90}, {"virtualNode": "service-a-v2-node", "weight": 10}]}, "#,
    r#""retryPolicy": {"maxRetries": 3, "perRetryTimeout": {"unit": "ms", "value": 2000}, "httpRetryEvents": "#,
    r#"["server-error", "gateway-error"], "tcpRetryEvents": ["connection-error"]}}}, "#,
    r#""clientToken": "2f3c0f4e-9a55-4c1b-9d47-8c3a7d8b6c11"}"#,
);

/// Serves on loopback for as long as the set lives, and says where.
async fn serve(api: &Api) -> (JoinSet<()>, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    let serving = axum::serve(listener, api.router.clone()).into_future();
    tasks.spawn(async move { drop(serving.await) });
    (tasks, address)
}

/// Sends the whole request before it reads anything, as simple clients do.
async fn exchange(address: std::net::SocketAddr, request: Request<Vec<u8>>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body().len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(request.body()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_canary_route_of_the_documentation_is_created_over_the_wire() {
    let api = Api::new();
    let (_serving, address) = serve(&api).await;
    let creations = [
        ("/meshes", r#"{"meshName":"my-mesh"}"#),
        ("/meshes/my-mesh/virtualNodes", r#"{"virtualNodeName":"service-a-v1-node","spec":{}}"#),
        ("/meshes/my-mesh/virtualNodes", r#"{"virtualNodeName":"service-a-v2-node","spec":{}}"#),
        ("/meshes/my-mesh/virtualRouters", r#"{"virtualRouterName":"service-a-router","spec":{}}"#),
        ("/meshes/my-mesh/virtualRouter/service-a-router/routes", CANARY_ROUTE),
    ];
    for (path, body) in creations {
        let request = request("PUT", &format!("/v20190125{path}"), body.as_bytes());
        let answer = exchange(address, signed(request, api.now(), SigningSettings::default())).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.ends_with(r#""status":{"status":"ACTIVE"}}"#), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_reads_why_it_was_refused() {
    let api = Api::new();
    let (_serving, address) = serve(&api).await;
    let large = || request("PUT", "/v20190125/meshes", &vec![b' '; 4 * 1024 * 1024]);
    let unsigned = exchange(address, large()).await;
    assert!(unsigned.starts_with("HTTP/1.1 403 "), "{unsigned}");
    assert!(unsigned.contains("MissingAuthenticationTokenException"), "{unsigned}");
    let too_large = exchange(address, signed(large(), api.now(), SigningSettings::default())).await;
    assert!(too_large.starts_with("HTTP/1.1 413 "), "{too_large}");
}
