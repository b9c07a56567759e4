//! Carries a plan out, one write after the other, and stops at the first that is not to be had.

use std::collections::BTreeMap;

use signet_controlplane::model::key::Key;
use thiserror::Error;

use crate::{
    plan::{Action, Plan, Step},
    resource::Tags,
    server::{Api, ApiError, Version},
};

/// Why a plan was not carried out to its end.
#[derive(Debug, Error)]
#[error("{}", self.text())]
pub struct Stopped {
    /// Steps that were carried out.
    pub done: usize,
    /// Steps of the plan.
    pub total: usize,
    /// The one that was not.
    pub step: Box<Step>,
    /// Why not.
    pub cause: Cause,
}

/// Why a step was not carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody else changed the resource after the plan was made.
    #[error("somebody else changed it since it was read (it is at version {found} now, not {expected})")]
    Changed {
        /// The version that the plan was made for.
        expected: u64,
        /// The version that is there.
        found: u64,
    },
    /// Somebody else removed the resource, or put another in its place, after the plan was made.
    #[error("somebody else removed or replaced it since it was read")]
    Gone,
    /// The server refused, or did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Stopped {
    fn text(&self) -> String {
        let Self { done, total, step, cause } = self;
        let place = step.place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
        let rest = total - done;
        format!(
            "cannot {} {}{place}: {cause}\n{done} of {total} changes were made and {rest} were not; once the reason \
             is gone, the same command makes the rest",
            step.action.as_str(),
            step.key
        )
    }
}

/// Carries out a plan. `report` is told of each step that was.
///
/// Before a resource is written it is read again, and the write itself names the version that it is for, so that a
/// change of somebody else's is seen and not overwritten.
///
/// # Errors
/// A step that could not be carried out. Those before it were, and those after it were not.
pub async fn carry_out(api: &dyn Api, plan: &Plan, mut report: impl FnMut(&Step)) -> Result<(), Stopped> {
    let mut ours = Ours::default();
    for (done, step) in plan.steps.iter().enumerate() {
        let carried_out = one(api, step, &mut ours).await;
        carried_out.map_err(|cause| Stopped {
            done,
            total: plan.steps.len(),
            step: Box::new(step.clone()),
            cause,
        })?;
        report(step);
    }
    Ok(())
}

/// What our own earlier steps made of a resource that has several.
#[derive(Default)]
struct Ours {
    versions: BTreeMap<Key, Version>,
    /// The tags of what goes and comes back.
    tags: BTreeMap<Key, Tags>,
}

async fn one(api: &dyn Api, step: &Step, ours: &mut Ours) -> Result<(), Cause> {
    let key = &step.key;
    let known = step.before.as_ref().map(|(before, _)| ours.versions.get(key).unwrap_or(before).clone());
    match (step.action, &step.document, known) {
        (Action::Create, Some(document), _) => {
            let mut tags = ours.tags.remove(key).unwrap_or_default();
            tags.retain(|key, _| !step.untagged.contains(key));
            tags.extend(step.tags.clone());
            api.create(document, &tags).await?;
        }
        (Action::Update, Some(document), Some(known)) => {
            check(api, key, &known).await?;
            let written = api.update(document, known.number).await?;
            ours.versions.insert(key.clone(), written.version);
        }
        (Action::Delete, _, Some(known)) => {
            check(api, key, &known).await?;
            if let Some((_, arn)) = step.before.as_ref().filter(|_| step.is_interim) {
                ours.tags.insert(key.clone(), api.tags(arn).await?);
            }
            api.delete(key, known.number).await?;
        }
        (Action::Tag, _, Some(known)) => check(api, key, &known).await?,
        (Action::Tag | Action::Create | Action::Update | Action::Delete, ..) => {}
    }
    let (Some((_, arn)), Action::Update | Action::Tag) = (&step.before, step.action) else { return Ok(()) };
    if !step.untagged.is_empty() {
        api.untag(arn, &step.untagged).await?;
    }
    if !step.tags.is_empty() {
        api.tag(arn, &step.tags).await?;
    }
    Ok(())
}

async fn check(api: &dyn Api, key: &Key, expected: &Version) -> Result<(), Cause> {
    let found = match api.describe(key).await {
        Err(ApiError::Missing) => return Err(Cause::Gone),
        found => found?.version,
    };
    match (found.uid == expected.uid, found.number == expected.number) {
        (true, true) => Ok(()),
        (true, false) => Err(Cause::Changed { expected: expected.number, found: found.number }),
        (false, _) => Err(Cause::Gone),
    }
}
