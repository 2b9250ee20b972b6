//! An exception as text, and as one event in the log.

use std::sync::Arc;

use pyo3::{PyErr, prelude::*, types::PyList};

use crate::{request::Name, response::Exchange};

/// The traceback as Python prints it.
pub(super) fn format(py: Python<'_>, error: &PyErr) -> String {
    let lines = || -> PyResult<Vec<String>> {
        let parts = (error.get_type(py), error.value(py), error.traceback(py));
        let lines = py.import("traceback")?.call_method1("format_exception", parts)?;
        Ok(lines.cast::<PyList>()?.iter().map(|line| line.to_string()).collect())
    };
    // Formatting runs Python code, which may fail in turn: then the exception's own words must do.
    lines().map_or_else(|_| error.to_string(), |lines| lines.concat())
}

/// One event that names the request, what went wrong, and where.
pub(super) fn log(py: Python<'_>, exchange: Option<&Arc<dyn Exchange>>, what: &str, error: &PyErr) {
    let text = format(py, error);
    match exchange.map(|exchange| Name::of(exchange.as_ref())) {
        Some(Name { method, path, request_id }) => {
            tracing::error!(method, path, request_id, "{what}\n{}", text.trim_end());
        }
        None => tracing::error!("{what}\n{}", text.trim_end()),
    }
}
