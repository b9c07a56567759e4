//! Turns what is held into what is served.

use std::sync::Arc;

use signet_policies::identity::TrustDomain;
use signet_xds::Snapshot;
use tokio::sync::watch;

use crate::{
    deliveries::Deliveries,
    secret::{Bundle, Secrets},
    translate::{Held, Validator, translate_for_all},
};

/// What is served, in each of the forms that proxies may ask for.
#[derive(Clone)]
pub(super) struct Published {
    trusted_ca: watch::Receiver<Option<Arc<Snapshot>>>,
    spiffe: watch::Receiver<Option<Arc<Snapshot>>>,
}

/// The other end.
pub(super) struct Publisher {
    trusted_ca: watch::Sender<Option<Arc<Snapshot>>>,
    spiffe: watch::Sender<Option<Arc<Snapshot>>>,
}

impl Published {
    pub(super) fn channel() -> (Publisher, Self) {
        let [(trusted_ca, one), (spiffe, other)] = [watch::channel(None), watch::channel(None)];
        (Publisher { trusted_ca, spiffe }, Self { trusted_ca: one, spiffe: other })
    }

    pub(super) fn of(&self, validator: Validator) -> watch::Receiver<Option<Arc<Snapshot>>> {
        match validator {
            Validator::TrustedCa => self.trusted_ca.clone(),
            Validator::Spiffe => self.spiffe.clone(),
        }
    }
}

impl Publisher {
    /// Publishes every change until the rotator is gone; then this is too, and streams end.
    pub(super) async fn run(
        self,
        mut own: watch::Receiver<Option<Arc<Secrets>>>,
        mut further: watch::Receiver<Vec<Arc<Secrets>>>,
        deliveries: Deliveries,
    ) {
        // What was last trusted is served on when the own certificate has expired.
        let mut trust: Option<(Bundle, TrustDomain)> = None;
        loop {
            let held = own.borrow_and_update().clone();
            let others = further.borrow_and_update().clone();
            if let Some(held) = &held {
                let domain = held.leaf().identity().trust_domain().clone();
                trust = Some((held.bundle().clone(), domain));
            }
            if let Some((bundle, domain)) = trust.clone() {
                self.publish(&Held { own: held, further: others, bundle, domain }, &deliveries);
            }
            tokio::select! {
                changed = own.changed() => if changed.is_err() { return },
                // Without further identities nobody holds the other end.
                Ok(()) = further.changed() => {}
            }
        }
    }

    fn publish(&self, held: &Held, deliveries: &Deliveries) {
        deliveries.expect(held);
        for (validator, snapshot) in translate_for_all(held) {
            let sender = match validator {
                Validator::TrustedCa => &self.trusted_ca,
                Validator::Spiffe => &self.spiffe,
            };
            let served = sender.borrow().clone().filter(|served| **served == snapshot);
            let is_news = served.is_none();
            let snapshot = served.unwrap_or_else(|| Arc::new(snapshot));
            deliveries.about_to_serve(&snapshot, validator, held);
            if is_news {
                sender.send_replace(Some(snapshot));
            }
        }
    }
}
