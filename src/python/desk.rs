//! One thread's way to call the application: environ in, response out, `close()` on every path.

use std::{fmt, sync::Arc};

use pyo3::{
    PyErr,
    exceptions::{PyAssertionError, PyConnectionResetError, PyTypeError},
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyTuple},
};

use crate::{
    python::{
        Application,
        environ::Environs,
        input::Input,
        process::{Pin, is_sole},
        reply::{Chunks, Reply, Stage},
        start_response::StartResponse,
        traceback,
    },
    response::{Exchange, Gone, Outcome},
};

/// What the environ tells about the server.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether other threads of this process may call the application at the same time.
    pub multithread: bool,
    /// Whether other processes may.
    pub multiprocess: bool,
}

/// One Python thread's part of a desk. It must stay on the thread that made it.
#[derive(Debug)]
pub struct Desk {
    application: Application,
    environs: Environs,
    objects: Option<Objects>,
    /// CPython's state of this thread, kept so that attaching finds it instead of making one.
    _pin: Pin,
}

/// What an application is handed besides the environ; used again unless it keeps hold of one.
struct Objects {
    exchange: Arc<dyn Exchange>,
    reply: Arc<Reply>,
    input: Py<Input>,
    start_response: Py<StartResponse>,
}

impl Objects {
    fn new(py: Python<'_>, exchange: &Arc<dyn Exchange>) -> PyResult<Self> {
        let reply = Arc::new(Reply::new(Arc::clone(exchange)));
        Ok(Self {
            exchange: Arc::clone(exchange),
            input: Py::new(py, Input::new(Arc::clone(exchange)))?,
            start_response: Py::new(py, StartResponse::new(py, Arc::clone(&reply))?)?,
            reply,
        })
    }

    /// These objects, if nobody else has a reference to one of them.
    fn reusable(self, py: Python<'_>) -> Option<Self> {
        let start_response = self.start_response.get();
        let is_free =
            is_sole(py, &self.input) && is_sole(py, &self.start_response) && is_sole(py, start_response.writer());
        self.input.get().reset();
        is_free.then_some(self)
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// Why a response ended early.
enum Stop {
    /// The application, or what it returned, raised.
    Raised(PyErr),
    /// The peer has left.
    Gone,
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Gone> for Stop {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl Desk {
    /// Sets up the calling thread.
    ///
    /// # Errors
    /// When Python has no memory left.
    pub fn new(application: Application, facts: Facts) -> Result<Self, String> {
        let pin = Pin::new();
        let environs = Python::attach(|py| Environs::new(py, facts)).map_err(|error| error.to_string())?;
        Ok(Self { application, environs, objects: None, _pin: pin })
    }

    /// Calls the application for one request and sends its response. Never panics for what an application does.
    pub fn serve(&mut self, exchange: &Arc<dyn Exchange>) -> Outcome {
        Python::attach(|py| self.serve_attached(py, exchange))
    }

    /// Whether the application has let go of the last request's objects. If not, they still point to its exchange,
    /// which must then not be used for another request.
    #[must_use]
    pub fn has_let_go(&self) -> bool {
        self.objects.is_some()
    }

    fn serve_attached(&mut self, py: Python<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        let objects = match self.objects.take().filter(|objects| Arc::ptr_eq(&objects.exchange, exchange)) {
            Some(objects) => objects,
            None => match Objects::new(py, exchange) {
                Ok(objects) => objects,
                Err(error) => {
                    return failed(py, exchange, "no memory for a request", &error, Stage::Idle);
                }
            },
        };
        let outcome = match self.environ(py, exchange, &objects) {
            Ok(environ) => self.call(py, environ, &objects),
            Err(error) => failed(py, exchange, "no memory for an environ", &error, Stage::Idle),
        };
        self.objects = objects.reusable(py);
        outcome
    }

    fn environ<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &Arc<dyn Exchange>,
        objects: &Objects,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut made = None;
        exchange.with_request(&mut |request| {
            objects.reply.reset(request.framing.is_head);
            made = Some(self.environs.make(py, request));
        });
        let environ = made.unwrap_or_else(|| Err(PyAssertionError::new_err("no request")))?;
        environ.set_item(intern!(py, "wsgi.input"), &objects.input)?;
        Ok(environ)
    }

    fn call(&self, py: Python<'_>, environ: Bound<'_, PyDict>, objects: &Objects) -> Outcome {
        let reply = &objects.reply;
        let result = match self.application.bind(py).call1((environ, &objects.start_response)) {
            Ok(result) => result,
            Err(error) => return stopped(py, objects, error.into()),
        };
        let responded = respond(py, reply, &result);
        let outcome = match responded {
            Ok(()) => ended(objects),
            Err(stop) => stopped(py, objects, stop),
        };
        if let Err(error) = close(&result) {
            log(py, &objects.exchange, "close() of the response raised an exception", &error);
        }
        outcome
    }
}

/// Sends what the application returned.
fn respond(py: Python<'_>, reply: &Reply, result: &Bound<'_, PyAny>) -> Result<(), Stop> {
    if let Some(chunks) = whole(result) {
        require_head(reply)?;
        return Ok(reply.write_all(py, &chunks)?);
    }
    let is_single = result.len().is_ok_and(|length| length == 1);
    for chunk in result.try_iter()? {
        let chunk = chunk?;
        let chunk = bytes(&chunk)?;
        require_head(reply)?;
        if is_single && reply.stage() == Stage::Set {
            reply.write_only(py, chunk)?;
        } else if !chunk.as_bytes().is_empty() {
            reply.write(py, chunk)?;
        }
        // What goes beyond the application's own Content-Length is not even asked for.
        if reply.is_full() {
            return Ok(());
        }
    }
    require_head(reply)?;
    if reply.stage() == Stage::Set {
        reply.write_all(py, &Chunks::new())?;
    }
    Ok(())
}

/// The chunks of a response that is all there: an exact list or tuple of `bytes`, or one `bytes` as uWSGI allows.
fn whole<'py>(result: &Bound<'py, PyAny>) -> Option<Chunks<'py>> {
    let exact = |item: Bound<'py, PyAny>| item.cast_into_exact::<PyBytes>().ok();
    if let Ok(list) = result.cast_exact::<PyList>() {
        return list.iter().map(exact).collect();
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        return tuple.iter().map(exact).collect();
    }
    exact(result.clone()).map(|only| Chunks::from_iter([only]))
}

fn bytes<'a, 'py>(chunk: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    chunk.cast::<PyBytes>().map_err(|_| {
        let kind = chunk.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("the application's iterable must yield bytes, not {kind}"))
    })
}

fn require_head(reply: &Reply) -> PyResult<()> {
    match reply.stage() {
        Stage::Idle => Err(PyAssertionError::new_err("the application sent a body without calling start_response")),
        Stage::Set | Stage::Sent => Ok(()),
    }
}

fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    // Neither has the method, and looking for it costs more than knowing so.
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyBytes>() {
        return Ok(());
    }
    match result.getattr_opt(intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// The outcome of a response whose iterable has come to its end.
fn ended(objects: &Objects) -> Outcome {
    let Some(fault) = objects.reply.fault() else {
        return Outcome::Complete;
    };
    let (method, path) = traceback::name(&objects.exchange);
    tracing::error!(method, path, "{fault}");
    if objects.reply.is_short() { Outcome::Broken } else { Outcome::Complete }
}

/// The outcome of a response that stopped early.
fn stopped(py: Python<'_>, objects: &Objects, stop: Stop) -> Outcome {
    let stage = objects.reply.stage();
    match stop {
        Stop::Gone => Outcome::PeerGone,
        // Our own word that the peer has left, come back through the application.
        Stop::Raised(error)
            if error.is_instance_of::<PyConnectionResetError>(py) && objects.exchange.is_peer_gone() =>
        {
            Outcome::PeerGone
        }
        Stop::Raised(error) => failed(py, &objects.exchange, "application raised an exception", &error, stage),
    }
}

fn failed(py: Python<'_>, exchange: &Arc<dyn Exchange>, what: &str, error: &PyErr, stage: Stage) -> Outcome {
    log(py, exchange, what, error);
    if stage == Stage::Sent { Outcome::Broken } else { Outcome::Failed }
}

fn log(py: Python<'_>, exchange: &Arc<dyn Exchange>, what: &str, error: &PyErr) {
    traceback::log(py, Some(exchange), what, error);
}
