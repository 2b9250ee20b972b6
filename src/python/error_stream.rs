//! `wsgi.errors`: text for the log, a line at a time.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::response::Exchange;

/// A line longer than this, in bytes, is logged in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// The error stream of PEP 3333. Whole lines go to the log, each in one piece; `flush` sends what is left of one.
#[pyclass(frozen, name = "ErrorStream", module = "rusgi")]
pub(super) struct ErrorStream {
    begun: Mutex<String>,
    /// Whether a line has been begun, or may have been.
    has_begun: AtomicBool,
    /// The exchange of the desk that this stream belongs to.
    exchange: Mutex<Option<Arc<dyn Exchange>>>,
    /// Whether that desk is serving a request, which lines then belong to.
    is_serving: AtomicBool,
}

impl ErrorStream {
    pub(super) fn new() -> Self {
        Self {
            begun: Mutex::default(),
            has_begun: AtomicBool::new(false),
            exchange: Mutex::default(),
            is_serving: AtomicBool::new(false),
        }
    }

    /// From now on lines belong to requests of this exchange.
    pub(super) fn follow(&self, exchange: &Arc<dyn Exchange>) {
        *lock(&self.exchange) = Some(Arc::clone(exchange));
    }

    /// Begins a request: lines are tagged with its id from now on.
    pub(super) fn begin(&self) {
        self.is_serving.store(true, Ordering::Relaxed);
    }

    /// Ends a request; the rest of a line that it has begun is logged as it is.
    pub(super) fn end(&self) {
        if self.has_begun.load(Ordering::Acquire) {
            self.flush();
        }
        self.is_serving.store(false, Ordering::Relaxed);
    }

    fn log(&self, lines: &str) {
        let exchange = lock(&self.exchange).clone().filter(|_| self.is_serving.load(Ordering::Relaxed));
        let request_id = exchange.filter(|_| !lines.is_empty()).map(|exchange| exchange.request_id());
        for line in lines.lines().filter(|line| !line.is_empty()) {
            tracing::error!(target: "wsgi.errors", request_id, "{line}");
        }
    }

    fn add(&self, text: &str) {
        let mut begun = lock(&self.begun);
        self.has_begun.store(true, Ordering::Release);
        let before = begun.len();
        begun.push_str(text);
        // Only the new text can hold a newline; a line that never ends is cut, so that it cannot grow without end.
        let whole = match text.rfind('\n') {
            Some(at) => before + at + 1,
            None if begun.len() > LONGEST_LINE => begun.len(),
            None => return,
        };
        let rest = begun.split_off(whole);
        let lines = std::mem::replace(&mut *begun, rest);
        drop(begun);
        self.log(&lines);
    }
}

#[pymethods]
impl ErrorStream {
    /// Any text; what UTF-8 cannot hold, as lone surrogates, is written as `\udcxx`.
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        match text.to_str() {
            Ok(text) => self.add(text),
            Err(_) => {
                let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?.cast_into::<PyBytes>()?;
                self.add(&String::from_utf8_lossy(bytes.as_bytes()));
            }
        }
        text.len()
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(&line?.cast_into::<PyString>()?)?;
        }
        Ok(())
    }

    fn flush(&self) {
        self.has_begun.store(false, Ordering::Relaxed);
        let rest = std::mem::take(&mut *lock(&self.begun));
        self.log(&rest);
    }
}

/// A lock whose holder panicked is still good: every change under it is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}
