//! What must be done to a server so that it holds a bundle.

mod rehearsal;

use std::collections::BTreeSet;

use signet_controlplane::model::{
    Document,
    key::{Key, Kind},
};
use signet_policies::identity::ResourceName;

use crate::{
    compare::{self, Difference},
    place::{Faults, Place},
    resource::{Bundle, Tags},
    server::{Held, State, Version},
};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// It gets another spec, and maybe other tags.
    Update,
    /// It gets other tags.
    Tag,
    /// It goes.
    Delete,
}

impl Action {
    /// In lower case, for people and programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Tag => "tag",
            Self::Delete => "delete",
        }
    }
}

/// One write.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// To what.
    pub key: Key,
    /// The spec that is written, of [`Action::Create`] and [`Action::Update`].
    pub document: Option<Document>,
    /// Tags that are set.
    pub tags: Tags,
    /// Keys of tags that are taken away.
    pub untagged: Vec<String>,
    /// How the spec changes.
    pub differences: Vec<Difference>,
    /// Where it is asked for; absent for what goes.
    pub place: Option<Place>,
    /// One that another step replaces, and that keeps ports open until then.
    pub is_interim: bool,
    /// What was there when the plan was made.
    pub(crate) before: Option<(Version, String)>,
}

/// All that must be done, in an order that the server's rules allow.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// None where the server holds everything already.
    pub steps: Vec<Step>,
    /// How many resources are as they should be.
    pub unchanged: usize,
}

/// The meshes that a bundle is about.
#[must_use]
pub fn meshes(bundle: &Bundle) -> BTreeSet<ResourceName> {
    bundle.resources.keys().map(|key| key.mesh().clone()).collect()
}

/// A place in the order in which resources are made; they go in the opposite one.
#[must_use]
pub fn rank(key: &Key) -> usize {
    match key.kind() {
        Kind::Mesh => 0,
        Kind::VirtualNode => 1,
        Kind::VirtualRouter => 2,
        Kind::Route => 3,
        Kind::VirtualService => 4,
        Kind::VirtualGateway => 5,
        Kind::GatewayRoute => 6,
    }
}

impl Plan {
    /// Compares what is asked for with what is there. With `prune`, what is in the meshes that the bundle declares
    /// and is not in the bundle goes.
    ///
    /// Nothing is asked for that the server's rules would refuse: they are asked beforehand.
    ///
    /// # Errors
    /// Steps that the rules refuse whatever the order.
    pub fn new(bundle: &Bundle, state: &State, prune: bool) -> Result<Self, Faults> {
        let (mut writes, mut unchanged) = (Vec::new(), 0);
        for resource in bundle.resources.values() {
            let step = step(resource, state.resources.get(resource.document.key()));
            match step {
                Some(step) => writes.push(step),
                None => unchanged += 1,
            }
        }
        let declared: BTreeSet<&ResourceName> = bundle.declared_meshes().map(Key::mesh).collect();
        let is_gone =
            |key: &&Key| prune && declared.contains(key.mesh()) && !bundle.resources.contains_key(*key);
        let gone = state.resources.iter().filter(|(key, _)| is_gone(key));
        let mut deletes: Vec<Step> = gone.map(|(key, held)| deletion(key, held)).collect();
        writes.sort_by_key(|step| rank(&step.key));
        deletes.sort_by_key(|step| std::cmp::Reverse(rank(&step.key)));
        Ok(Self { steps: rehearsal::order(bundle, state, writes, deletes)?, unchanged })
    }

    /// How many resources go.
    #[must_use]
    pub fn deletions(&self) -> usize {
        self.steps.iter().filter(|step| step.action == Action::Delete).count()
    }
}

impl Step {
    fn new(action: Action, key: &Key) -> Self {
        Self {
            action,
            key: key.clone(),
            document: None,
            tags: Tags::new(),
            untagged: Vec::new(),
            differences: Vec::new(),
            place: None,
            is_interim: false,
            before: None,
        }
    }
}

/// What makes one resource what it should be, if anything must.
fn step(resource: &crate::resource::Resource, held: Option<&Held>) -> Option<Step> {
    let (document, key) = (&resource.document, resource.document.key());
    let wanted = resource.tags.clone();
    let Some(held) = held else {
        return Some(Step {
            document: Some(document.clone()),
            tags: wanted.unwrap_or_default(),
            place: Some(resource.place.clone()),
            ..Step::new(Action::Create, key)
        });
    };
    let differences = compare::differences(&compare::spec(&held.document), &compare::spec(document));
    let (mut tags, mut untagged) = (Tags::new(), Vec::new());
    if let (Some(wanted), Some(there)) = (wanted, &held.tags) {
        untagged = there.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        tags = wanted.into_iter().filter(|(key, value)| there.get(key) != Some(value)).collect();
    }
    let action = match (differences.is_empty(), tags.is_empty() && untagged.is_empty()) {
        (true, true) => return None,
        (true, false) => Action::Tag,
        (false, _) => Action::Update,
    };
    Some(Step {
        document: (action == Action::Update).then(|| document.clone()),
        tags,
        untagged,
        differences,
        place: Some(resource.place.clone()),
        before: Some((held.version.clone(), held.arn.clone())),
        ..Step::new(action, key)
    })
}

fn deletion(key: &Key, held: &Held) -> Step {
    Step { before: Some((held.version.clone(), held.arn.clone())), ..Step::new(Action::Delete, key) }
}
