//! An exception as text, and as one event in the log.

use std::sync::Arc;

use pyo3::{PyErr, prelude::*, types::PyList};

use crate::response::Exchange;

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
    match exchange.map(Name::of) {
        Some(Name { method, path, request_id }) => {
            tracing::error!(method, path, request_id, "{what}\n{}", text.trim_end());
        }
        None => tracing::error!("{what}\n{}", text.trim_end()),
    }
}

/// What a log line names a request by.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_id: String,
}

impl Name {
    pub(super) fn of(exchange: &Arc<dyn Exchange>) -> Self {
        let mut name = Self { method: String::new(), path: String::new(), request_id: exchange.request_id() };
        exchange.with_request(&mut |request| {
            name.method = request.method().escape_ascii().to_string();
            name.path = request.path().escape_ascii().to_string();
        });
        name
    }
}
