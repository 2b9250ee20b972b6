//! The interpreter's part in a process's life: fork, GIL, signals, end.
#![expect(unsafe_code, reason = "fork(2) and CPython's hooks around it have no safe form")]

use std::{io, time::Duration};

use pyo3::{PyErr, ffi, prelude::*};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The process that forked, with the child's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// Forks with CPython's hooks around it, as `os.fork()` does.
///
/// # Errors
/// Whatever `fork(2)` says. Must be called on the main thread.
pub fn fork() -> io::Result<Fork> {
    Python::attach(|_py| {
        // SAFETY: attached, on the main thread, and the hooks pair up on both sides and on failure (Modules/posixmodule.c).
        unsafe {
            ffi::PyOS_BeforeFork();
            let pid = libc::fork();
            if pid == 0 {
                ffi::PyOS_AfterFork_Child();
                return Ok(Fork::Child);
            }
            let error = io::Error::last_os_error();
            ffi::PyOS_AfterFork_Parent();
            if pid < 0 { Err(error) } else { Ok(Fork::Parent(pid)) }
        }
    })
}

/// Collects garbage, then hides what is left from the collector, so that processes forked from now on go on sharing its memory.
pub fn freeze() {
    let frozen = Python::attach(|py| {
        let gc = py.import("gc")?;
        gc.call_method0("collect")?;
        // Its entries count references to names all over the memory, and are replaced one by one in every process.
        // SAFETY: attached; the cache fills again with the next look-ups.
        unsafe { ffi::PyType_ClearCache() };
        gc.call_method0("freeze").map(drop)
    });
    if let Err(error) = frozen {
        tracing::warn!("gc.freeze failed, workers will share less memory: {error}");
    }
}

/// CPython's own switch interval, in s.
const PYTHONS_INTERVAL: f64 = 0.005;

/// The switch interval of a worker with several threads where nobody has chosen one, in s: measured, see `docs/python.md`.
const OUR_INTERVAL: f64 = 0.001;

/// Has threads that want the GIL ask for it after `asked` (`sys.setswitchinterval`), or else, among several threads, after
/// a millisecond, unless the application has chosen an interval itself.
///
/// # Errors
/// What Python has against it.
pub fn set_switch_interval(asked: Option<Duration>, threads: usize) -> Result<(), String> {
    let set = |py: Python<'_>| {
        let sys = py.import("sys")?;
        let is_pythons = sys.call_method0("getswitchinterval")?.extract::<f64>()? == PYTHONS_INTERVAL;
        let ours = (threads > 1 && is_pythons).then_some(OUR_INTERVAL);
        match asked.map(|asked| asked.as_secs_f64()).or(ours) {
            Some(interval) => sys.call_method1("setswitchinterval", (interval,)).map(drop),
            None => Ok(()),
        }
    };
    Python::attach(|py| set(py).map_err(|error: PyErr| error.to_string()))
}

/// Runs `work` without the GIL.
pub fn detached<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    Python::attach(|py| py.detach(work))
}

/// Runs `work` with the GIL; what attaches in it finds the thread attached already.
pub fn attached<T>(work: impl FnOnce() -> T) -> T {
    Python::attach(|_py| work())
}

/// Lets Python run the handlers of signals that have come; only the main thread's call does anything.
pub fn run_signal_handlers() {
    Python::attach(|py| {
        if let Err(error) = py.check_signals() {
            super::traceback::log(py, None, "signal handler raised an exception", &error);
        }
    });
}

/// Ends Python's part in this process: waits for the application's threads, runs its atexit functions, flushes its files.
pub fn finish() {
    Python::attach(|py| {
        let steps = [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")];
        for (module, function) in steps {
            if let Err(error) = py.import(module).and_then(|module| module.call_method0(function)) {
                super::traceback::log(py, None, "application failed at exit", &error);
            }
        }
        for stream in ["stdout", "stderr"] {
            // A closed or broken stream has nothing left to lose.
            drop(py.import("sys").and_then(|sys| sys.getattr(stream)?.call_method0("flush")));
        }
    });
}

/// Keeps CPython's state of this thread. Without it every attach would make one and every detach free it, which costs
/// several times as much and empties the application's `threading.local` between two requests.
#[derive(Debug)]
pub(super) struct Pin {
    ensured: ffi::PyGILState_STATE,
    thread: *mut ffi::PyThreadState,
}

impl Pin {
    /// Pins the calling thread, which must be detached and is detached afterwards.
    pub(super) fn new() -> Self {
        // SAFETY: the interpreter runs; Ensure attaches this thread and SaveThread detaches it again, leaving its state behind.
        unsafe {
            let ensured = ffi::PyGILState_Ensure();
            Self { ensured, thread: ffi::PyEval_SaveThread() }
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // SAFETY: the raw pointer keeps a Pin on its thread, so this undoes `new` there, in reverse order.
        unsafe {
            ffi::PyEval_RestoreThread(self.thread);
            ffi::PyGILState_Release(self.ensured);
        }
    }
}

/// How many references there are to an object; unknown on a build without the GIL, where the count says less.
pub(super) fn references<T>(_attached: Python<'_>, object: &Py<T>) -> Option<isize> {
    // SAFETY: attached, and the reference keeps its object alive.
    let count = unsafe { ffi::Py_REFCNT(object.as_ptr()) };
    cfg!(not(Py_GIL_DISABLED)).then_some(count)
}
