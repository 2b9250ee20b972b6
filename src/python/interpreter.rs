//! Starting CPython, and the paths it imports from.
#![expect(unsafe_code, reason = "the embedding API of CPython has no safe form")]

use std::{
    env,
    ffi::{CStr, CString},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use pyo3::{
    ffi,
    prelude::*,
    types::{IntoPyDict as _, PyList},
};

use crate::{
    config::{App, Target},
    python::{Door, Failure, module, surroundings},
};

/// Starts the interpreter where there is none yet, enters the application's directory and sets up `sys.path`.
///
/// # Errors
/// A directory or virtualenv that cannot be used, or an interpreter that does not start.
pub fn start(door: Door, app: &App) -> Result<(), Failure> {
    if let Some(directory) = &app.chdir {
        env::set_current_dir(directory)
            .map_err(|error| Failure::new(format!("--chdir {}: {error}", directory.display())))?;
    }
    let virtualenv = app.virtualenv.as_deref().map(checked_virtualenv).transpose()?;
    if door == Door::Embedded {
        let home = virtualenv.clone().or_else(|| env::var_os("VIRTUAL_ENV").map(PathBuf::from));
        initialize(home.map(|home| home.join("bin/python3")).as_deref())?;
    }
    Python::attach(|py| {
        set_up(py, door, app, virtualenv.as_deref())
            .map_err(|error| Failure::raised(py, "python: sys.path could not be set up", &error))
    })
}

/// The virtualenv at `path` without symbolic links, if this interpreter can use it. Starts no interpreter.
///
/// # Errors
/// It is not there, or was made for another version of Python.
pub fn checked_virtualenv(path: &Path) -> Result<PathBuf, Failure> {
    let path =
        fs::canonicalize(path).map_err(|error| Failure::new(format!("--virtualenv {}: {error}", path.display())))?;
    let ours = python_name();
    if site_packages(&path, &ours).is_dir() {
        return Ok(path);
    }
    let what = format!("--virtualenv {}: made for another Python than this rusgi's {ours}", path.display());
    let found = fs::read_dir(path.join("lib")).ok().into_iter().flatten().flatten();
    let found: Vec<_> = found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let hint = match found.as_slice() {
        [] => String::from("it has no lib/pythonX.Y: name the virtualenv's top directory"),
        found => format!(
            "it holds {}: install rusgi into that virtualenv (pip install rusgi) and run it from there",
            found.join(", ")
        ),
    };
    Err(Failure::new(what).hint(hint))
}

/// `python3.11`, as virtualenvs name their library directory.
fn python_name() -> String {
    // SAFETY: a static, NUL-terminated string that needs no interpreter.
    let version = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    let mut parts = version.split(['.', ' ', '+']);
    format!("python{}.{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn site_packages(virtualenv: &Path, python: &str) -> PathBuf {
    virtualenv.join("lib").join(python).join("site-packages")
}

/// Starts CPython as if `executable` had been run, so that it finds that environment's packages.
fn initialize(executable: Option<&Path>) -> Result<(), Failure> {
    let executable = executable
        .map(|path| CString::new(path.as_os_str().as_bytes()))
        .transpose()
        .map_err(|_| Failure::new("--virtualenv: path with a NUL byte"))?;
    // SAFETY: `config` is initialized before use and cleared after it; this runs once, before any other thread exists.
    let status = unsafe {
        let mut config = std::mem::zeroed::<ffi::PyConfig>();
        ffi::PyConfig_InitPythonConfig(&raw mut config);
        config.install_signal_handlers = 0;
        config.parse_argv = 0;
        let mut status = executable.as_ref().map_or_else(
            || ffi::PyStatus_Ok(),
            |path| ffi::PyConfig_SetBytesString(&raw mut config, &raw mut config.executable, path.as_ptr()),
        );
        if ffi::PyStatus_Exception(status) == 0 {
            status = ffi::Py_InitializeFromConfig(&raw const config);
        }
        ffi::PyConfig_Clear(&raw mut config);
        status
    };
    // SAFETY: the status owns nothing; its message is a static string or null.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            // Detached is the state that every later attach expects.
            ffi::PyEval_SaveThread();
            return Ok(());
        }
        let message = if status.err_msg.is_null() { c"unknown error" } else { CStr::from_ptr(status.err_msg) };
        Err(Failure::new(format!("python: {}", message.to_string_lossy()))
            .hint(String::from("unset PYTHONHOME, and check that --virtualenv was made for this Python")))
    }
}

fn set_up(py: Python<'_>, door: Door, app: &App, virtualenv: Option<&Path>) -> PyResult<()> {
    surroundings::adapt(py, app.user.as_ref())?;
    let sys = py.import("sys")?;
    let path = sys.getattr("path")?.cast_into::<PyList>()?;
    if door == Door::Extension {
        forget_script_directory(py, &path)?;
        if let Some(virtualenv) = virtualenv {
            add_virtualenv(py, &path, virtualenv)?;
        }
    }
    let mut first = app.pythonpath.clone();
    if let Target::File { path, .. } = &app.target {
        first.extend(path.parent().map(Path::to_path_buf));
    }
    first.push(env::current_dir()?);
    for (index, directory) in first.iter().enumerate() {
        // As str: the import system passes over pathlib's paths.
        path.insert(index, fs::canonicalize(directory).as_ref().unwrap_or(directory).as_os_str())?;
    }
    sys.setattr("argv", PyList::new(py, ["rusgi"])?)?;
    module::install(py)?;
    module::prepare(py)?;
    // A log line printed by the application must not wait for a full buffer.
    for stream in ["stdout", "stderr"] {
        let stream = sys.getattr(stream)?;
        if stream.hasattr("reconfigure")? {
            stream.call_method("reconfigure", (), Some(&[("line_buffering", true)].into_py_dict(py)?))?;
        }
    }
    Ok(())
}

/// Drops what `python` put in front because it runs the `rusgi` script: no application asked for that directory.
fn forget_script_directory(py: Python<'_>, path: &Bound<'_, PyList>) -> PyResult<()> {
    let flags = py.import("sys")?.getattr("flags")?;
    let is_safe = flags.getattr("safe_path").is_ok_and(|safe| safe.is_truthy().unwrap_or(false));
    if !is_safe && !flags.getattr("isolated")?.is_truthy()? && !path.is_empty() {
        path.del_item(0)?;
    }
    Ok(())
}

/// Puts the virtualenv's packages, and what its .pth files add, before those of the running interpreter.
fn add_virtualenv(py: Python<'_>, path: &Bound<'_, PyList>, virtualenv: &Path) -> PyResult<()> {
    let sys = py.import("sys")?;
    let prefix: PathBuf = sys.getattr("prefix")?.extract()?;
    if fs::canonicalize(prefix).is_ok_and(|prefix| prefix == virtualenv) {
        return Ok(());
    }
    let before = path.len();
    py.import("site")?.call_method1("addsitedir", (site_packages(virtualenv, &python_name()).as_os_str(),))?;
    let added = path.get_slice(before, path.len());
    path.del_slice(before, path.len())?;
    path.set_slice(0, 0, &added)?;
    sys.setattr("prefix", virtualenv.as_os_str())
}
