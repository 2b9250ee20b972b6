//! One thread's way to call the application: environ in, response out, `close()` on every path.

use std::{fmt, sync::Arc};

use pyo3::{
    PyErr,
    exceptions::{PyAssertionError, PyConnectionResetError, PyTypeError},
    intern,
    prelude::*,
    types::{PyBytes, PyList, PyTuple},
};

use crate::{
    observe::scoreboard::Row,
    python::{
        Application,
        environ::{Environs, Made},
        file_wrapper::FileWrapper,
        input::Input,
        interrupt::{self, Thread},
        module::RequestTimeout,
        process::{Pin, references},
        reply::{Chunks, Reply, Stage},
        start_response::StartResponse,
        traceback,
    },
    request::Name,
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
    row: Row,
    thread: Thread,
    /// CPython's state of this thread, kept so that attaching finds it instead of making one.
    _pin: Pin,
}

/// What an application is handed besides the environ; used again unless it keeps hold of one.
struct Objects {
    exchange: Arc<dyn Exchange>,
    reply: Arc<Reply>,
    input: Py<Input>,
    disconnected: Py<Disconnected>,
    start_response: Py<StartResponse>,
    /// The callable that an application gets: the former's method.
    callable: Py<PyAny>,
}

/// `rusgi.disconnected`: tells an application whether anybody still waits for its response.
#[pyclass(frozen, name = "Disconnected", module = "rusgi")]
pub(super) struct Disconnected(Arc<dyn Exchange>);

#[pymethods]
impl Disconnected {
    /// True once the client has closed the connection, or the request has ended.
    fn __call__(&self) -> bool {
        self.0.is_peer_gone()
    }
}

impl Objects {
    fn new(py: Python<'_>, exchange: &Arc<dyn Exchange>) -> PyResult<Self> {
        let reply = Arc::new(Reply::new(Arc::clone(exchange)));
        let start_response = Bound::new(py, StartResponse::new(py, Arc::clone(&reply))?)?;
        Ok(Self {
            exchange: Arc::clone(exchange),
            input: Py::new(py, Input::new(Arc::clone(exchange)))?,
            disconnected: Py::new(py, Disconnected(Arc::clone(exchange)))?,
            callable: start_response.getattr(intern!(py, "start_response"))?.unbind(),
            start_response: start_response.unbind(),
            reply,
        })
    }

    /// Whether the peer takes no more of the response.
    fn is_lost(&self) -> bool {
        self.reply.lost().is_some() || self.exchange.is_peer_gone()
    }

    /// These objects, if nobody but this desk and its templates has a reference to one of them.
    fn reusable(self, py: Python<'_>, templates: isize, has_body: bool) -> Option<Self> {
        if has_body {
            self.input.get().reset();
        }
        let writer = self.start_response.get().writer();
        let is_free = references(py, &self.input) == Some(1 + templates)
            && references(py, &self.disconnected) == Some(1 + templates)
            && references(py, &self.start_response) == Some(2)
            && references(py, &self.callable) == Some(1)
            && references(py, writer) == Some(1);
        is_free.then_some(self)
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// A request that is being served; it ends when this is dropped, also by a panic.
struct Serving<'py> {
    py: Python<'py>,
    row: Row,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        interrupt::end(self.py, self.row);
    }
}

/// A request that is about to be handed to the application.
struct Begun<'py> {
    serving: Serving<'py>,
    made: Made<'py>,
    has_body: bool,
}

/// Why a response ended early.
enum Stop {
    /// The application, or what it returned, raised.
    Raised(PyErr),
    /// Nobody takes the response any more.
    Gone(Gone),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Gone> for Stop {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl Desk {
    /// Sets up the calling thread.
    ///
    /// # Errors
    /// When Python has no memory left.
    pub fn new(application: Application, facts: Facts, row: Row) -> Result<Self, String> {
        let pin = Pin::new();
        let environs =
            Python::attach(|py| Environs::new(py, facts, application.prefixes())).map_err(|error| error.to_string())?;
        Ok(Self { application, environs, objects: None, row, thread: interrupt::sit_down(row), _pin: pin })
    }

    /// Calls the application for one request and sends its response. Never panics for what an application does.
    pub fn serve(&mut self, exchange: &Arc<dyn Exchange>) -> Outcome {
        Python::attach(|py| self.serve_attached(py, exchange))
    }

    /// The thread that the desk was made on.
    #[must_use]
    pub fn thread(&self) -> Thread {
        self.thread
    }

    /// Whether the application has let go of the last request's objects. If not, they still point to its exchange,
    /// which must then not be used for another request.
    #[must_use]
    pub fn has_let_go(&self) -> bool {
        self.objects.is_some()
    }

    fn serve_attached(&mut self, py: Python<'_>, exchange: &Arc<dyn Exchange>) -> Outcome {
        let objects = match self.objects.take().filter(|objects| Arc::ptr_eq(&objects.exchange, exchange)) {
            Some(objects) => Ok(objects),
            None => self.equip(py, exchange),
        };
        let begun = objects.and_then(|objects| Ok((self.begin(py, &objects)?, objects)));
        let (Begun { serving: _serving, made, has_body }, objects) = match begun {
            Ok(begun) => begun,
            Err(error) => return failed(py, exchange, "no environ could be made", &error, Stage::Idle),
        };
        self.environs.errors().begin();
        let outcome = self.call(py, made, &objects);
        self.environs.errors().end();
        self.objects = objects.reusable(py, self.environs.templates(), has_body);
        outcome
    }

    /// New objects for an exchange that has none, and a template that holds them.
    fn equip(&self, py: Python<'_>, exchange: &Arc<dyn Exchange>) -> PyResult<Objects> {
        let objects = Objects::new(py, exchange)?;
        self.environs.errors().follow(exchange);
        self.environs.equip(py, &objects.input, &objects.disconnected)?;
        Ok(objects)
    }

    fn begin<'py>(&mut self, py: Python<'py>, objects: &Objects) -> PyResult<Begun<'py>> {
        let mut begun = None;
        objects.exchange.with_request(&mut |request| {
            self.row.begin(request.vars.as_bytes());
            let serving = Serving { py, row: self.row };
            objects.reply.reset(request.framing);
            let has_body = request.framing.content_length > 0;
            begun = Some(self.environs.make(py, request).map(|made| Begun { serving, made, has_body }));
        });
        begun.unwrap_or_else(|| Err(PyAssertionError::new_err("no request")))
    }

    fn call(&self, py: Python<'_>, made: Made<'_>, objects: &Objects) -> Outcome {
        let reply = &objects.reply;
        let application = self.application.at(py, made.mount);
        let result = match application.call1((made.environ, &objects.callable)) {
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
    if let Some(file) = result.cast_exact::<FileWrapper>().ok().and_then(|wrapper| wrapper.get().real_file(py)) {
        require_head(reply)?;
        return Ok(reply.write_file(py, file.file, file.offset, file.size)?);
    }
    let is_single = is_single(result);
    for chunk in result.try_iter()? {
        let chunk = chunk?;
        let chunk = bytes(&chunk)?;
        require_head(reply)?;
        if is_single && reply.stage() == Stage::Set {
            reply.write_only(py, chunk)?;
        } else if !chunk.as_bytes().is_empty() {
            reply.write(py, chunk)?;
        } else {
            reply.pass_over_empty()?;
        }
        // What could not be sent anyway is not even asked for: an iterable may be endless.
        if reply.is_complete() {
            return Ok(());
        }
    }
    require_head(reply)?;
    if reply.stage() == Stage::Set {
        reply.write_all(py, &Chunks::new())?;
    }
    Ok(())
}

/// Whether the iterable knows that it has one item: then that item's length is the body's (PEP 3333, "Handling the Content-Length Header").
fn is_single(result: &Bound<'_, PyAny>) -> bool {
    // Asking a generator for its length would raise, and an exception costs more than this look.
    let has_length = result.get_type().hasattr(intern!(result.py(), "__len__")).unwrap_or(false);
    has_length && result.len().is_ok_and(|length| length == 1)
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
    let Name { method, path, request_id } = Name::of(objects.exchange.as_ref());
    tracing::error!(method, path, request_id, "{fault}");
    if objects.reply.is_short() { Outcome::Broken } else { Outcome::Complete }
}

/// The outcome of a response that stopped early.
fn stopped(py: Python<'_>, objects: &Objects, stop: Stop) -> Outcome {
    let stage = objects.reply.stage();
    match stop {
        Stop::Gone(gone) => lost(objects, gone),
        // Our own word that nobody takes the response, come back through the application.
        Stop::Raised(error) if error.is_instance_of::<PyConnectionResetError>(py) && objects.is_lost() => {
            lost(objects, objects.reply.lost().unwrap_or(Gone::Closed))
        }
        // The watchdog has said where and why.
        Stop::Raised(error) if error.is_instance_of::<RequestTimeout>(py) && !objects.reply.is_complete() => {
            if stage == Stage::Sent { Outcome::Broken } else { Outcome::TimedOut }
        }
        Stop::Raised(error) => {
            let outcome = failed(py, &objects.exchange, "application raised an exception", &error, stage);
            // Nothing is missing from what the peer was promised.
            if objects.reply.is_complete() { Outcome::Complete } else { outcome }
        }
    }
}

/// The outcome of a response that nobody takes; that a peer is there and does not read is worth a line.
fn lost(objects: &Objects, gone: Gone) -> Outcome {
    if gone == Gone::Stalled {
        let Name { method, path, request_id } = Name::of(&*objects.exchange);
        tracing::info!(method, path, request_id, "{gone}: the connection is closed");
    }
    Outcome::PeerGone
}

fn failed(py: Python<'_>, exchange: &Arc<dyn Exchange>, what: &str, error: &PyErr, stage: Stage) -> Outcome {
    log(py, exchange, what, error);
    if stage == Stage::Sent { Outcome::Broken } else { Outcome::Failed }
}

fn log(py: Python<'_>, exchange: &Arc<dyn Exchange>, what: &str, error: &PyErr) {
    traceback::log(py, Some(exchange), what, error);
}
