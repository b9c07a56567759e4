//! Thin: everything is in the library, so that the suites drive the very same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    signet::main()
}
