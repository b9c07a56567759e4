//! A change to a root whose key is elsewhere: what only its operator can do, and what is waited for until it is done.

use super::{Laggard, Phase, Record, RotationError, Rotations, Standing};
use crate::{Adopted, Authority, Error, IssuerName};

impl Rotations {
    /// A request (PKCS #10, PEM) for an issuer below the root that is to take over, as [`Authority::request`] makes them.
    ///
    /// # Errors
    /// No root whose key is elsewhere is to take over, or a key cannot be made.
    pub async fn request(&self, name: &IssuerName, fresh: bool) -> Result<String, RotationError> {
        // Held, so that folders are not put in place meanwhile.
        let kept = self.0.record.lock().await;
        Ok(self.successor(kept.as_ref())?.request(name, fresh)?)
    }

    /// Takes the certificate for such a request, as [`Authority::install`] does. The issuer signs when everybody trusts
    /// its root.
    ///
    /// # Errors
    /// No root whose key is elsewhere is to take over, or the certificate is not fit; nothing was changed then.
    pub async fn install(&self, name: &IssuerName, text: &str) -> Result<Adopted, RotationError> {
        let kept = self.0.record.lock().await;
        Ok(self.successor(kept.as_ref())?.install(name, text, (self.0.clock)().into())?)
    }

    fn successor(&self, record: Option<&Record>) -> Result<std::sync::Arc<Authority>, RotationError> {
        if record.is_none_or(|record| record.phase.is_over()) {
            return Err(RotationError::Idle);
        }
        let heir = self.0.issuing.authority().successor().filter(|heir| !heir.makes_issuers());
        heir.ok_or(RotationError::Authority(Error::Succession(
            "what takes over was made here, and needs no certificates from elsewhere",
        )))
    }

    /// Counts what the operator has yet to do before the new one may sign: to certify its issuers, and to sign a list of
    /// what is revoked while proxies ask for lists.
    pub(super) fn await_operator(&self, record: &Record, standing: &mut Standing) {
        if record.phase != Phase::Distribute {
            return;
        }
        let authority = self.0.issuing.authority();
        for name in authority.lacking() {
            let node = name.to_string();
            let why = format!(
                "its issuer has no certificate from the new root yet: signet ca csr {node} --next, have the root sign it, \
                 signet ca install {node} --next"
            );
            let is_excused = record.overrides.iter().any(|excused| excused.node == node);
            let laggard = Laggard { node, why };
            // A mesh that is not used any more needs no issuer; without the server's own the server would not start.
            match name {
                IssuerName::Server => standing.need(laggard),
                IssuerName::Mesh(_) if is_excused => {
                    (standing.total, standing.proven) = (standing.total + 1, standing.proven + 1)
                }
                IssuerName::Mesh(_) => {
                    standing.total += 1;
                    standing.laggards.push(laggard);
                }
            }
        }
        let trust = self.0.trust.now();
        // Once proxies have any list they want one of every authority, and refuse whoever has none.
        let unlisted = if trust.crls().is_empty() { Vec::new() } else { authority.unlisted(trust.crls()) };
        for subject in unlisted {
            let why = "something is revoked, and proxies are not given its list yet; if its key is elsewhere, have it sign \
                       one and put it into <data-dir>/ca/lists/, where it is found within 30 s"
                .to_owned();
            standing.need(Laggard { node: subject, why });
        }
        standing.laggards.sort();
    }

    /// What the operator of a root whose key is elsewhere has to do, in order.
    pub(super) fn operators_steps(&self) -> Vec<String> {
        let authority = self.0.issuing.authority();
        let mut steps = vec![
            "begin: signet ca rotate start --root --root-file FILE; from then on proxies trust both roots"
                .to_owned(),
        ];
        steps.extend(authority.issuer_names().iter().map(|name| {
            let file = name.to_string().replace('/', "-");
            format!(
                "have the new root certify the issuer {name}: signet ca csr {name} --next --out {file}.csr, sign it, \
                 signet ca install {name} {file}.pem --next"
            )
        }));
        if !self.0.trust.now().crls().is_empty() {
            steps.push(
                "something is revoked: have the new root sign a list of what it revoked, which is nothing, and put it into \
                 <data-dir>/ca/lists/ (openssl ca -gencrl -crldays 180 …)"
                    .to_owned(),
            );
        }
        steps.push("the rest goes by itself, and begins when these are done".to_owned());
        steps
    }
}
