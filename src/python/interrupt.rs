//! Ending a request that has had its time: the stack of its thread in the log, an exception in its thread.
//!
//! The first desk's thread is Python's main thread: a signal interrupts what it waits for, and the handler raises there. In
//! other threads the exception waits for the next line of Python code (`PyThreadState_SetAsyncExc`).
#![expect(unsafe_code, reason = "exceptions and signals for other threads have no safe form")]

use std::{
    cell::Cell,
    ffi::c_ulong,
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use pyo3::{
    ffi,
    prelude::*,
    types::{IntoPyDict as _, PyList},
    wrap_pyfunction,
};
use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};

use crate::{
    observe::scoreboard::{Row, Turn},
    python::module::RequestTimeout,
    request::Name,
    response::Exchange,
};

/// How long the GIL is waited for before the stacks are read without it.
const PATIENCE: Duration = Duration::from_millis(200);

thread_local! {
    /// The row of the desk that runs on this thread.
    static ROW: Cell<Option<Row>> = const { Cell::new(None) };
}

/// A desk's thread, as Python knows it.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    ident: c_ulong,
    is_main: bool,
}

/// A request that has had its time.
#[derive(Clone)]
pub struct Overdue {
    /// Where its response would go.
    pub exchange: Arc<dyn Exchange>,
    /// The row of the desk that serves it.
    pub row: Row,
    /// The request.
    pub turn: Turn,
    /// The thread that it is served by.
    pub thread: Thread,
}

/// Interrupts requests.
#[derive(Debug)]
pub struct Interrupter {
    /// Where `faulthandler` writes to.
    stacks: File,
}

/// One request on its way out.
struct Case {
    overdue: Overdue,
    name: Name,
    is_logged: AtomicBool,
}

/// The row of the desk that the calling thread runs.
pub(super) fn row() -> Option<Row> {
    ROW.get()
}

/// Makes the calling thread that of the desk with this row.
pub(super) fn sit_down(row: Row) -> Thread {
    ROW.set(Some(row));
    // SAFETY: the call has no conditions.
    let ident = unsafe { libc::pthread_self() };
    let is_main = rustix::thread::gettid() == rustix::process::getpid();
    Thread { ident, is_main }
}

/// Ends the request of the calling thread, with the GIL: an exception that was meant for it comes to nobody else.
pub(super) fn end(_attached: Python<'_>, row: Row) {
    if row.end() {
        // SAFETY: attached; without an exception the call only forgets the one that was set for this thread.
        unsafe { ffi::PyThreadState_SetAsyncExc(libc::pthread_self().cast_signed(), ptr::null_mut()) };
    }
}

impl Interrupter {
    /// Prepares the process. Call it on the main thread, after the application has been loaded.
    ///
    /// # Errors
    /// What Python or the system has against it, in words.
    pub fn new() -> Result<Self, String> {
        let stacks = memfd_create("rusgi-stacks", MemfdFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let stacks = File::from(stacks);
        Python::attach(|py| {
            // The module that `signal` wraps; importing that one would load `enum` as well.
            let handler = wrap_pyfunction!(on_signal, py)?;
            py.import("_signal")?.call_method1("signal", (raise_signal(), handler))?;
            let options = [("all_threads", true), ("chain", false)].into_py_dict(py)?;
            options.set_item("file", stacks.as_raw_fd())?;
            py.import("faulthandler")?.call_method("register", (dump_signal(),), Some(&options)).map(drop)
        })
        .map_err(|error| error.to_string())?;
        Ok(Self { stacks })
    }

    /// Logs where the request is and raises `rusgi.RequestTimeout` there. Returns within a moment, though the GIL is never free.
    pub fn interrupt(&self, overdue: Overdue) {
        let name = Name::of(overdue.exchange.as_ref());
        if !overdue.row.is_at(overdue.turn.serial) {
            return;
        }
        let case = Arc::new(Case { overdue, name, is_logged: AtomicBool::new(false) });
        let (attached, is_attached) = mpsc::channel();
        let theirs = Arc::clone(&case);
        let attach = move || {
            Python::attach(|py| {
                // Whoever waited for it may have gone on without.
                let _unheard = attached.send(());
                theirs.raise_and_log(py);
            });
        };
        // It may wait for the GIL for ever, and dies with the process.
        let spawned = thread::Builder::new().name("rusgi-interrupt".to_owned()).spawn(attach);
        if spawned.is_err() || is_attached.recv_timeout(PATIENCE).is_err() {
            let ident = case.overdue.thread.ident;
            case.log(&format!(
                "The GIL is held by code outside Python. Thread {ident:#018x} is the request's.\n{}",
                self.stacks()
            ));
            case.signal();
        }
    }

    /// The stacks of all threads, as `faulthandler` reads them: without the GIL.
    fn stacks(&self) -> String {
        let cleared = ftruncate(&self.stacks, 0).and_then(|()| seek(&self.stacks, SeekFrom::Start(0)));
        // SAFETY: the signal's handler is faulthandler's, which is made for any moment; it has returned when raise(3) does.
        let raised = unsafe { libc::raise(dump_signal()) };
        let mut text = vec![0; 64 * 1024];
        match (cleared, raised, self.stacks.read_at(&mut text, 0)) {
            (Ok(_), 0, Ok(length)) => with_frames(&String::from_utf8_lossy(text.get(..length).unwrap_or_default())),
            _ => "(its stack cannot be read)".to_owned(),
        }
    }
}

impl Case {
    fn raise_and_log(&self, py: Python<'_>) {
        // The frames first, for the exception unwinds them; their source afterwards, for reading it takes time.
        let summary = summary(py, self.overdue.thread.ident);
        if !self.overdue.row.is_at(self.overdue.turn.serial) {
            return;
        }
        self.raise(py);
        let text = summary.and_then(|summary| text(&summary));
        self.log(&text.unwrap_or_else(|error| format!("(its stack cannot be read: {error})")));
    }

    fn raise(&self, py: Python<'_>) {
        if self.overdue.thread.is_main {
            return self.signal();
        }
        self.overdue.row.interrupt(self.overdue.turn.serial);
        let exception = py.get_type::<RequestTimeout>();
        // SAFETY: attached; CPython looks the thread up by its number and does nothing if there is none.
        unsafe { ffi::PyThreadState_SetAsyncExc(self.overdue.thread.ident.cast_signed(), exception.as_ptr()) };
    }

    /// Interrupts the main thread, whose handler looks whether it is still at the request that is meant.
    fn signal(&self) {
        if self.overdue.thread.is_main {
            self.overdue.row.interrupt(self.overdue.turn.serial);
            // SAFETY: a desk's thread lives as long as the watchdog that asks for this, and the main thread as the process.
            unsafe { libc::pthread_kill(self.overdue.thread.ident, raise_signal()) };
        }
    }

    fn log(&self, stack: &str) {
        if self.is_logged.swap(true, Ordering::Relaxed) {
            return;
        }
        let Name { method, path, request_id } = &self.name;
        let age = self.overdue.turn.age;
        tracing::error!(
            method,
            path,
            request_id,
            ?age,
            "request timeout: raising RequestTimeout in its thread\n{}",
            stack.trim_end()
        );
    }
}

/// The handler on the main thread.
#[pyfunction]
#[pyo3(signature = (_number, _frame))]
fn on_signal(_number: &Bound<'_, PyAny>, _frame: &Bound<'_, PyAny>) -> PyResult<()> {
    match ROW.get() {
        Some(row) if row.take_interrupt() => Err(RequestTimeout::new_err("the request has had its time")),
        _ => Ok(()),
    }
}

/// Where a thread is, innermost call last, without the source.
fn summary<'py>(py: Python<'py>, ident: c_ulong) -> PyResult<Bound<'py, PyList>> {
    let frame = py.import("sys")?.call_method0("_current_frames")?.get_item(ident)?;
    let traceback = py.import("traceback")?;
    let frames = traceback.call_method1("walk_stack", (frame,))?;
    let options = [("lookup_lines", false)].into_py_dict(py)?;
    let summary = traceback.getattr("StackSummary")?.call_method("extract", (frames,), Some(&options))?;
    summary.call_method0("reverse")?;
    Ok(summary.cast_into::<PyList>()?)
}

/// The stacks of threads that run Python code at all.
fn with_frames(stacks: &str) -> String {
    let stacks: Vec<_> = stacks.split("\n\n").filter(|stack| stack.contains("  File ")).collect();
    stacks.join("\n")
}

fn text(summary: &Bound<'_, PyList>) -> PyResult<String> {
    let lines: Vec<String> = summary.call_method0("format")?.extract()?;
    Ok(format!("Stack (most recent call last):\n{}", lines.concat()))
}

/// The signal that interrupts the main thread: no program has a meaning for it.
fn raise_signal() -> libc::c_int {
    libc::SIGRTMAX() - 2
}

/// The signal that faulthandler answers with the stacks.
fn dump_signal() -> libc::c_int {
    libc::SIGRTMAX() - 3
}
