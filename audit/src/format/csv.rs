//! What was issued, in the columns of AWS Private CA's audit reports.

use super::moment::aws;
use crate::{
    finding::Subject,
    inventory::{Inventory, Record},
};

const COLUMNS: &str = "awsAccountId,requestedByServicePrincipal,certificateArn,serial,subject,notBefore,notAfter,issuedAt,\
                       revokedAt,revocationReason,templateArn\n";
/// The template whose certificates have the two purposes of a workload's.
const TEMPLATE: &str = "arn:aws:acm-pca:::template/EndEntityCertificate/V1";

/// A line for each certificate of a mesh, or of all, in the order of their issue. The requester stands where AWS names a
/// service; the identity where AWS has a distinguished name, since ours have none.
#[must_use]
pub fn csv(inventory: &Inventory, mesh: Option<&str>) -> String {
    let is_of = |record: &&Record| {
        let of = record.workload.as_deref().and_then(|workload| Subject::workload(workload).mesh);
        mesh.is_none_or(|mesh| of.as_deref() == Some(mesh))
    };
    let mut records: Vec<&Record> = inventory.certificates.iter().filter(is_of).collect();
    records.sort_by_key(|record| (record.issued_at, &record.serial));
    let mut text = COLUMNS.to_owned();
    for record in records {
        let (account, region) = (&inventory.account_id, &inventory.region);
        let arn = format!(
            "arn:aws:acm-pca:{region}:{account}:certificate-authority/{}/certificate/{}",
            record.issuer, record.serial
        );
        let (revoked_at, reason) = match &record.revoked {
            Some(revoked) => (aws(revoked.at), reason(&revoked.reason)),
            None => Default::default(),
        };
        let fields = [
            account.clone(),
            record.requester.clone().unwrap_or_default(),
            arn,
            pairs(&record.serial),
            record.spiffe_id.clone(),
            aws(record.not_before),
            aws(record.not_after),
            aws(record.issued_at),
            revoked_at,
            reason,
            TEMPLATE.to_owned(),
        ];
        text.push_str(&fields.map(|field| quoted(&field)).join(","));
        text.push('\n');
    }
    text
}

/// `4b51` as `4b:51`.
fn pairs(serial: &str) -> String {
    let pairs: Vec<String> =
        serial.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    pairs.join(":")
}

/// `keyCompromise`, as RFC 5280 spells it, is `KEY_COMPROMISE` to AWS, which has words of its own for `cACompromise`.
fn reason(reason: &str) -> String {
    if reason == "cACompromise" {
        return "CERTIFICATE_AUTHORITY_COMPROMISE".to_owned();
    }
    let mut text = String::new();
    let mut was_lower = false;
    for character in reason.chars() {
        if was_lower && character.is_ascii_uppercase() {
            text.push('_');
        }
        was_lower = character.is_ascii_lowercase();
        text.push(character.to_ascii_uppercase());
    }
    text
}

/// RFC 4180; and no field starts a formula in whatever opens the file.
fn quoted(field: &str) -> String {
    let field = match field.starts_with(['=', '+', '-', '@']) {
        true => format!("'{field}"),
        false => field.to_owned(),
    };
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_reasons_are_spelled_as_readers_expect() {
        assert_eq!(reason("keyCompromise"), "KEY_COMPROMISE");
        assert_eq!(reason("cessationOfOperation"), "CESSATION_OF_OPERATION");
        assert_eq!(pairs("4b51c3"), "4b:51:c3");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        for formula in ["=1+1", "+1", "-1", "@a"] {
            assert_eq!(quoted(formula), format!("'{formula}"));
        }
        for broken in ["a\nb", "a\rb"] {
            assert_eq!(quoted(broken), format!("\"{broken}\""));
        }
        assert_eq!(quoted("a-b=c"), "a-b=c");
    }
}
