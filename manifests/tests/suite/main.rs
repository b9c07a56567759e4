//! Files as people write them, and a server that keeps App Mesh's rules in memory.

#[cfg(test)]
mod applying;
#[cfg(test)]
mod cli_input;
#[cfg(test)]
mod cloudformation;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod planning;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod server;
#[cfg(test)]
mod walkthroughs;

#[cfg(test)]
pub(crate) use self::reading::{bundle, bundle_with, refused, settings, source, specs};
