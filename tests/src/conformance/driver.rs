//! Changes on the server, so that it has something to say.

use anyhow::Result;
use async_trait::async_trait;
use signet_xds::ResourceType;

/// What the server is to serve to the lane's node.
///
/// In every world there are the clusters, listeners and routes of the node; what is said here is how a world differs
/// from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Where every check begins.
    Base,
    /// One resource of each kind has other content; [`Driver::changing`] names it.
    Changed,
    /// Another resource of each kind has other content; [`Driver::other`] names it.
    ChangedOther,
    /// There is one more resource of each kind; [`Driver::fresh`] names it.
    Grown,
    /// Traffic has moved from one cluster to a new one, and the old one is gone.
    Moved,
    /// There is nothing.
    Empty,
    /// It is not known yet what there is.
    Unknown,
    /// The node may not be served any more.
    NoNode,
}

/// Whoever can change what a server serves.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Makes the world so; returns when the server knows it.
    ///
    /// # Errors
    /// The server refuses.
    async fn publish(&self, world: World) -> Result<()>;

    /// Whether it can make this world.
    fn can(&self, world: World, kind: ResourceType) -> bool;

    /// The resource of this kind that changes in [`World::Changed`].
    fn changing(&self, kind: ResourceType) -> String;

    /// The resource of this kind that changes in [`World::ChangedOther`].
    fn other(&self, kind: ResourceType) -> String;

    /// The resource of this kind that there is only in [`World::Grown`].
    fn fresh(&self, kind: ResourceType) -> String;

    /// The cluster that is there before [`World::Moved`], and the one that is there after it.
    fn moved(&self) -> (String, String);

    /// The names of a kind that the node asks for.
    fn names(&self, kind: ResourceType) -> Vec<String>;

    /// The cluster of this world that finds its endpoints by EDS and changes in [`World::Changed`], and their names.
    fn by_eds(&self) -> Option<(String, String)>;

    /// Whether the server takes the node to run what it should.
    ///
    /// # Errors
    /// It cannot be asked.
    async fn is_synced(&self) -> Result<bool>;

    /// Everything that the server shows of the node: logs, and what its API says.
    ///
    /// # Errors
    /// It cannot be asked.
    async fn shown(&self) -> Result<String>;
}
