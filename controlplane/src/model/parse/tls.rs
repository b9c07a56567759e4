//! `ListenerTls`.

use signet_policies::mtls::Mode;

use crate::model::{
    Certificate, ListenerTls, Validation,
    shape::{Field, Invalid, Object, Rule, shown},
};

/// Longest name of a secret: the length of the longest SPIFFE ID (SPIFFE-ID, section 2.3).
const MAX_SECRET_NAME: usize = 2048;
/// Longest ARN that AWS gives.
const MAX_ARN: usize = 2048;

pub(super) fn parse(field: &Field<'_>) -> Result<ListenerTls, Invalid> {
    let tls = field.object()?;
    let modes = [Mode::Strict, Mode::Permissive, Mode::Disabled].map(|mode| (mode.as_str(), mode));
    Ok(ListenerTls {
        mode: tls.required("mode")?.one_of(&modes)?,
        certificate: certificate(&tls.required("certificate")?.object()?)?,
        validation: tls.optional("validation").map(|field| validation(&field.object()?)).transpose()?,
    })
}

fn certificate(certificate: &Object<'_>) -> Result<Certificate, Invalid> {
    match certificate.union(&["acm", "sds"], &["file"])? {
        ("acm", acm) => {
            let arn = acm.object()?.required("certificateArn")?.text(1..=MAX_ARN)?;
            Ok(Certificate::Acm { arn: arn.to_owned() })
        }
        (_, sds) => Ok(Certificate::Sds { secret_name: secret_name(&sds)? }),
    }
}

fn secret_name(sds: &Field<'_>) -> Result<String, Invalid> {
    Ok(sds.object()?.required("secretName")?.text(1..=MAX_SECRET_NAME)?.to_owned())
}

fn validation(validation: &Object<'_>) -> Result<Validation, Invalid> {
    let names = validation.optional("subjectAlternativeNames");
    Ok(Validation {
        trust_secret: trust(&validation.required("trust")?)?,
        subject_alternative_names: names.map_or_else(|| Ok(Vec::new()), |field| exact_names(&field))?,
    })
}

fn trust(field: &Field<'_>) -> Result<String, Invalid> {
    let trust = field.object()?;
    // The sentence that App Mesh had for it, and that scripts look for.
    if ["sds", "file", "acm"].iter().all(|name| trust.optional(name).is_none()) {
        let rule = "One type of TLS Validation Context Trust must be set.";
        return Err(field.invalid(Rule::Other(rule.into())));
    }
    let (_, sds) = trust.union(&["sds"], &["file"])?;
    secret_name(&sds)
}

fn exact_names(field: &Field<'_>) -> Result<Vec<String>, Invalid> {
    let exact = field.object()?.required("match")?.object()?.required("exact")?;
    // An empty list would read as "nobody", and mean "anybody".
    exact
        .items(1..=usize::MAX)?
        .iter()
        .map(|name| subject_alternative_name(name).map(str::to_owned))
        .collect()
}

/// A fully qualified domain name or a URI (constraint C17); matched exactly.
fn subject_alternative_name<'a>(field: &Field<'a>) -> Result<&'a str, Invalid> {
    let name = field.text(1..=254)?;
    match name.contains(char::is_whitespace) || name.contains('*') {
        true => {
            let why = format!(
                "{:?} is matched exactly, so it must be a domain name or a URI without wildcard",
                shown(name)
            );
            Err(field.invalid(Rule::Other(why)))
        }
        false => Ok(name),
    }
}
