//! Who signed what. Each signature is verified once, and most of an audit's time goes there.

use std::{collections::HashMap, num::NonZeroUsize};

use super::{Ca, Leaf};
use crate::{
    certificate::{Certificate, is_signed_by, parse},
    inventory::{Authority, Record},
};

pub(super) fn authorities(all: &[Authority]) -> Vec<Ca<'_>> {
    let read = |authority| Ca { authority, certificate: Certificate::read(&authority.der.0), issuer: None };
    let mut read: Vec<Ca<'_>> = all.iter().map(read).collect();
    for at in 0..read.len() {
        read[at].issuer = issuer_of(at, &read);
    }
    read
}

fn issuer_of(at: usize, all: &[Ca<'_>]) -> Option<usize> {
    let certificate = all[at].certificate.as_ref().ok()?;
    let signed = |above: &Ca<'_>| {
        above.certificate.as_ref().is_ok_and(|above| certificate.issuer == above.subject)
            && is_signed_by(&all[at].authority.der.0, &above.authority.der.0)
    };
    all.iter().position(signed)
}

pub(super) fn leaves<'a>(
    records: &'a [Record],
    authorities: &[Ca<'_>],
    threads: NonZeroUsize,
) -> Vec<Leaf<'a>> {
    let mut by_subject: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, ca) in authorities.iter().enumerate() {
        if let Ok(certificate) = &ca.certificate {
            by_subject.entry(&certificate.subject).or_default().push(at);
        }
    }
    let read = |records: &'a [Record]| -> Vec<Leaf<'a>> {
        records.iter().map(|record| leaf(record, authorities, &by_subject)).collect()
    };
    let share = records.len().div_ceil(threads.get()).max(1);
    let (first, rest) = records.split_at(share.min(records.len()));
    std::thread::scope(|scope| {
        let others: Vec<_> =
            rest.chunks(share).map(|records| (records, scope.spawn(|| read(records)))).collect();
        let mut leaves = read(first);
        for (records, other) in others {
            // A thread ends early only by a panic, of which there is none here; then it is read again.
            leaves.extend(other.join().unwrap_or_else(|_| read(records)));
        }
        leaves
    })
}

fn leaf<'a>(record: &'a Record, authorities: &[Ca<'_>], by_subject: &HashMap<&[u8], Vec<usize>>) -> Leaf<'a> {
    let mut leaf = Leaf { record, certificate: None, issuer: None, is_signed: false };
    let Some(der) = &record.der else {
        return leaf;
    };
    let parsed = match parse(&der.0) {
        Ok(parsed) => parsed,
        Err(error) => {
            leaf.certificate = Some(Err(error));
            return leaf;
        }
    };
    let read = Certificate::of(&parsed, &der.0);
    if let Ok(certificate) = &read {
        let named = by_subject.get(certificate.issuer.as_slice()).map(Vec::as_slice).unwrap_or_default();
        let by_key = named.iter().find(|at| {
            authorities[**at].certificate.as_ref().is_ok_and(|above| certificate.names_issuer(above))
        });
        leaf.issuer = by_key.or(named.first()).copied();
        leaf.is_signed = leaf.issuer.is_some_and(|at| {
            parse(&authorities[at].authority.der.0)
                .is_ok_and(|above| parsed.verify_signature(Some(above.public_key())).is_ok())
        });
    }
    leaf.certificate = Some(read);
    leaf
}
