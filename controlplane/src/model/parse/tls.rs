//! `ListenerTls` and `ClientPolicy`, of virtual nodes and virtual gateways, whose shapes are the same.

use signet_policies::mtls::Mode;

use super::{
    port,
    secret::{self, Owner},
};
use crate::model::{
    Certificate, ClientPolicy, ClientTls, ListenerTls, Trust, Validation,
    shape::{Field, Invalid, Object, Reader, shown},
};

/// Longest ARN that AWS gives.
const MAX_ARN: usize = 2048;

/// `ListenerTls`, of a listener of `owner`.
pub(super) fn listener(field: &Field<'_>, owner: &Owner<'_>) -> Result<ListenerTls, Invalid> {
    let tls = field.object()?;
    let modes = [Mode::Strict, Mode::Permissive, Mode::Disabled].map(|mode| (mode.as_str(), mode));
    let sds = |field: &Field<'_>| certificate_from_sds(field, owner);
    let certificate = tls.required("certificate")?.object()?;
    let roots = |field: &Field<'_>| trust_in_sds(field, owner);
    Ok(ListenerTls {
        mode: tls.required("mode")?.one_of(&modes)?,
        certificate: certificate.union(&[
            ("acm", &certificate_from_acm),
            ("file", &certificate_from_file),
            ("sds", &sds),
        ])?,
        validation: tls.read("validation", |field| {
            validation(field, &[("file", &trust_in_file), ("sds", &roots)], Wildcards::Refused)
        })?,
    })
}

/// `ClientPolicy`, of `owner`.
pub(super) fn client_policy(field: &Field<'_>, owner: &Owner<'_>) -> Result<ClientPolicy, Invalid> {
    let tls = field.object()?.read("tls", |field| client(field, owner))?;
    Ok(ClientPolicy { tls })
}

fn client(field: &Field<'_>, owner: &Owner<'_>) -> Result<ClientTls, Invalid> {
    let tls = field.object()?;
    let sds = |field: &Field<'_>| certificate_from_sds(field, owner);
    let certificate =
        |field: &Field<'_>| field.object()?.union(&[("file", &certificate_from_file), ("sds", &sds)]);
    let enforce = tls.read("enforce", Field::boolean)?.unwrap_or(true);
    let wildcards = if enforce { Wildcards::Refused } else { Wildcards::Allowed };
    let roots = |field: &Field<'_>| trust_in_sds(field, owner);
    let trusts: [(&str, Reader<'_, '_, Trust>); 3] =
        [("acm", &trust_in_acm), ("file", &trust_in_file), ("sds", &roots)];
    Ok(ClientTls {
        enforce,
        ports: tls.each("ports", 0..=usize::MAX, port::port)?,
        certificate: tls.read("certificate", certificate)?,
        validation: validation(&tls.required("validation")?, &trusts, wildcards)?,
    })
}

fn certificate_from_acm(field: &Field<'_>) -> Result<Certificate, Invalid> {
    let arn = field.object()?.required("certificateArn")?.text(1..=MAX_ARN)?;
    Ok(Certificate::Acm { arn: arn.to_owned() })
}

fn certificate_from_file(field: &Field<'_>) -> Result<Certificate, Invalid> {
    let file = field.object()?;
    Ok(Certificate::File {
        certificate_chain: path(&file, "certificateChain")?,
        private_key: path(&file, "privateKey")?,
    })
}

fn certificate_from_sds(field: &Field<'_>, owner: &Owner<'_>) -> Result<Certificate, Invalid> {
    secret::certificate(field, owner).map(|secret_name| Certificate::Sds { secret_name })
}

fn path(file: &Object<'_>, name: &str) -> Result<String, Invalid> {
    super::file::path(&file.required(name)?)
}

/// Whether the names that a peer must prove may hold a `*`, which then stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcards {
    Allowed,
    Refused,
}

fn validation<'a>(
    field: &Field<'a>,
    trusts: &[(&str, Reader<'_, 'a, Trust>)],
    wildcards: Wildcards,
) -> Result<Validation, Invalid> {
    let validation = field.object()?;
    let names = validation.read("subjectAlternativeNames", |field| exact_names(field, wildcards))?;
    Ok(Validation {
        trust: trust(&validation.required("trust")?, trusts)?,
        subject_alternative_names: names.unwrap_or_default(),
    })
}

fn trust<'a>(field: &Field<'a>, trusts: &[(&str, Reader<'_, 'a, Trust>)]) -> Result<Trust, Invalid> {
    let trust = field.object()?;
    trust.union(trusts).map_err(|invalid| {
        match trusts.iter().all(|(name, _)| trust.optional(name).is_none()) {
            // The sentence that App Mesh had for it, and that scripts look for (constraint C2).
            true => field
                .broken(format!("One type of TLS Validation Context Trust must be set. It {}", invalid.rule)),
            false => invalid,
        }
    })
}

fn trust_in_acm(field: &Field<'_>) -> Result<Trust, Invalid> {
    let arns = field.object()?.required("certificateAuthorityArns")?.items(1..=3)?;
    let arns = arns.iter().map(|arn| arn.text(1..=MAX_ARN).map(str::to_owned));
    Ok(Trust::Acm { arns: arns.collect::<Result<_, _>>()? })
}

fn trust_in_file(field: &Field<'_>) -> Result<Trust, Invalid> {
    Ok(Trust::File { certificate_chain: path(&field.object()?, "certificateChain")? })
}

fn trust_in_sds(field: &Field<'_>, owner: &Owner<'_>) -> Result<Trust, Invalid> {
    secret::trust(field, owner).map(|secret_name| Trust::Sds { secret_name })
}

fn exact_names(field: &Field<'_>, wildcards: Wildcards) -> Result<Vec<String>, Invalid> {
    let exact = field.object()?.required("match")?.object()?.required("exact")?;
    // An empty list would read as "nobody", and mean "anybody".
    let names = exact.items(1..=usize::MAX)?;
    names.iter().map(|name| subject_alternative_name(name, wildcards).map(str::to_owned)).collect()
}

/// A fully qualified domain name or a URI, matched exactly (constraint C17).
fn subject_alternative_name<'a>(field: &Field<'a>, wildcards: Wildcards) -> Result<&'a str, Invalid> {
    let name = field.text(1..=254)?;
    let is_wild = wildcards == Wildcards::Refused && name.contains('*');
    let rule = || {
        let name = shown(name);
        format!("{name:?} is matched exactly, so it must be a domain name or a URI without wildcard")
    };
    field.check(!is_wild && !name.contains(char::is_whitespace), rule)?;
    Ok(name)
}
