//! The App Mesh API as `signet apply` asks it.

use std::collections::BTreeMap;

use anyhow::Error;
use async_trait::async_trait;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use signet_controlplane::{
    api::{list_member, name_member},
    model::{
        Document,
        key::{Collection, Key},
    },
};
use signet_manifests::{
    Tags,
    server::{Api, ApiError, Described, Version},
};

use crate::client::{Client, Refusal};

/// What Signature Version 4 leaves as it is in a query.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A server, asked over its API.
pub(crate) struct AppMesh(pub(crate) Client);

impl AppMesh {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        self.0.call(method, path, body).await.map_err(api_error)
    }

    /// All pages of a list; `pick` takes what is wanted of each item.
    async fn pages<T>(
        &self,
        path: &str,
        member: &str,
        pick: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut found, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = match &token {
                Some(token) => format!("{path}{separator}nextToken={}", escaped(token)),
                None => path.to_owned(),
            };
            let answer = self.call(Method::GET, &page, None).await?;
            let items = answer.get(member).and_then(Value::as_array).ok_or_else(|| odd(&page))?;
            for item in items {
                found.push(pick(item).ok_or_else(|| odd(&page))?);
            }
            match answer.get("nextToken").and_then(Value::as_str) {
                Some(next) if token.as_deref() != Some(next) => token = Some(next.to_owned()),
                Some(_) => return Err(odd(&page)),
                None => return Ok(found),
            }
        }
    }
}

#[async_trait]
impl Api for AppMesh {
    async fn list(&self, collection: &Collection) -> Result<Vec<String>, ApiError> {
        let kind = collection.kind();
        let name = |item: &Value| Some(item.get(name_member(kind))?.as_str()?.to_owned());
        self.pages(&collection_path(collection), list_member(kind), name).await
    }

    async fn describe(&self, key: &Key) -> Result<Described, ApiError> {
        described(self.call(Method::GET, &path(key), None).await?)
    }

    async fn create(&self, document: &Document, tags: &Tags) -> Result<Described, ApiError> {
        let key = document.key();
        let mut body = Map::new();
        body.insert(name_member(key.kind()).into(), key.name().into());
        body.insert("spec".into(), spec(document)?);
        if !tags.is_empty() {
            body.insert("tags".into(), tag_list(tags));
        }
        let body = Value::Object(body);
        described(self.call(Method::PUT, &collection_path(&key.collection()), Some(&body)).await?)
    }

    async fn update(&self, document: &Document, expected: u64) -> Result<Described, ApiError> {
        let body = json!({"spec": spec(document)?});
        let path = path(document.key());
        let answer = self.0.call_at(Method::PUT, &path, Some(&body), Some(expected)).await;
        described(answer.map_err(api_error)?)
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<(), ApiError> {
        let deleted = self.0.call_at(Method::DELETE, &path(key), None, Some(expected)).await;
        deleted.map(drop).map_err(api_error)
    }

    async fn tags(&self, arn: &str) -> Result<Tags, ApiError> {
        let path = format!("/v20190125/tags?resourceArn={}", escaped(arn));
        let pair = |item: &Value| {
            let text = |member: &str| Some(item.get(member)?.as_str()?.to_owned());
            Some((text("key")?, text("value").unwrap_or_default()))
        };
        Ok(self.pages(&path, "tags", pair).await?.into_iter().collect())
    }

    async fn tag(&self, arn: &str, tags: &Tags) -> Result<(), ApiError> {
        let path = format!("/v20190125/tag?resourceArn={}", escaped(arn));
        self.call(Method::PUT, &path, Some(&json!({"tags": tag_list(tags)}))).await.map(drop)
    }

    async fn untag(&self, arn: &str, keys: &[String]) -> Result<(), ApiError> {
        let path = format!("/v20190125/untag?resourceArn={}", escaped(arn));
        self.call(Method::PUT, &path, Some(&json!({"tagKeys": keys}))).await.map(drop)
    }
}

fn api_error(error: Error) -> ApiError {
    match error.downcast::<Refusal>() {
        Ok(refusal) if refusal.code == "NotFoundException" => ApiError::Missing,
        Ok(Refusal { code, message, .. }) => ApiError::Refused { code, message },
        Err(error) => ApiError::Unreachable(format!("{error:#}")),
    }
}

fn odd(path: &str) -> ApiError {
    ApiError::Unreachable(format!("the server's answer to {path} is not what App Mesh answers"))
}

fn described(answer: Value) -> Result<Described, ApiError> {
    #[derive(Deserialize)]
    struct Answer {
        metadata: Metadata,
        spec: Value,
    }
    #[derive(Deserialize)]
    struct Metadata {
        arn: String,
        uid: String,
        version: u64,
    }
    let answer: Answer = serde_json::from_value(answer).map_err(|_| odd("a description"))?;
    let Metadata { arn, uid, version } = answer.metadata;
    Ok(Described { arn, version: Version { uid, number: version }, spec: answer.spec })
}

fn spec(document: &Document) -> Result<Value, ApiError> {
    serde_json::from_str(document.text().get()).map_err(|error| ApiError::Unreachable(error.to_string()))
}

fn tag_list(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Names need no escaping: every legal one is of unreserved characters.
fn collection_path(collection: &Collection) -> String {
    let meshes = "/v20190125/meshes";
    match collection {
        Collection::Meshes => meshes.to_owned(),
        Collection::VirtualNodes(mesh) => format!("{meshes}/{mesh}/virtualNodes"),
        Collection::VirtualServices(mesh) => format!("{meshes}/{mesh}/virtualServices"),
        Collection::VirtualRouters(mesh) => format!("{meshes}/{mesh}/virtualRouters"),
        Collection::VirtualGateways(mesh) => format!("{meshes}/{mesh}/virtualGateways"),
        Collection::Routes { mesh, router } => format!("{meshes}/{mesh}/virtualRouter/{router}/routes"),
        Collection::GatewayRoutes { mesh, gateway } => {
            format!("{meshes}/{mesh}/virtualGateway/{gateway}/gatewayRoutes")
        }
    }
}

fn path(key: &Key) -> String {
    format!("{}/{}", collection_path(&key.collection()), key.name())
}
