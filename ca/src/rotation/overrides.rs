//! Proxies that nobody waits for, as somebody said: whom a name names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Override, Record, RotationError, Rotations, Standing, holders::Holders, millis};
use crate::{IssuerName, Serial, nodes::NodeView};

/// Laggards that an error names.
const NAMED: usize = 10;
/// Of a name that nobody has, so many characters are repeated.
const REPEATED: usize = 200;

/// Who may be waited for, now or later in a change.
struct Names {
    /// Known proxies, each with the certificate that it holds.
    proxies: BTreeMap<String, Option<Serial>>,
    /// Whose certificate each is, of those that known proxies hold.
    held: BTreeMap<Serial, String>,
    /// Workloads, meshes whose issuers lack a certificate, and agents whose certificates have just ended.
    others: BTreeSet<String>,
    holders: Holders,
}

impl Rotations {
    /// Waits no longer for some proxies.
    pub(super) async fn excuse(
        &self,
        record: &mut Record,
        nodes: &[String],
        by: &str,
    ) -> Result<(), RotationError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let (names, at_unix_ms) = (self.names().await?, millis((self.0.clock)()));
        for node in nodes {
            let is_new =
                |record: &Record, node: &str| record.overrides.iter().all(|before| before.node != node);
            if !is_new(record, node) {
                continue;
            }
            let Some((node, certificate)) = self.whom(&names, node).await? else {
                return Err(nobody(node, &self.count(record).await?, &names.holders));
            };
            // Who said so first stands in the ledger.
            if is_new(record, &node) {
                let certificate = certificate.map(|serial| serial.to_string());
                record.overrides.push(Override { node, by: by.to_owned(), at_unix_ms, certificate });
            }
        }
        Ok(())
    }

    async fn names(&self) -> Result<Names, RotationError> {
        let holders = self.holders((self.0.clock)()).await?;
        let views = self.0.nodes.subscribe().borrow().clone();
        let (mut proxies, mut held, mut others) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for view in views.iter() {
            let name = view.key.to_string();
            for serial in certificates(view) {
                held.insert(holders.family(serial), name.clone());
            }
            proxies.insert(name, certificates(view).next());
            others.insert(view.key.workload.to_string());
        }
        others.extend(holders.workloads().map(ToString::to_string));
        let lacking = self.0.issuing.authority().lacking().into_iter();
        others
            .extend(lacking.filter(|issuer| *issuer != IssuerName::Server).map(|issuer| issuer.to_string()));
        let lapsed = self.0.nodes.lapsed().into_iter();
        others.extend(lapsed.flat_map(|one| [one.key.to_string(), one.key.workload.to_string()]));
        Ok(Names { proxies, held, others, holders })
    }

    /// The name by which somebody is waited for, or would be, and the certificate by which it is known; `None` where
    /// nobody has the name.
    async fn whom(
        &self,
        names: &Names,
        name: &str,
    ) -> Result<Option<(String, Option<Serial>)>, RotationError> {
        if let Some(certificate) = names.proxies.get(name) {
            return Ok(Some((name.to_owned(), *certificate)));
        }
        if names.others.contains(name) {
            return Ok(Some((name.to_owned(), None)));
        }
        let Ok(serial) = name.parse::<Serial>() else { return Ok(None) };
        if let Some(proxy) = names.held.get(&names.holders.family(serial)) {
            return Ok(Some((proxy.clone(), Some(serial))));
        }
        // Also one that has just ended: whoever names it saw that it is waited for.
        let issued = self.0.issuing.ledger().get(serial).await?;
        Ok(issued.filter(|issued| issued.workload.is_some()).map(|_| (serial.to_string(), None)))
    }
}

/// The certificates by which an agent is known, the one that it holds first.
fn certificates(view: &NodeView) -> impl Iterator<Item = Serial> {
    let held = view.report.held.as_ref().and_then(|leaf| leaf.serial);
    held.into_iter().chain(view.line.serial)
}

/// Why a name is refused.
fn nobody(name: &str, standing: &Standing, holders: &Holders) -> RotationError {
    if standing.needed.contains(name) {
        return RotationError::Needed(name.to_owned());
    }
    let waited: Vec<&str> = standing
        .laggards
        .iter()
        .map(|laggard| laggard.node.as_str())
        .filter(|node| !standing.needed.contains(*node))
        .collect();
    let named = waited.iter().take(NAMED).map(|node| {
        match node.parse().ok().and_then(|serial| holders.whose(serial)) {
            Some(whose) => format!("{node} (of {whose})"),
            None => (*node).to_owned(),
        }
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    match waited.len().checked_sub(NAMED) {
        _ if waited.is_empty() => "nobody is waited for who can be overridden".clone_into(&mut named),
        Some(more @ 1..) => named = format!("these are waited for: {named} and {more} more"),
        Some(0) | None => named = format!("these are waited for: {named}"),
    }
    RotationError::Nobody { name: name.chars().take(REPEATED).collect(), waited: named }
}
