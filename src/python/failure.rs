//! Why there is no application, in words that an operator can act on.

use std::fmt;

use pyo3::{PyErr, Python};

use crate::python::traceback;

/// The interpreter or the application could not be loaded. Displayed: what happened, the traceback, and a hint.
#[derive(Clone, Debug)]
pub struct Failure {
    what: String,
    traceback: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure without a traceback.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), traceback: None, hint: None }
    }

    /// A failure that Python has raised.
    pub(super) fn raised(py: Python<'_>, what: impl Into<String>, error: &PyErr) -> Self {
        Self { traceback: Some(traceback::format(py, error)), ..Self::new(what) }
    }

    /// The same with advice, where there is some.
    #[must_use]
    pub(super) fn hint(self, hint: impl Into<Option<String>>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(traceback) = &self.traceback {
            write!(f, "\n{}", traceback.trim_end())?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
