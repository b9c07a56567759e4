//! Responses as they go on the wire: written around the bytes that resources hold, never encoded again.
//!
//! ```text
//!  ┌ gRPC frame ┬────────── head ──────────────┬─────────── one resource ──────────────┬ … ┐
//!  │ flag, len  │ version, type, nonce, removed │ name, type… (copied) │ value (shared) │ … │
//!  └────────────┴───────────────────────────────┴───────────────────────────────────────┴───┘
//! ```
//!
//! The pieces are made one by one as the client takes them, so that a response costs one piece of memory
//! however large it is, and none when it has been sent. Where many streams send the same resources, the second of
//! them has them written once for all the others; the head and as much of that as fills the first HTTP/2 frame are one
//! piece, so that no frame more is written than the bytes need. Protobuf leaves the order of fields open.

use std::{io::IoSlice, vec};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::{
    batch::Resources,
    resource::Resource,
    session::{Response, Variant},
};

/// About how many bytes one piece has: what fits into one HTTP/2 frame of the default size.
const PIECE: usize = 16 << 10;

/// A value of this size or more goes out as it lies in memory; a smaller one is cheaper copied.
const SHARED: usize = 4 << 10;

/// The compression flag and the length.
const FRAME: usize = 5;

/// Field numbers of `DiscoveryResponse` and `DeltaDiscoveryResponse`, which agree where both have a field.
mod of_response {
    pub(super) const VERSION_INFO: u32 = 1;
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const REMOVED_RESOURCES: u32 = 6;
}

/// Field numbers of `Resource`, which a delta response wraps around each `Any`.
mod of_resource {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCE: u32 = 2;
    pub(super) const NAME: u32 = 3;
}

/// Field numbers of `Any`.
mod of_any {
    pub(super) const TYPE_URL: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// A part of a response: what one stream says, and then what others say as well and share with it.
#[derive(Debug, Default)]
pub struct Piece {
    own: Bytes,
    shared: Bytes,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.own.len() + self.shared.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.own.is_empty() { &self.shared } else { &self.own }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = [&self.own, &self.shared].into_iter().filter(|part| !part.is_empty());
        slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, count: usize) {
        let of_own = count.min(self.own.len());
        self.own.advance(of_own);
        self.shared.advance(count - of_own);
    }
}

impl Piece {
    /// In one piece; copied where it is not.
    pub(super) fn joined(self) -> Bytes {
        match (self.own.is_empty(), self.shared.is_empty()) {
            (true, _) => self.shared,
            (_, true) => self.own,
            (false, false) => [self.own, self.shared].concat().into(),
        }
    }
}

/// One response on its way out, as the pieces of a gRPC message.
#[derive(Debug)]
pub(super) struct Splice {
    variant: Variant,
    /// What follows, where another stream has had the same resources written.
    ready: Option<Bytes>,
    resources: vec::IntoIter<Resource>,
    /// A value that goes out as it is, after the piece that announced it.
    shared: Option<Bytes>,
    /// What has been written and not sent.
    piece: BytesMut,
}

impl Splice {
    /// `None` for a response of 4 GiB or more, which gRPC cannot carry.
    pub(super) fn new(response: &Response, variant: Variant) -> Option<Self> {
        let version = response.version.as_deref().unwrap_or_default();
        let head = [
            (of_response::VERSION_INFO, version),
            (of_response::TYPE_URL, response.kind.type_url()),
            (of_response::NONCE, &response.nonce),
        ];
        let removed = response.removed.iter().map(|name| (of_response::REMOVED_RESOURCES, &**name));
        let head = || head.into_iter().chain(removed.clone());
        let written = response.resources.encoded(variant, || write_all(&response.resources, variant));
        let resources = match &written {
            Some(written) => written.len(),
            None => length_of_all(&response.resources, variant),
        };
        let length = head().map(|(tag, text)| text_len(tag, text)).sum::<usize>() + resources;
        let own = if written.is_some() { length - resources } else { length };
        // A piece may go over its size by one resource that is just not shared, and by what is around it.
        let mut piece = BytesMut::with_capacity((FRAME + own).min(PIECE + 2 * SHARED));
        piece.put_u8(0);
        piece.put_u32(u32::try_from(length).ok()?);
        head().for_each(|(tag, text)| put_text(tag, text, &mut piece));
        let resources = match &written {
            Some(_) => Vec::new(),
            None => response.resources.iter().cloned().collect(),
        };
        Some(Self { variant, ready: written, resources: resources.into_iter(), shared: None, piece })
    }

    /// Writes a resource, up to its value where that is shared.
    fn put(&mut self, resource: &Resource) {
        put_until_value(resource, self.variant, &mut self.piece);
        let value = resource.value();
        if value.len() < SHARED {
            self.piece.put_slice(value);
        } else {
            self.shared = Some(value.clone());
        }
    }

    /// Takes what has been written, and what of the rest goes with it.
    fn take(&mut self) -> Option<Piece> {
        let own = std::mem::take(&mut self.piece).freeze();
        let mut ready = self.ready.take().unwrap_or_default();
        // Once there is nothing to put before it, it can go as it is.
        let with_own =
            if own.is_empty() { ready.len() } else { PIECE.saturating_sub(own.len()).min(ready.len()) };
        let shared = ready.split_to(with_own);
        self.ready = (!ready.is_empty()).then_some(ready);
        let piece = Piece { own, shared };
        piece.has_remaining().then_some(piece)
    }
}

impl Iterator for Splice {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if let Some(shared) = self.shared.take() {
            return Some(Piece { own: Bytes::new(), shared });
        }
        while self.piece.len() < PIECE {
            let Some(resource) = self.resources.next() else { break };
            if self.piece.capacity() == 0 {
                self.piece.reserve(PIECE + 2 * SHARED);
            }
            self.put(&resource);
            let sent = if self.shared.is_some() { self.take() } else { None };
            put_name(&resource, self.variant, &mut self.piece);
            if sent.is_some() {
                return sent;
            }
        }
        self.take()
    }
}

/// All resources in one piece, as many streams will send them.
fn write_all(resources: &Resources, variant: Variant) -> Bytes {
    let mut buffer = BytesMut::with_capacity(length_of_all(resources, variant));
    for resource in resources.iter() {
        put_until_value(resource, variant, &mut buffer);
        buffer.put_slice(resource.value());
        put_name(resource, variant, &mut buffer);
    }
    buffer.freeze()
}

/// What comes before a resource's value.
fn put_until_value(resource: &Resource, variant: Variant, buffer: &mut BytesMut) {
    put_head(of_response::RESOURCES, resource_len(resource, variant), buffer);
    if variant == Variant::Delta {
        put_text(of_resource::VERSION, resource.version(), buffer);
        put_head(of_resource::RESOURCE, any_len(resource), buffer);
    }
    put_text(of_any::TYPE_URL, resource.kind().type_url(), buffer);
    if !resource.value().is_empty() {
        put_head(of_any::VALUE, resource.value().len(), buffer);
    }
}

/// What comes after it.
fn put_name(resource: &Resource, variant: Variant, buffer: &mut BytesMut) {
    if variant == Variant::Delta {
        put_text(of_resource::NAME, resource.name(), buffer);
    }
}

/// How much all resources take in a response.
fn length_of_all(resources: &Resources, variant: Variant) -> usize {
    let length = |resource| field_len(of_response::RESOURCES, resource_len(resource, variant));
    resources.iter().map(length).sum()
}

/// The length of a resource inside the field that holds it.
fn resource_len(resource: &Resource, variant: Variant) -> usize {
    let any = any_len(resource);
    match variant {
        Variant::Sotw => any,
        Variant::Delta => {
            text_len(of_resource::VERSION, resource.version())
                + field_len(of_resource::RESOURCE, any)
                + text_len(of_resource::NAME, resource.name())
        }
    }
}

fn any_len(resource: &Resource) -> usize {
    let value = match resource.value().len() {
        0 => 0,
        length => field_len(of_any::VALUE, length),
    };
    text_len(of_any::TYPE_URL, resource.kind().type_url()) + value
}

/// A text's field; an empty text has none, as everywhere in proto3.
fn text_len(tag: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { field_len(tag, text.len()) }
}

fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

fn put_text(tag: u32, text: &str, buffer: &mut BytesMut) {
    if !text.is_empty() {
        put_head(tag, text.len(), buffer);
        buffer.put_slice(text.as_bytes());
    }
}

/// Key and length of a field whose content follows.
fn put_head(tag: u32, length: usize, buffer: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

#[cfg(test)]
mod tests;
