//! ARNs: how this server's resources are spelt, and what callers may write.
//!
//! App Mesh's resources have ARNs of the service `appmesh`, as at AWS; what AWS had not (key pairs, say) has
//! ARNs of a service `signet`.

use super::{ApiError, ApiSettings};
use crate::model::key::Key;

/// The partitions that App Mesh was in.
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];
/// Longest ARN, in bytes: three names of 255 characters, and what is around them.
const MAX_ARN: usize = 1024;

impl ApiSettings {
    /// The ARN of a resource.
    #[must_use]
    pub fn arn(&self, key: &Key) -> String {
        format!("arn:{}:appmesh:{}:{}:{key}", self.partition(), self.region, self.account_id)
    }

    /// The ARN of something of Signet's own: `credentials/ci`.
    #[must_use]
    pub fn own_arn(&self, resource: &str) -> String {
        format!("arn:{}:signet:{}:{}:{resource}", self.partition(), self.region, self.account_id)
    }

    /// The ARN of a user of key pairs.
    #[must_use]
    pub fn user_arn(&self, name: &str) -> String {
        format!("arn:{}:iam::{}:user/{name}", self.partition(), self.account_id)
    }

    fn partition(&self) -> &'static str {
        match &self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// The resource that a caller's ARN names, which need not be there. A mesh may be spelt `mesh@owner`.
    pub(super) fn key_of(&self, member: &str, arn: &str) -> Result<Key, ApiError> {
        let malformed = |why: &str| Err(ApiError::bad_request(format!("{member}: {why}")));
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "appmesh", region, account, resource] = parts.as_slice() else {
            return malformed(
                "must be the ARN of an App Mesh resource: arn:aws:appmesh:REGION:ACCOUNT:mesh/…",
            );
        };
        if arn.len() > MAX_ARN || !PARTITIONS.contains(partition) {
            return malformed(&format!(
                "must have {MAX_ARN} bytes at most, and a partition of {PARTITIONS:?}"
            ));
        }
        let (resource, owner) = without_owner(resource);
        let key = resource.parse::<Key>();
        let key = key.map_err(|error| ApiError::bad_request(format!("{member}: {error}")))?;
        let is_ours = (*partition, *region, *account) == (self.partition(), &self.region, &self.account_id);
        match is_ours && owner.is_none_or(|owner| owner == self.account_id) {
            true => Ok(key),
            false => Err(ApiError::not_found(format!(
                "there is no resource with the ARN {arn}: this server's begin with {}",
                self.arn(&key).trim_end_matches(&key.to_string())
            ))),
        }
    }
}

/// `mesh/m@123456789012/virtualNode/n` is `mesh/m/virtualNode/n` of a mesh that another account owns.
fn without_owner(resource: &str) -> (String, Option<&str>) {
    let mut segments: Vec<&str> = resource.split('/').collect();
    let owner = segments.get_mut(1).and_then(|mesh| {
        let (name, owner) = mesh.split_once('@')?;
        *mesh = name;
        Some(owner)
    });
    (segments.join("/"), owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(region: &str) -> ApiSettings {
        ApiSettings::new("000000000000", region, [7; 32])
    }

    #[test]
    fn the_partition_is_that_of_the_region() {
        let key = "mesh/m/virtualNode/a".parse().unwrap();
        let rows = [
            ("us-east-1", "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualNode/a"),
            ("cn-north-1", "arn:aws-cn:appmesh:cn-north-1:000000000000:mesh/m/virtualNode/a"),
            ("us-gov-west-1", "arn:aws-us-gov:appmesh:us-gov-west-1:000000000000:mesh/m/virtualNode/a"),
        ];
        for (region, expected) in rows {
            assert_eq!(settings(region).arn(&key), expected);
            assert_eq!(settings(region).key_of("resourceArn", expected), Ok(key.clone()));
        }
    }

    #[test]
    fn a_mesh_may_be_spelt_with_its_owner() {
        let settings = settings("us-east-1");
        let own = "arn:aws:appmesh:us-east-1:000000000000:mesh/m@000000000000/virtualRouter/r/route/x";
        let key = settings.key_of("resourceArn", own).unwrap();
        assert_eq!(key.to_string(), "mesh/m/virtualRouter/r/route/x");
    }

    #[test]
    fn arns_that_name_nothing_here_are_told_from_those_that_are_none() {
        let settings = settings("us-east-1");
        let long = format!("arn:aws:appmesh:us-east-1:000000000000:mesh/{}", "m".repeat(1000));
        let rows = [
            ("", 400),
            ("mesh/m", 400),
            ("arn:aws:appmesh", 400),
            ("arn:aws:s3:::mesh/m", 400),
            ("arn:aws-iso:appmesh:us-east-1:000000000000:mesh/m", 400),
            ("arn:aws:appmesh:us-east-1:000000000000:mesh/", 400),
            ("arn:aws:appmesh:us-east-1:000000000000:mesh/a:b", 400),
            ("arn:aws:appmesh:us-east-1:000000000000:route/x", 400),
            (&long, 400),
            ("arn:aws:appmesh:eu-west-1:000000000000:mesh/m", 404),
            ("arn:aws:appmesh:us-east-1:111111111111:mesh/m", 404),
            ("arn:aws-cn:appmesh:us-east-1:000000000000:mesh/m", 404),
            ("arn:aws:appmesh:us-east-1:000000000000:mesh/m@111111111111", 404),
        ];
        for (arn, expected) in rows {
            let refused = settings.key_of("resourceArn", arn).unwrap_err();
            assert_eq!(refused.status().as_u16(), expected, "{arn}: {}", refused.message());
        }
    }
}
