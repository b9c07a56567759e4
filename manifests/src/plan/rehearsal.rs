//! Finds an order of steps that the server's rules allow, by asking those very rules.
//!
//! A store in memory is filled with what the server holds, and the steps are tried on it. One that is refused
//! waits for others: a route may need its router's new port, and a router may have to wait for its routes. Where
//! two wait for one another, a listener keeps its old ports beside the new ones for a while; and where that does
//! not help either, a route goes and comes back.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use serde_json::Value;
use signet_controlplane::{
    model::{
        Document,
        key::{Key, Kind},
    },
    store::{MemoryStore, Store, StoreError, Write},
};
use uuid::Uuid;

use super::{Action, Step, rank};
use crate::{
    compare,
    place::{Faults, Place},
    resource::Bundle,
    server::State,
};

/// Orders writes and deletions.
pub(super) fn order(
    bundle: &Bundle,
    state: &State,
    writes: Vec<Step>,
    deletes: Vec<Step>,
) -> Result<Vec<Step>, Faults> {
    let Some(mut rehearsal) = Rehearsal::load(state) else {
        // An older server may hold what today's rules would refuse. It is asked in the usual order.
        return Ok(writes.into_iter().chain(deletes).collect());
    };
    let (mut writes, mut deletes) = (writes, deletes);
    loop {
        let progress = rehearsal.pass(&mut writes, |_| true);
        if writes.is_empty() {
            break;
        }
        // What goes anyway may be in the way, and a route that goes early harms nobody once its successor is there.
        let is_route = |step: &Step| matches!(step.key.kind(), Kind::Route | Kind::GatewayRoute);
        let progress = progress || rehearsal.pass(&mut deletes, is_route);
        if !progress && !rehearsal.widen(&writes, state) && !rehearsal.replace(&mut writes) {
            return Err(rehearsal.faults(bundle, &writes));
        }
    }
    while rehearsal.pass(&mut deletes, |_| true) {}
    match deletes.is_empty() {
        true => Ok(rehearsal.done),
        false => Err(rehearsal.faults(bundle, &deletes)),
    }
}

struct Rehearsal {
    store: MemoryStore,
    done: Vec<Step>,
    /// Why each was last refused.
    refusals: BTreeMap<Key, String>,
    /// What was helped over already; nothing is helped twice.
    helped: BTreeSet<Key>,
}

impl Rehearsal {
    fn load(state: &State) -> Option<Self> {
        let rehearsal = Self {
            store: MemoryStore::default(),
            done: Vec::new(),
            refusals: BTreeMap::new(),
            helped: BTreeSet::new(),
        };
        let mut held: Vec<_> = state.resources.values().collect();
        held.sort_by_key(|held| rank(held.document.key()));
        held.iter().try_for_each(|held| rehearsal.write(creation(&held.document)).ok())?;
        Some(rehearsal)
    }

    /// A store in memory answers at once.
    fn write(&self, write: Write) -> Result<(), String> {
        match self.store.write(write).now_or_never() {
            Some(Ok(_)) => Ok(()),
            Some(Err(StoreError::Refused(refusal))) => Err(refusal.to_string()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the rehearsal did not end".to_owned()),
        }
    }

    /// Tries every step that is `allowed`, and takes those that succeed out. Says whether there was one.
    fn pass(&mut self, steps: &mut Vec<Step>, allowed: impl Fn(&Step) -> bool) -> bool {
        let before = steps.len();
        let mut waiting = Vec::new();
        for step in steps.drain(..) {
            let tried = if allowed(&step) { self.perform(&step) } else { Err(String::new()) };
            match tried {
                Ok(()) => self.done.push(step),
                Err(why) => {
                    if !why.is_empty() {
                        self.refusals.insert(step.key.clone(), why);
                    }
                    waiting.push(step);
                }
            }
        }
        *steps = waiting;
        steps.len() < before
    }

    fn perform(&self, step: &Step) -> Result<(), String> {
        match (step.action, &step.document) {
            (Action::Create, Some(document)) => self.write(creation(document)),
            (Action::Update, Some(document)) => self.write(update(document)),
            (Action::Delete, _) => self.write(Write::Delete { key: step.key.clone(), expected: None, at: 0 }),
            (Action::Tag | Action::Create | Action::Update, _) => Ok(()),
        }
    }

    /// Lets a listener-bearing resource keep its old ports beside the new ones until its referrers have moved.
    fn widen(&mut self, waiting: &[Step], state: &State) -> bool {
        for step in waiting {
            let (Action::Update, Some(document)) = (step.action, &step.document) else { continue };
            let Some(held) = state.resources.get(&step.key).filter(|_| !self.helped.contains(&step.key))
            else {
                continue;
            };
            let Some(both) = with_old_listeners(document, &held.document) else { continue };
            let differences = compare::differences(&compare::spec(&held.document), &compare::spec(&both));
            if !differences.is_empty() && self.write(update(&both)).is_ok() {
                self.helped.insert(step.key.clone());
                let tags = Default::default();
                self.done.push(Step {
                    document: Some(both),
                    differences,
                    is_interim: true,
                    tags,
                    untagged: Vec::new(),
                    ..step.clone()
                });
                return true;
            }
        }
        false
    }

    /// Lets a route go and come back.
    fn replace(&mut self, waiting: &mut [Step]) -> bool {
        for step in waiting {
            let is_route = matches!(step.key.kind(), Kind::Route | Kind::GatewayRoute);
            if step.action != Action::Update || !is_route || self.helped.contains(&step.key) {
                continue;
            }
            let deletion = Step {
                place: step.place.clone(),
                before: step.before.clone(),
                is_interim: true,
                ..Step::new(Action::Delete, &step.key)
            };
            if self.perform(&deletion).is_ok() {
                self.helped.insert(step.key.clone());
                self.done.push(deletion);
                step.action = Action::Create;
                return true;
            }
        }
        false
    }

    fn faults(&self, bundle: &Bundle, stuck: &[Step]) -> Faults {
        let anywhere = Place { file: "the input".into(), line: 1 };
        let fault = |step: &Step| {
            let why = self.refusals.get(&step.key).map_or("it was refused", String::as_str);
            let place = step.place.clone().or_else(|| {
                let mesh = bundle.resources.get(&Key::Mesh(step.key.mesh().clone()));
                mesh.map(|mesh| mesh.place.clone())
            });
            place.unwrap_or_else(|| anywhere.clone()).fault(format!(
                "cannot {} {}: {why}",
                step.action.as_str(),
                step.key
            ))
        };
        Faults(stuck.iter().map(fault).collect())
    }
}

fn creation(document: &Document) -> Write {
    Write::Create {
        document: document.clone(),
        uid: Uuid::nil(),
        token: None,
        tags: Default::default(),
        at: 0,
    }
}

fn update(document: &Document) -> Write {
    Write::Update { document: document.clone(), token: None, expected: None, at: 0 }
}

/// `after` with those listeners of `before` whose ports it has not.
fn with_old_listeners(after: &Document, before: &Document) -> Option<Document> {
    let port = |listener: &Value| listener.pointer("/portMapping/port").cloned();
    let mut spec = compare::spec(after);
    let old = compare::spec(before).get("listeners")?.as_array()?.clone();
    let listeners = spec.get_mut("listeners")?.as_array_mut()?;
    let ports: Vec<_> = listeners.iter().map(port).collect();
    let kept: Vec<Value> = old.into_iter().filter(|listener| !ports.contains(&port(listener))).collect();
    if kept.is_empty() {
        return None;
    }
    listeners.extend(kept);
    Document::parse(after.key().clone(), spec).ok()
}
