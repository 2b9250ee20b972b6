//! `MODULE:CALLABLE` or a file, to an application that can be called.

use std::path::Path;

use pyo3::{exceptions::PyModuleNotFoundError, prelude::*, types::PyDict};

use crate::{
    config::{App, Callable, Target},
    python::Failure,
};

/// A WSGI application, loaded.
#[derive(Debug)]
pub struct Application(Py<PyAny>);

impl Application {
    /// Another reference to the same application, for another desk.
    #[must_use]
    pub fn share(&self) -> Self {
        Python::attach(|py| Self(self.0.clone_ref(py)))
    }

    pub(super) fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.0.bind(py)
    }
}

/// Imports the application's module or runs its file, and finds the callable in it. Call it on the main thread.
///
/// # Errors
/// A report with traceback and hint.
pub fn load(app: &App) -> Result<Application, Failure> {
    Python::attach(|py| match &app.target {
        Target::Module { module, callable } => {
            let what = format!("application {module}:{callable} could not be loaded");
            let loaded = py
                .import(module.as_str())
                .map_err(|error| Failure::raised(py, &what, &error).hint(import_hint(py, module, &error)))?;
            find(&loaded, callable, &what)
        }
        Target::File { path, callable } => {
            let what = format!("application {}:{callable} could not be loaded", path.display());
            let loaded = run_file(py, path)
                .map_err(|error| Failure::raised(py, &what, &error).hint(import_hint(py, "", &error)))?;
            find(&loaded, callable, &what)
        }
    })
}

/// Runs a file as a module of its own name, which no import of the application can meet by accident.
fn run_file<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyAny>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("rusgi_file_{}", stem.replace(|c: char| !c.is_alphanumeric(), "_"));
    let loader = py.import("importlib.machinery")?.call_method1("SourceFileLoader", (&name, path.as_os_str()))?;
    let util = py.import("importlib.util")?;
    let spec = util.call_method1("spec_from_loader", (&name, &loader))?;
    let module = util.call_method1("module_from_spec", (&spec,))?;
    py.import("sys")?.getattr("modules")?.set_item(&name, &module)?;
    loader.call_method1("exec_module", (&module,))?;
    Ok(module)
}

fn find(module: &Bound<'_, PyAny>, callable: &Callable, what: &str) -> Result<Application, Failure> {
    let py = module.py();
    let mut found = module.clone();
    for part in callable.name.split('.') {
        found = found.getattr(part).map_err(|error| Failure::raised(py, what, &error).hint(attribute_hint(module)))?;
    }
    if callable.factory {
        found = found.call0().map_err(|error| Failure::raised(py, what, &error))?;
    }
    if found.is_callable() {
        return Ok(Application(found.unbind()));
    }
    let kind = found.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    Err(Failure::new(format!("{what}: it is a {kind}, and cannot be called"))
        .hint(String::from("name the WSGI callable, or add () if it is made by a function: module:create_app()")))
}

/// Names that the operator may have meant.
fn attribute_hint(module: &Bound<'_, PyAny>) -> Option<String> {
    let names = module.getattr("__dict__").ok()?.cast_into::<PyDict>().ok()?;
    let usual =
        ["application", "app", "wsgi", "wsgi_app", "api", "server", "create_app", "make_app", "get_wsgi_application"];
    let found: Vec<_> = usual.iter().filter(|name| names.contains(**name).unwrap_or(false)).copied().collect();
    let suggestion = match found.as_slice() {
        [] => {
            return Some(String::from("name the callable after a colon: module:callable"));
        }
        names => names.join(" or "),
    };
    Some(format!("the module has {suggestion}: write it after the colon, with () if it is a factory"))
}

/// Why an import may have failed: wrong directory, or wrong environment.
fn import_hint(py: Python<'_>, module: &str, error: &PyErr) -> Option<String> {
    if !error.is_instance_of::<PyModuleNotFoundError>(py) {
        return None;
    }
    let missing: String = error.value(py).getattr("name").ok()?.extract().ok()?;
    let top = module.split('.').next().unwrap_or_default();
    if missing.split('.').next() != Some(top) {
        let prefix: String = py.import("sys").and_then(|sys| sys.getattr("prefix")?.extract()).unwrap_or_default();
        return Some(format!(
            "{missing} is not installed for the Python in {prefix}: install it there, or name the right environment with --virtualenv"
        ));
    }
    let here = std::env::current_dir().unwrap_or_default();
    Some(find_near(&here, top).map_or_else(
        || {
            format!(
                "there is no {top}.py and no package {top} in {}: give its directory with --chdir or --pythonpath",
                here.display()
            )
        },
        |place| format!("{top} lies in {}: add --chdir {}", place.display(), place.display()),
    ))
}

/// A directory near `here` that holds the module: below it, or one of those above.
fn find_near(here: &Path, module: &str) -> Option<std::path::PathBuf> {
    let holds = |directory: &Path| {
        directory.join(format!("{module}.py")).is_file() || directory.join(module).join("__init__.py").is_file()
    };
    let below = std::fs::read_dir(here).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let above = here.ancestors().skip(1).map(Path::to_path_buf);
    below.chain(above).find(|directory| holds(directory))
}
