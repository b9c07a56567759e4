//! The audit against inventories with real certificates in them.

#[cfg(test)]
mod bed;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod selection;
