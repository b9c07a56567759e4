//! Output that nobody reads any more: `signet export | head`.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook},
    process::ExitCode,
};

/// As a shell has it of programs that SIGPIPE ends.
const ENDED_BY_SIGPIPE: u8 = 128 + 13;

/// Runs the program until its end, or until it prints and its reader is gone, which is no fault of the program's and
/// ends it without a word.
///
/// Rust's programs ignore SIGPIPE, and `println!` panics instead. Taking the signal back would end a server whose
/// client hangs up, so the panic is told from others.
pub(crate) fn end_quietly(program: impl FnOnce() -> ExitCode) -> ExitCode {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_unread(panic.payload()) {
            report(panic);
        }
    }));
    match catch_unwind(AssertUnwindSafe(program)) {
        Ok(code) => code,
        Err(panic) if is_unread(&*panic) => ExitCode::from(ENDED_BY_SIGPIPE),
        Err(panic) => resume_unwind(panic),
    }
}

/// The standard library has no type for it.
fn is_unread(payload: &(dyn Any + Send)) -> bool {
    let text = payload.downcast_ref::<String>();
    text.is_some_and(|text| text.starts_with("failed printing to std") && text.contains("Broken pipe"))
}
