use std::{
    io,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::client::{ACCESS_KEY, Api, SECRET_KEY, request, signed_by};

/// Keeps the log lines of the thread that made it: the other tests of this process log too.
#[derive(Clone)]
struct Lines {
    thread: ThreadId,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    fn of_this_thread() -> Self {
        Self { thread: thread::current().id(), bytes: Arc::default() }
    }

    fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap());
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if thread::current().id() == self.thread {
            self.bytes.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn every_refusal_is_one_line_with_its_reason_and_no_secret() {
    let lines = Lines::of_this_thread();
    let subscriber = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
    // For the whole process: a subscriber of one thread misses what another thread's absence of one switched off.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let api = Api::new();
    let list = || request("GET", "/v20190125/meshes", b"");
    let forged = signed_by(
        list(),
        api.now(),
        Default::default(),
        (ACCESS_KEY, "a wrong guess"),
        ("us-east-1", "appmesh"),
    );
    let signature = forged.headers()["authorization"].to_str().unwrap().to_owned();
    let bad = json!({"meshName": "m\nforged line"});
    for (answer, code) in [
        (api.send(list()).await, "MissingAuthenticationTokenException"),
        (api.send(forged).await, "InvalidSignatureException"),
        (api.call("PUT", "/meshes", Some(&bad)).await, "BadRequestException"),
        (api.call("GET", "/meshes/m", None).await, "NotFoundException"),
        (api.call("GET", "/nowhere", None).await, "UnknownOperationException"),
    ] {
        assert_eq!(answer.error().1, code);
    }
    let lines = lines.take();
    let codes: Vec<&Value> = lines.iter().map(|line| &line["fields"]["code"]).collect();
    let expected = [
        "MissingAuthenticationTokenException",
        "InvalidSignatureException",
        "BadRequestException",
        "NotFoundException",
        "UnknownOperationException",
    ];
    assert_eq!(codes, expected);
    for line in &lines {
        assert!(line["fields"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{line}");
        assert_eq!(line["span"]["request_id"].as_str().map(str::len), Some(36), "{line}");
        assert!(!line.to_string().contains(SECRET_KEY), "{line}");
        assert!(!line.to_string().contains(signature.rsplit_once('=').unwrap().1), "{line}");
    }
}
