//! `ListenerTls`.

use signet_policies::mtls::Mode;

use crate::model::{
    Certificate, ListenerTls, Trust, Validation,
    shape::{Field, Invalid, Object, Rule, shown},
};

/// The node's own certificate on the agent's socket.
const OWN_CERTIFICATE: &str = "default";
/// The mesh's roots on the agent's socket.
const ROOTS: &str = "ROOTCA";
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
        (_, sds) => Ok(Certificate::Sds { secret_name: secret_name(&sds, OWN_CERTIFICATE)? }),
    }
}

/// A name that the agent serves. Envoy takes a listener whose secret never comes, and then refuses every client.
fn secret_name(sds: &Field<'_>, served: &str) -> Result<String, Invalid> {
    let field = sds.object()?.required("secretName")?;
    match field.text(1..=usize::MAX)? {
        name if name == served => Ok(name.to_owned()),
        other => {
            let why =
                format!("must be {served:?}: this version of Signet serves no secret {:?}", shown(other));
            Err(field.invalid(Rule::Other(why)))
        }
    }
}

fn validation(validation: &Object<'_>) -> Result<Validation, Invalid> {
    let names = validation.optional("subjectAlternativeNames");
    Ok(Validation {
        trust: Trust::Sds { secret_name: trust(&validation.required("trust")?)? },
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
    secret_name(&sds, ROOTS)
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
