//! Who is at the other end of a stream, and what it is fed.

use http::Extensions;
use signet_xds::{
    pb::envoy::config::core::v3::Node,
    server::{Feed, Source},
};

use super::{EmptyList, connection::Bond, publish::Published};
use crate::{deliveries::Deliveries, translate::Validator};

/// Feeds every admitted peer the same: this socket is one workload's.
pub(super) struct Own {
    published: Published,
    empty_list: EmptyList,
    deliveries: Deliveries,
}

impl Own {
    pub(super) fn new(published: Published, empty_list: EmptyList, deliveries: Deliveries) -> Self {
        Self { published, empty_list, deliveries }
    }
}

impl Source for Own {
    fn open(&self, extensions: &Extensions, node: Option<&Node>) -> Result<Feed, tonic::Status> {
        let bond = extensions.get::<Bond>().cloned();
        let bond =
            bond.ok_or_else(|| tonic::Status::unauthenticated("the kernel did not vouch for the peer"))?;
        bond.check()?;
        // What the node says decides in which form it gets what is its own anyway.
        let validator = Validator::of(node);
        let snapshots = self.published.of(validator);
        let observer = Box::new(self.deliveries.follow(bond.peer(), validator, snapshots.clone()));
        Ok(Feed { snapshots, observer, end: Box::pin(bond.broken()) })
    }

    fn gives_unnamed_secrets(&self) -> bool {
        self.empty_list == EmptyList::Everything
    }
}
