//! prost is the judge.

use std::sync::Arc;

use bytes::Buf;

use super::*;
use crate::{
    pb::{
        envoy::service::discovery::v3::{self, DeltaDiscoveryResponse, DiscoveryResponse},
        google::protobuf::Any,
    },
    resource::ResourceType,
    session::tests::snapshot,
};

impl From<Response> for DiscoveryResponse {
    fn from(response: Response) -> Self {
        Self {
            version_info: response.version.as_deref().unwrap_or_default().to_owned(),
            resources: response.resources.iter().map(any).collect(),
            type_url: response.kind.type_url().to_owned(),
            nonce: response.nonce,
            ..Self::default()
        }
    }
}

impl From<Response> for DeltaDiscoveryResponse {
    fn from(response: Response) -> Self {
        Self {
            resources: response.resources.iter().map(versioned).collect(),
            type_url: response.kind.type_url().to_owned(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce,
            ..Self::default()
        }
    }
}

fn any(resource: &Resource) -> Any {
    Any { type_url: resource.kind().type_url().to_owned(), value: resource.value().to_vec() }
}

fn versioned(resource: &Resource) -> v3::Resource {
    v3::Resource {
        name: resource.name().to_owned(),
        version: resource.version().to_owned(),
        resource: Some(any(resource)),
        ..Default::default()
    }
}

/// Whether prost reads out of one gRPC frame what it would have written of the response, in as many bytes.
fn is_read(written: &[u8], response: Response, variant: Variant) -> bool {
    fn is<M: prost::Message + Default + PartialEq>(written: &[u8], message: &M) -> bool {
        let length = u32::try_from(message.encoded_len()).unwrap().to_be_bytes();
        let Some((head, rest)) = written.split_first_chunk::<FRAME>() else { return false };
        *head == [&[0], &length[..]].concat()[..]
            && rest.len() == message.encoded_len()
            && M::decode(rest).as_ref() == Ok(message)
    }
    match variant {
        Variant::Sotw => is(written, &DiscoveryResponse::from(response)),
        Variant::Delta => is(written, &DeltaDiscoveryResponse::from(response)),
    }
}

fn response(resources: Vec<Resource>, removed: &[&str], version: &str) -> Response {
    Response {
        kind: ResourceType::Cluster,
        nonce: "7-1".into(),
        version: Some(version.into()),
        resources: resources.into_iter().collect(),
        removed: removed.iter().map(|name| Arc::from(*name)).collect(),
    }
}

/// Clusters with values of these lengths, and a little more.
fn clusters(lengths: &[usize]) -> Vec<Resource> {
    let resource = |(number, length): (usize, &usize)| {
        let text = match length {
            0 => "C c@".to_owned(),
            length => format!("C c{number}@{}", "x".repeat(*length)),
        };
        snapshot(&text).resources(ResourceType::Cluster).next().cloned().expect("one cluster")
    };
    lengths.iter().enumerate().map(resource).collect()
}

fn pieces(response: Response, variant: Variant) -> Vec<Bytes> {
    Splice::new(&response, variant).expect("less than 4 GiB").map(Piece::joined).collect()
}

#[test]
fn prost_reads_the_response_out_of_what_goes_on_the_wire() {
    let sets: [&[usize]; 8] = [
        &[],
        &[0],
        &[1, 100, 127, 128, 129],
        &[SHARED - 20, SHARED, SHARED + 1],
        &[SHARED * 3],
        &[PIECE * 2, 1, PIECE * 2],
        &[300; 500],
        &[1000, SHARED * 2, 1000, 1000, SHARED * 2, SHARED * 2],
    ];
    for lengths in sets {
        for removed in [&[][..], &["gone", "gone-too"]] {
            for (variant, version) in [(Variant::Sotw, "v"), (Variant::Sotw, ""), (Variant::Delta, "")] {
                // SotW has no field for what is gone.
                let removed = if variant == Variant::Delta { removed } else { &[] };
                let response = response(clusters(lengths), removed, version);
                // The first writes it for itself, the second for all.
                for time in 1..=3 {
                    let written = pieces(response.clone(), variant).concat();
                    let is_read = is_read(&written, response.clone(), variant);
                    assert!(is_read, "{lengths:?} {removed:?} {variant:?}, time {time}");
                }
            }
        }
    }
}

#[test]
fn a_large_value_goes_out_as_it_lies_in_memory() {
    let resources = clusters(&[10, SHARED * 4, 10]);
    let value = resources[1].value().clone();
    for variant in [Variant::Sotw, Variant::Delta] {
        let pieces = pieces(response(resources.clone(), &[], ""), variant);
        assert!(pieces.iter().any(|piece| piece.as_ptr() == value.as_ptr()), "{variant:?}: it was copied");
    }
}

#[test]
fn streams_that_send_the_same_send_the_same_bytes() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let response = response(clusters(&[400; 100]), &[], "");
        let largest = |nonce: &str| {
            let response = Response { nonce: nonce.into(), ..response.clone() };
            pieces(response, variant).into_iter().max_by_key(Bytes::len).expect("pieces")
        };
        let [_first, second, third] = ["7-1", "8-1", "9-1"].map(largest);
        assert_eq!(second.as_ptr(), third.as_ptr(), "{variant:?}: each has a copy");
    }
}

#[test]
fn no_piece_is_much_larger_than_a_frame() {
    let pieces = pieces(response(clusters(&[SHARED - 100; 100]), &[], ""), Variant::Delta);
    assert!(pieces.len() > 20);
    for piece in pieces {
        assert!(piece.remaining() <= PIECE + 2 * SHARED, "{}", piece.remaining());
    }
}
