//! Something wrong with a setting, said so that it can be put right.

use std::fmt;

/// One thing wrong with the configuration; displayed as `thing: what is wrong: what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    thing: String,
    fault: String,
}

impl Problem {
    /// A problem with `thing` (an option as the operator spelled it); `fault` says what is wrong, and what to do.
    pub fn new(thing: impl Into<String>, fault: impl fmt::Display) -> Self {
        Self { thing: thing.into(), fault: fault.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.thing, self.fault)
    }
}
