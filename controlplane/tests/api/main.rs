//! The App Mesh API from outside: whole requests, signed as AWS's own signer signs them.

#[cfg(test)]
mod access;
#[cfg(test)]
mod client;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod random;
#[cfg(test)]
mod references;
#[cfg(test)]
mod served;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod versions;
