//! The module `rusgi` as applications import it.

use std::{sync::OnceLock, thread::Thread, time::Duration};

use pyo3::{
    create_exception,
    exceptions::{PyBaseException, PyImportError, PyRuntimeError, PyValueError},
    prelude::*,
    types::PyModule,
    wrap_pyfunction,
};

use crate::python::{
    desk::Disconnected,
    error_stream::ErrorStream,
    file_wrapper::FileWrapper,
    input::Input,
    interrupt,
    start_response::{StartResponse, Write},
};

create_exception!(
    rusgi,
    RequestTimeout,
    PyBaseException,
    "Raised in a request that has had its time. It is no Exception, so that `except Exception` lets it pass."
);

/// Who is to know when a request's time changes.
static WATCHDOG: OnceLock<Thread> = OnceLock::new();

/// From now on `watchdog` is unparked when an application changes a request's time. Only the first call in a process counts.
pub fn unpark_on_change(watchdog: Thread) {
    // The process has one watchdog.
    let _first = WATCHDOG.set(watchdog);
}

/// Completes the module, or makes it where none is installed, before an application imports it.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    let module = match py.import("rusgi") {
        Ok(module) => module,
        Err(error) if error.is_instance_of::<PyImportError>(py) => make(py)?,
        Err(error) => return Err(error),
    };
    module.setattr("RequestTimeout", py.get_type::<RequestTimeout>())?;
    module.setattr("request_timeout", wrap_pyfunction!(request_timeout, py)?)
}

/// Imports and makes what each worker would otherwise import and make for itself, each in memory of its own.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    py.import("faulthandler")?;
    py.get_type::<ErrorStream>();
    py.get_type::<FileWrapper>();
    py.get_type::<Input>();
    py.get_type::<Disconnected>();
    py.get_type::<StartResponse>();
    py.get_type::<Write>();
    Ok(())
}

fn make(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let module = PyModule::new(py, "rusgi")?;
    module.setattr("__version__", env!("CARGO_PKG_VERSION"))?;
    py.import("sys")?.getattr("modules")?.set_item("rusgi", &module)?;
    Ok(module)
}

/// Gives the request that this thread serves so many seconds, from now on; 0 or None is as many as it likes.
#[pyfunction]
#[pyo3(signature = (seconds, /))]
fn request_timeout(seconds: Option<f64>) -> PyResult<()> {
    let time = match seconds.filter(|seconds| *seconds != 0.0).map(Duration::try_from_secs_f64) {
        None => None,
        Some(Ok(time)) => Some(time),
        Some(Err(error)) => return Err(PyValueError::new_err(format!("seconds: {error}"))),
    };
    if !interrupt::row().is_some_and(|row| row.allow(time)) {
        return Err(PyRuntimeError::new_err(
            "this thread serves no request: call it in the thread that the application was called in",
        ));
    }
    if let Some(watchdog) = WATCHDOG.get() {
        watchdog.unpark();
    }
    Ok(())
}
