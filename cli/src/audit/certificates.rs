//! Certificates out of a file, as an operator has them: PEM with whatever tools write around it, or one of DER.

use std::{
    fs::File,
    io::{Read as _, stdin},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest, prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

/// Most bytes that are read; all the authorities of the web are a twentieth of it.
const LONGEST: u64 = 4 << 20;
const BEGIN: &[u8] = b"-----BEGIN ";
/// What is in front of the content of every structure of DER: SEQUENCE, and its length.
const SEQUENCE: u8 = 0x30;

/// Reads what a file holds, in its order, each DER; `-` is the standard input.
///
/// # Errors
/// It cannot be read, holds no certificate, or one that is damaged.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "the standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = match is_stdin {
        true => stdin().take(LONGEST + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read {name}"))?;
    ensure!(bytes.len() as u64 <= LONGEST, "{name} is longer than {LONGEST} bytes, which no chain is");
    certificates(&bytes).map_err(|error| anyhow!("{name} {error}"))
}

/// The certificates of a text or of DER. The error goes on where the name of the file ended.
fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    ensure!(!bytes.is_empty(), "is empty");
    ensure!(!matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]), "is UTF-16; save it as UTF-8");
    if find(bytes, BEGIN).is_none() {
        ensure!(bytes.first() == Some(&SEQUENCE), "holds no certificate, PEM or DER");
        return match fault(bytes) {
            None => Ok(vec![bytes.to_vec()]),
            Some(fault) => bail!("holds no certificate: {fault}"),
        };
    }
    let (mut found, mut others) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Some(at) = find(rest, BEGIN) {
        let position = found.len() + others.len() + 1;
        let block = block(&rest[at + BEGIN.len()..]);
        let (label, body, after) =
            block.ok_or_else(|| anyhow!("is damaged: PEM block {position} has no end"))?;
        match label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let characters: Vec<u8> =
                    body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                let der = STANDARD
                    .decode(characters)
                    .map_err(|_| anyhow!("is damaged: the lines of PEM block {position} are no Base64"))?;
                if let Some(fault) = fault(&der) {
                    bail!("is damaged: PEM block {position} holds no certificate: {fault}");
                }
                found.push(der);
            }
            _ => others.push(label),
        }
        rest = after;
    }
    others.dedup();
    ensure!(!found.is_empty(), "holds no certificate, but {}", others.join(", "));
    Ok(found)
}

/// Label, body and what follows, of what follows `-----BEGIN `.
fn block(text: &[u8]) -> Option<(String, &[u8], &[u8])> {
    let label_ends = find(text, b"-----")?;
    // A label that is long or holds a line's end is none; what was meant is not known then.
    let label = std::str::from_utf8(text.get(..label_ends)?).ok()?;
    let is_label = label.len() <= 40 && label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let body = text.get(label_ends + 5..).filter(|_| is_label)?;
    let end = format!("-----END {label}-----");
    let body_ends = find(body, end.as_bytes())?;
    Some((label.to_owned(), &body[..body_ends], &body[body_ends + end.len()..]))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Why DER is not one certificate.
fn fault(der: &[u8]) -> Option<String> {
    match X509Certificate::from_der(der) {
        Ok(([], _)) => return None,
        Ok((rest, _)) => return Some(format!("{} bytes follow the one that it begins with", rest.len())),
        Err(_) => {}
    }
    let (header, length) = match *der {
        // A certificate is longer than the shortest form of a length can say.
        [SEQUENCE, short, ref content @ ..] if usize::from(short) == content.len() => (2, content.len()),
        [SEQUENCE, 0x81, length, ..] => (3, usize::from(length)),
        [SEQUENCE, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return Some("it is neither PEM nor DER".to_owned()),
    };
    let fault = match der.get(header) {
        _ if der.len() < header + length => {
            return Some(format!("it is cut short, at {} of {} bytes", der.len(), header + length));
        }
        Some(0x02) => "it is a private key or PKCS #12, DER",
        Some(0x06) => "it is PKCS #7, DER",
        _ if X509CertificationRequest::from_der(der).is_ok() => "it is a request for one, DER",
        _ if CertificateRevocationList::from_der(der).is_ok() => "it is a list of what is revoked, DER",
        _ => "it is DER, and not of X.509",
    };
    Some(fault.to_owned())
}

#[cfg(test)]
mod tests;
