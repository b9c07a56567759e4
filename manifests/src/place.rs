//! Where something stands in a person's files, and what is wrong there.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As the caller named it.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
}

/// What is wrong with an input, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{place}: {what}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, and how to mend it.
    pub what: String,
}

/// All that is wrong with an input, in the order of files and lines; never empty. Nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", listed(.0))]
pub struct Faults(pub Vec<Fault>);

/// Something that a person should know and that keeps nothing from being done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

impl Place {
    /// A fault here.
    pub(crate) fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { place: self.clone(), what: what.into() }
    }

    /// A note about what is here.
    pub(crate) fn note(&self, what: impl Into<String>) -> Note {
        Note { place: self.clone(), what: what.into() }
    }
}

impl Fault {
    /// The same, saying of which resource it is.
    #[must_use]
    pub(crate) fn of(self, whose: &str) -> Self {
        Self { what: format!("{whose}: {}", self.what), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}
