//! A token: its sessions, the keys on it, and their signatures.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
    types::AuthPin,
};

use super::{Pkcs11Error, Pkcs11Uri, module};
use crate::key::{Passphrase, PublicKey};

/// The curve P-256 as CKA_EC_PARAMS wants it: the DER of its object identifier.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// DER of an OCTET STRING with an uncompressed point of P-256, up to the point.
const POINT: &[u8] = b"\x04\x41";
/// Sessions that are kept for the next signature.
const IDLE: usize = 16;

/// A token that a PIN opened. Its sessions are opened as they are needed, and again when the token went away.
pub struct Pkcs11Token {
    module: Pkcs11,
    uri: Pkcs11Uri,
    pin: Option<Passphrase>,
    label: String,
    line: Mutex<Line>,
}

/// What stands between us and the token now.
#[derive(Debug)]
struct Line {
    /// Open as long as the token is there: with its last session, a login ends.
    login: Option<(Slot, Session)>,
    idle: Vec<Session>,
}

/// A P-256 key on a token.
#[derive(Clone)]
pub(crate) struct TokenKey {
    token: Arc<Pkcs11Token>,
    place: Pkcs11Uri,
}

impl Pkcs11Token {
    /// Finds the one token that the URI means, and logs in.
    ///
    /// # Errors
    /// No module, no such token or several, no PIN or a wrong one.
    pub fn open(uri: &Pkcs11Uri, pin: Option<Passphrase>) -> Result<Arc<Self>, Pkcs11Error> {
        let module = module::load(uri.module_path.as_deref().ok_or(Pkcs11Error::NoModule)?)?;
        let (slot, info) = find(&module, uri)?;
        let label = info.label().to_owned();
        let line = Mutex::new(Line { login: None, idle: Vec::new() });
        let token = Self { module, uri: uri.clone(), pin, label, line };
        let session = token.log_in(slot, &info)?;
        token.line().login = Some((slot, session));
        Ok(Arc::new(token))
    }

    /// The URI by which it was opened.
    #[must_use]
    pub fn uri(&self) -> &Pkcs11Uri {
        &self.uri
    }

    /// The key that a URI means.
    pub(crate) fn key(self: &Arc<Self>, place: &Pkcs11Uri) -> Result<TokenKey, Pkcs11Error> {
        let key = TokenKey { token: self.clone(), place: place.place() };
        self.with_session(|session| key.find(session))
            .map_err(|failed| self.error("find the key", failed))?;
        Ok(key)
    }

    /// Makes a P-256 key that cannot leave the token. `id` must be new on it.
    pub(crate) fn generate(
        self: &Arc<Self>,
        label: &str,
        id: &[u8],
    ) -> Result<(TokenKey, PublicKey), Pkcs11Error> {
        let label = format!("signet {label}");
        let both =
            [Attribute::Token(true), Attribute::Label(label.clone().into()), Attribute::Id(id.to_vec())];
        let public = [Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(P256.to_vec())];
        let private = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let [public, private] = [[&both[..], &public].concat(), [&both[..], &private].concat()];
        let point = self.with_session(|_| {
            let slot = self.line().login.as_ref().map(|(slot, _)| *slot);
            let session = self.module.open_rw_session(slot.ok_or(Error::InvalidValue)?)?;
            let (made, _) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
            Ok(session.get_attributes(made, &[AttributeType::EcPoint])?)
        });
        let point = point.map_err(|failed| self.error("make a key", failed))?;
        let strange =
            || self.error("make a key", Failure::Other("its public half is not readable".to_owned()));
        let [Attribute::EcPoint(point)] = point.as_slice() else { return Err(strange()) };
        // Some tokens leave the OCTET STRING around the point out.
        let point = point.strip_prefix(POINT).unwrap_or(point);
        let public = PublicKey::p256(point.try_into().map_err(|_| strange())?);
        let place = Pkcs11Uri { object: Some(label), id: Some(id.to_vec()), ..self.uri.place() };
        Ok((TokenKey { token: self.clone(), place }, public))
    }

    /// Does something in a session that is logged in; where the token went away meanwhile, in a new one.
    fn with_session<T>(&self, work: impl Fn(&Session) -> Result<T, Failure>) -> Result<T, Failure> {
        let session = self.session()?;
        match work(&session) {
            Err(Failure::Token(Error::Pkcs11(reason, _))) if is_gone(&reason) => {
                drop(session);
                *self.line() = Line { login: None, idle: Vec::new() };
                let session = self.session()?;
                let done = work(&session)?;
                self.keep(session);
                Ok(done)
            }
            done => {
                self.keep(session);
                done
            }
        }
    }

    fn session(&self) -> Result<Session, Failure> {
        let mut line = self.line();
        if let Some(session) = line.idle.pop() {
            return Ok(session);
        }
        let slot = match &line.login {
            Some((slot, _)) => *slot,
            None => {
                let (slot, info) = find(&self.module, &self.uri)?;
                line.login = Some((slot, self.log_in(slot, &info)?));
                slot
            }
        };
        Ok(self.module.open_ro_session(slot)?)
    }

    fn keep(&self, session: Session) {
        let mut line = self.line();
        if line.login.is_some() && line.idle.len() < IDLE {
            line.idle.push(session);
        }
    }

    fn log_in(&self, slot: Slot, info: &TokenInfo) -> Result<Session, Pkcs11Error> {
        let session =
            self.module.open_ro_session(slot).map_err(|error| self.error("open a session", error.into()))?;
        if !info.login_required() {
            return Ok(session);
        }
        if self.pin.is_none() && !info.protected_authentication_path() {
            return Err(Pkcs11Error::NoPin(self.label.clone()));
        }
        let pin = self.pin.as_ref().map(|pin| AuthPin::new(pin.reveal().into()));
        match session.login(UserType::User, pin.as_ref()) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(Pkcs11Error::Pin { token: self.label.clone(), reason: pin_refusal(&error) }),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, what: &'static str, failure: Failure) -> Pkcs11Error {
        let reason = match failure {
            Failure::Known(error) => return error,
            Failure::Token(error) => error.to_string(),
            Failure::Other(reason) => reason,
        };
        Pkcs11Error::Failed { token: self.label.clone(), what, reason }
    }
}

impl fmt::Debug for Pkcs11Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Token({})", self.uri.place())
    }
}

impl TokenKey {
    /// Where it is, without module and PIN.
    pub(crate) fn place(&self) -> &Pkcs11Uri {
        &self.place
    }

    /// Signs a SHA-256 digest with ECDSA; `r` and `s` follow each other, 32 bytes each.
    pub(crate) fn sign_digest(&self, digest: &[u8]) -> Result<[u8; 64], Pkcs11Error> {
        let failed = |failure| self.token.error("sign", failure);
        let signed = self.token.with_session(|session| {
            let key = self.find(session)?;
            Ok(session.sign(&Mechanism::Ecdsa, key, digest)?)
        });
        let signed = signed.map_err(failed)?;
        <[u8; 64]>::try_from(signed).map_err(|other| {
            failed(Failure::Other(format!(
                "a P-256 signature has 64 bytes, and this one has {}",
                other.len()
            )))
        })
    }

    /// Looked up each time: a handle is worth nothing once a token was away.
    fn find(&self, session: &Session) -> Result<ObjectHandle, Failure> {
        let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC)];
        template.extend(self.place.object.as_ref().map(|label| Attribute::Label(label.clone().into())));
        template.extend(self.place.id.clone().map(Attribute::Id));
        let found = session.find_objects(&template)?;
        match *found {
            [key] => Ok(key),
            _ => Err(Failure::Known(Pkcs11Error::NotOneKey {
                token: self.token.label.clone(),
                wanted: self.place.to_string(),
                count: found.len(),
            })),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.place)
    }
}

/// What went wrong in a session.
#[derive(Debug)]
enum Failure {
    Known(Pkcs11Error),
    Token(Error),
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

impl From<Pkcs11Error> for Failure {
    fn from(error: Pkcs11Error) -> Self {
        Self::Known(error)
    }
}

/// Whether the token was away, so that the sessions that were open are none any more.
fn is_gone(reason: &RvError) -> bool {
    matches!(
        reason,
        RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::UserNotLoggedIn
    )
}

/// Why a PIN was refused, in the words of those who have to mend it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else it is, the module's own words are the best there are"
)]
fn pin_refusal(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::PinIncorrect, _) => "it is not the PIN of its user".to_owned(),
        Error::Pkcs11(RvError::PinLocked, _) => {
            "it is locked after too many attempts; its security officer can unlock it".to_owned()
        }
        Error::Pkcs11(RvError::UserPinNotInitialized, _) => "its user has no PIN yet".to_owned(),
        other => other.to_string(),
    }
}

fn find(module: &Pkcs11, uri: &Pkcs11Uri) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let failed = |error: Error| Pkcs11Error::Failed {
        token: uri.place().to_string(),
        what: "be looked for",
        reason: error.to_string(),
    };
    let mut found = Vec::new();
    let mut fitting = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(failed)? {
        let info = module.get_token_info(slot).map_err(failed)?;
        found.push(format!("{:?} (serial {})", info.label(), info.serial_number()));
        if uri.fits_token([info.label(), info.serial_number(), info.manufacturer_id(), info.model()]) {
            fitting.push((slot, info));
        }
    }
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    match (fitting.pop(), fitting.len()) {
        (Some(token), 0) => Ok(token),
        (one, more) => Err(Pkcs11Error::NotOneToken {
            wanted: uri.place().to_string(),
            count: more + usize::from(one.is_some()),
            found,
        }),
    }
}
