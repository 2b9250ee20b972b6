//! `wsgi.errors`: text for the log, a line at a time.

use std::sync::{Mutex, MutexGuard};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

/// The error stream of PEP 3333. Whole lines go to the log, each in one piece; `flush` sends what is left of one.
#[pyclass(frozen, name = "ErrorStream", module = "rusgi")]
pub(super) struct ErrorStream {
    begun: Mutex<String>,
}

impl ErrorStream {
    pub(super) fn new() -> Self {
        Self { begun: Mutex::default() }
    }

    fn begun(&self) -> MutexGuard<'_, String> {
        self.begun.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    fn add(&self, text: &str) {
        let mut begun = self.begun();
        begun.push_str(text);
        let whole = begun.rfind('\n').map_or(0, |at| at + 1);
        let rest = begun.split_off(whole);
        let lines = std::mem::replace(&mut *begun, rest);
        drop(begun);
        log(&lines);
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
        let rest = std::mem::take(&mut *self.begun());
        log(&rest);
    }
}

fn log(lines: &str) {
    for line in lines.lines().filter(|line| !line.is_empty()) {
        tracing::error!(target: "wsgi.errors", "{line}");
    }
}
