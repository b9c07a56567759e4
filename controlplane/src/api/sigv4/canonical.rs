//! The canonical request: the one text of a request that both sides hash.

use http::{HeaderMap, Method, request::Parts};
use percent_encoding::percent_decode;

use super::Refused;

/// Method, path, query, headers and body hash, in the form that Signature V4 prescribes.
#[derive(Debug)]
pub(super) struct CanonicalRequest(Vec<u8>);

impl CanonicalRequest {
    pub(super) fn new(parts: &Parts, signed_headers: &[String], body_hash: &str) -> Result<Self, Refused> {
        let mut text = Vec::new();
        let Parts { method, uri, headers, .. } = parts;
        push_line(&mut text, Method::as_str(method).as_bytes());
        // Services other than S3 sign the path as it is sent, encoded once more.
        push_line(&mut text, &encode(uri.path().as_bytes(), b"/"));
        push_line(&mut text, &query(uri.query().unwrap_or_default()));
        for name in signed_headers {
            let value = match (header(headers, name), name.as_str()) {
                (Some(value), _) => value,
                (None, "host") => uri.authority().map(|host| host.as_str().into()).unwrap_or_default(),
                (None, _) => {
                    return Err(Refused::Incomplete(format!("the signed header {name} is missing")));
                }
            };
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            push_line(&mut text, &value);
        }
        text.push(b'\n');
        push_line(&mut text, signed_headers.join(";").as_bytes());
        text.extend_from_slice(body_hash.as_bytes());
        Ok(Self(text))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Refuses paths that signers normalise before they sign: one signature would fit several of them.
pub(super) fn check_path(path: &str) -> Result<(), Refused> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    // A slash at the end is kept by signers.
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let is_normal = |segment: &str| !matches!(segment, "" | "." | "..");
    match inner.is_empty() || inner.split('/').all(is_normal) {
        true => Ok(()),
        false => Err(Refused::Path),
    }
}

/// The pairs of a query, decoded as the handlers decode them: `+` is a space.
pub(super) fn decode_query(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| percent_decode(text.replace('+', " ").as_bytes()).collect();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Sorted by name, then by value, both encoded; the signature itself cannot be part of what is signed.
fn query(query: &str) -> Vec<u8> {
    let pairs = decode_query(query).into_iter().filter(|(key, _)| key != b"X-Amz-Signature");
    let mut pairs: Vec<_> = pairs.map(|(key, value)| (encode(&key, b""), encode(&value, b""))).collect();
    pairs.sort_unstable();
    let pairs: Vec<Vec<u8>> = pairs.into_iter().map(|(key, value)| [key, value].join(&b'=')).collect();
    pairs.join(&b'&')
}

/// All values of a header, trimmed, with inner white space made single.
fn header(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let values: Vec<Vec<u8>> =
        headers.get_all(name).iter().map(|value| single_spaced(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(&b','))
}

fn single_spaced(value: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> =
        value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// Percent-encodes all but RFC 3986's unreserved characters and `safe`.
fn encode(bytes: &[u8], safe: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || safe.contains(byte) {
            true => encoded.push(*byte),
            false => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    encoded
}

fn push_line(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}
