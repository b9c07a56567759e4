//! Paths of files beside a proxy. Nobody here can look whether they are there (constraint C18).

use crate::model::shape::{Field, Invalid};

/// Longest path of a file.
const MAX_PATH: usize = 255;

/// A path that can be a file's.
pub(super) fn path(field: &Field<'_>) -> Result<String, Invalid> {
    let path = field.text(1..=MAX_PATH)?;
    // Envoy refuses whatever is to be read from or written to a folder.
    field.check(!path.ends_with('/'), || {
        "must be a file's path, and what ends in '/' is a folder".to_owned()
    })?;
    Ok(path.to_owned())
}
