//! A server that is killed while it writes loses nothing that it acknowledged, and keeps no half of anything.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet::{
    client::{Client, Refusal},
    local::mesh::Server,
};
use signet_tests::{clock, dice::Dice, machine, program};
use tokio::{sync::mpsc, task::JoinSet};

const ROUNDS: usize = 50;
const WRITERS: usize = 8;
/// Most acknowledged writes of a round.
const MOST_WRITES: u64 = 160;
const SEED: u64 = 0x5167_6e65_7421;
const NODES: [&str; 4] = ["a", "b", "c", "d"];

/// What is to be seen of a virtual node.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    version: u64,
    port: u64,
    tags: BTreeMap<String, String>,
}

/// A request, and what is to be seen once it is carried out.
#[derive(Clone, Debug)]
struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
    node: &'static str,
    after: Option<Seen>,
}

/// One caller with a mesh of its own, who waits for each answer before the next request.
struct Writer {
    mesh: String,
    dice: Dice,
    requests: u64,
    acknowledged: BTreeMap<&'static str, Seen>,
    /// Sent, and not answered: it was carried out, or not.
    open: Option<Request>,
}

impl Writer {
    fn new(number: usize) -> Self {
        let dice = Dice::new(SEED.wrapping_mul(number as u64 + 2));
        Self { mesh: format!("m{number}"), dice, requests: 0, acknowledged: BTreeMap::new(), open: None }
    }

    fn collection(&self) -> String {
        format!("/v20190125/meshes/{}/virtualNodes", self.mesh)
    }

    fn item(&self, node: &str) -> String {
        format!("{}/{node}", self.collection())
    }

    fn tags_query(&self, node: &str) -> String {
        let arn = format!("arn:aws:appmesh:us-east-1:000000000000:mesh/{}/virtualNode/{node}", self.mesh);
        format!("resourceArn={}", arn.replace(':', "%3A").replace('/', "%2F"))
    }

    fn next(&mut self) -> Request {
        self.requests += 1;
        let node = NODES[usize::try_from(self.dice.roll(4)).unwrap_or_default()];
        let port = 1024 + self.dice.roll(60_000);
        let token = format!("{}-{}", self.mesh, self.requests);
        let spec = json!({
            "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
            "serviceDiscovery": {"dns": {"hostname": format!("host-{port}.local")}},
        });
        let tag = (format!("k{}", self.dice.roll(3)), port.to_string());
        let put = |path, body| (Method::PUT, path, Some(body));
        let ((method, path, body), after) = match (self.acknowledged.get(node), self.dice.roll(4)) {
            (None, _) => {
                let tags = json!([{"key": tag.0, "value": tag.1}]);
                let body = json!({"virtualNodeName": node, "spec": spec, "clientToken": token, "tags": tags});
                (put(self.collection(), body), Some(Seen { version: 1, port, tags: [tag].into() }))
            }
            (Some(_), 0) => ((Method::DELETE, self.item(node), None), None),
            (Some(seen), 1) => {
                let path = format!("/v20190125/tag?{}", self.tags_query(node));
                let mut after = seen.clone();
                let body = json!({"tags": [{"key": tag.0, "value": tag.1}]});
                after.tags.insert(tag.0, tag.1);
                (put(path, body), Some(after))
            }
            (Some(seen), _) => {
                let after = Seen { version: seen.version + 1, port, ..seen.clone() };
                (put(self.item(node), json!({"spec": spec, "clientToken": token})), Some(after))
            }
        };
        Request { method, path, body, node, after }
    }

    /// Writes until nobody answers any more.
    async fn write(mut self, client: Client, acknowledgements: mpsc::UnboundedSender<()>) -> Result<Self> {
        loop {
            let request = self.next();
            match client.call(request.method.clone(), &request.path, request.body.as_ref()).await {
                Ok(_) => {
                    self.note(request);
                    let _ = acknowledgements.send(());
                }
                Err(error) if error.is::<Refusal>() => bail!("{request:?} in {}: {error}", self.mesh),
                Err(_) => {
                    self.open = Some(request);
                    return Ok(self);
                }
            }
        }
    }

    fn note(&mut self, Request { node, after, .. }: Request) {
        match after {
            Some(seen) => self.acknowledged.insert(node, seen),
            None => self.acknowledged.remove(node),
        };
    }

    /// Compares what is there with what was acknowledged, and sends the open request once more.
    async fn check(&mut self, client: &Client) -> Result<()> {
        let open = self.open.take();
        for node in NODES {
            let (found, known) = (self.look(client, node).await?, self.acknowledged.get(node).cloned());
            match open.as_ref().filter(|request| request.node == node) {
                Some(request) if found == request.after => self.note(request.clone()),
                Some(_) | None => ensure!(
                    found == known,
                    "node {node} of {}: {found:?} is there, {known:?} was acknowledged, and {open:?} was not answered",
                    self.mesh
                ),
            }
        }
        let Some(request) = open.filter(|request| request.body.is_some()) else { return Ok(()) };
        // A repetition under its token, or of the same tags, is carried out once in all.
        client.call(request.method.clone(), &request.path, request.body.as_ref()).await?;
        let found = self.look(client, request.node).await?;
        ensure!(found == request.after, "{found:?} after {request:?} was sent again");
        self.note(request);
        Ok(())
    }

    async fn look(&self, client: &Client, node: &str) -> Result<Option<Seen>> {
        let found = match client.call(Method::GET, &self.item(node), None).await {
            Ok(found) => found,
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.status == StatusCode::NOT_FOUND => return Ok(None),
                _ => return Err(error),
            },
        };
        let tags =
            client.call(Method::GET, &format!("/v20190125/tags?{}", self.tags_query(node)), None).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a tag without text");
        let tags = tags["tags"].as_array().context("no tags")?.iter();
        Ok(Some(Seen {
            version: found["metadata"]["version"].as_u64().context("no version")?,
            port: found["spec"]["listeners"][0]["portMapping"]["port"].as_u64().context("no port")?,
            tags: tags.map(|tag| Ok((text(&tag["key"])?, text(&tag["value"])?))).collect::<Result<_>>()?,
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_moment_has_all_that_it_acknowledged_and_no_half_of_the_rest() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let mut dice = Dice::new(SEED);
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let client = server.client(clock())?;
    for writer in &writers {
        client.call(Method::PUT, "/v20190125/meshes", Some(&json!({"meshName": writer.mesh}))).await?;
    }
    let mut written = 0;
    for round in 0..ROUNDS {
        let client = server.client(clock())?;
        let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for writer in writers.drain(..) {
            tasks.spawn(writer.write(client.clone(), acknowledge.clone()));
        }
        drop(acknowledge);
        let last = dice.roll(MOST_WRITES);
        // None: every writer has given up, and says why when it is joined.
        for _ in 0..last {
            acknowledged.recv().await;
        }
        server.kill().await?;
        written += last;
        for writer in tasks.join_all().await {
            writers.push(writer?);
        }
        server.restart().await?;
        let client = server.client(clock())?;
        for writer in &mut writers {
            let checked = writer.check(&client).await;
            checked.with_context(|| format!("in round {round}, after {last} writes; seed {SEED:#x}"))?;
        }
    }
    println!("{ROUNDS} rounds, {written} acknowledged writes");
    server.stop().await;
    Ok(())
}
