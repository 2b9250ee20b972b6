//! `start_response` and the `write` callable that it returns.

use std::sync::{Arc, Once};

use pyo3::{
    PyErr,
    exceptions::{PyAssertionError, PyConnectionResetError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyList, PyString, PyTuple},
};
use rusgi_proto::{HeadError, ResponseHead};

use crate::python::{
    reply::{Reply, Stage, Unset, is_harmless},
    text::as_latin1,
};

/// Has the `start_response` callable of PEP 3333 as a method, which CPython calls without packing its arguments.
///
/// It checks what it is given, so that a mistake surfaces where it is made.
#[pyclass(frozen, name = "StartResponse", module = "rusgi")]
pub(super) struct StartResponse {
    reply: Arc<Reply>,
    write: Py<Write>,
}

/// The imperative `write` callable of PEP 3333.
#[pyclass(frozen, name = "Write", module = "rusgi")]
pub(super) struct Write(Arc<Reply>);

impl StartResponse {
    pub(super) fn new(py: Python<'_>, reply: Arc<Reply>) -> PyResult<Self> {
        let write = Py::new(py, Write(Arc::clone(&reply)))?;
        Ok(Self { reply, write })
    }

    /// The `write` callable, to see whether the application has kept it.
    pub(super) fn writer(&self) -> &Py<Write> {
        &self.write
    }
}

#[pymethods]
impl StartResponse {
    /// PEP 3333 calls the second parameter `response_headers`; half of what calls it by name says `headers`.
    #[pyo3(signature = (status, response_headers=None, exc_info=None, *, headers=None))]
    fn start_response(
        &self,
        status: &Bound<'_, PyString>,
        response_headers: Option<&Bound<'_, PyList>>,
        exc_info: Option<&Bound<'_, PyTuple>>,
        headers: Option<&Bound<'_, PyList>>,
    ) -> PyResult<Py<Write>> {
        let (Some(headers), None) = (response_headers.or(headers), response_headers.and(headers)) else {
            return Err(PyTypeError::new_err("start_response takes a status, a list of headers, and exc_info"));
        };
        match (self.reply.set(exc_info.is_some(), |head| fill(head, status, headers)), exc_info) {
            (Ok(()), _) => Ok(self.write.clone_ref(status.py())),
            (Err(Unset::Unfit(error)), _) => Err(error),
            // Too late for an error page: the application's error goes up (PEP 3333, "Error Handling").
            (Err(Unset::Refused), Some(exc_info)) => Err(PyErr::from_value(exc_info.get_item(1)?)),
            (Err(Unset::Refused), None) => Err(PyAssertionError::new_err(
                "start_response has been called already: pass exc_info to replace the response",
            )),
        }
    }
}

#[pymethods]
impl Write {
    fn __call__(&self, chunk: &Bound<'_, PyBytes>) -> PyResult<()> {
        if chunk.as_bytes().is_empty() {
            return Ok(());
        }
        // A start_response that was refused has taken back the head before it: the chunk would pass for one.
        if self.0.stage() == Stage::Idle {
            return Err(PyAssertionError::new_err(
                "write() without a response: start_response has refused the last one",
            ));
        }
        self.0.write(chunk.py(), chunk).map_err(|gone| PyConnectionResetError::new_err(gone.to_string()))?;
        if self.0.is_overrun() {
            return Err(PyAssertionError::new_err("write() goes beyond the response's Content-Length"));
        }
        Ok(())
    }
}

/// Writes status and headers into an empty head.
fn fill(head: &mut ResponseHead, status: &Bound<'_, PyString>, headers: &Bound<'_, PyList>) -> PyResult<()> {
    head.start(&latin1(status, "status")?).map_err(refuse)?;
    for header in headers.iter() {
        let pair = header
            .cast::<PyTuple>()
            .map_err(|_| PyTypeError::new_err("headers: every item must be a tuple (name, value)"))?;
        if pair.len() != 2 {
            return Err(PyTypeError::new_err("headers: every item must be a tuple (name, value)"));
        }
        let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
        let (name, value) = (text(&name, "header name")?, text(&value, "header value")?);
        add(head, &latin1(name, "header name")?, &latin1(value, "header value")?)?;
    }
    Ok(())
}

fn add(head: &mut ResponseHead, name: &[u8], value: &[u8]) -> PyResult<()> {
    static WARNED: Once = Once::new();
    match head.header(name, value) {
        Err(error) if is_harmless(&error) => {
            WARNED.call_once(|| {
                tracing::warn!("the application sends {error}: left out, here and from now on without a line")
            });
            Ok(())
        }
        result => result.map_err(refuse),
    }
}

#[inline]
fn text<'a, 'py>(object: &'a Bound<'py, PyAny>, what: &str) -> PyResult<&'a Bound<'py, PyString>> {
    object.cast::<PyString>().map_err(|_| {
        let kind = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("{what} must be str, not {kind}"))
    })
}

#[inline]
fn latin1<'a>(text: &'a Bound<'_, PyString>, what: &str) -> PyResult<std::borrow::Cow<'a, [u8]>> {
    as_latin1(text)
        .ok_or_else(|| PyValueError::new_err(format!("{what} has a character that latin-1 has not: encode it first")))
}

fn refuse(error: HeadError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
