//! Faults that tests plant between the making of a leaf and its signature, or in that, on their own thread.

use std::cell::RefCell;

/// When it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before anybody looked.
    Written,
    /// After the look, before the signature.
    LookedAt,
    /// In the signature.
    Signed,
}

/// When it strikes, what becomes other, and what becomes of it.
pub(crate) type Fault = (Moment, &'static [u8], &'static [u8]);

thread_local! {
    static FAULT: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// From now on, `found` becomes `altered` in everything that this thread signs, where it is first; both have one length.
pub(crate) fn plant(fault: Option<Fault>) {
    FAULT.with(|planted| *planted.borrow_mut() = fault);
}

pub(crate) fn planted(moment: Moment, mut tbs: Vec<u8>) -> Vec<u8> {
    let fault = FAULT.with(|fault| *fault.borrow());
    if let Some((_, found, altered)) = fault.filter(|(when, ..)| *when == moment) {
        let place = tbs.windows(found.len()).position(|window| window == found).unwrap();
        tbs[place..place + found.len()].copy_from_slice(altered);
    }
    tbs
}
