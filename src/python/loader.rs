//! `MODULE:CALLABLE` or a file, to an application that can be called.

use std::path::Path;

use pyo3::prelude::*;

use crate::{
    config::{App, Callable, Target},
    python::{
        Failure,
        hint::{attribute_hint, import_hint},
    },
};

/// The WSGI applications of a process, loaded: the main one and those mounted below a path.
#[derive(Debug)]
pub struct Application {
    main: Py<PyAny>,
    /// Longest prefix first.
    mounted: Vec<(Box<[u8]>, Py<PyAny>)>,
}

impl Application {
    /// Another reference to the same applications, for another desk.
    #[must_use]
    pub fn share(&self) -> Self {
        Python::attach(|py| Self {
            main: self.main.clone_ref(py),
            mounted: self.mounted.iter().map(|(prefix, mounted)| (prefix.clone(), mounted.clone_ref(py))).collect(),
        })
    }

    /// The mounted application at `place`, or the main one.
    pub(super) fn at<'py>(&self, py: Python<'py>, place: Option<usize>) -> &Bound<'py, PyAny> {
        place.and_then(|place| self.mounted.get(place)).map_or(&self.main, |(_, mounted)| mounted).bind(py)
    }

    /// Where applications are mounted, in the order that [`at`](Self::at) counts them.
    pub(super) fn prefixes(&self) -> Vec<Box<[u8]>> {
        self.mounted.iter().map(|(prefix, _)| prefix.clone()).collect()
    }
}

/// Imports the modules or runs the files of the applications, and finds the callables in them. Call it on the main thread.
///
/// # Errors
/// A report with traceback and hint.
pub fn load(app: &App) -> Result<Application, Failure> {
    Python::attach(|py| {
        let main = load_one(py, &app.target)?;
        let mounted = app.mounts.iter().map(|mount| Ok((mount.prefix.as_bytes().into(), load_one(py, &mount.target)?)));
        let mut mounted = mounted.collect::<Result<Vec<(Box<[u8]>, _)>, Failure>>()?;
        mounted.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Application { main, mounted })
    })
}

fn load_one(py: Python<'_>, target: &Target) -> Result<Py<PyAny>, Failure> {
    let what = format!("application {target} could not be loaded");
    let (loaded, module) = match target {
        Target::Module { module, .. } => (py.import(module.as_str()).map(Bound::into_any), module.as_str()),
        Target::File { path, .. } => (run_file(py, path), ""),
    };
    let loaded = loaded.map_err(|error| Failure::raised(py, &what, &error).hint(import_hint(py, module, &error)))?;
    find(&loaded, target.callable(), &what)
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

fn find(module: &Bound<'_, PyAny>, callable: &Callable, what: &str) -> Result<Py<PyAny>, Failure> {
    let py = module.py();
    let mut found = module.clone();
    for part in callable.name.split('.') {
        found = found.getattr(part).map_err(|error| Failure::raised(py, what, &error).hint(attribute_hint(module)))?;
    }
    if callable.factory {
        found = found.call0().map_err(|error| Failure::raised(py, what, &error))?;
    }
    if found.is_callable() {
        return Ok(found.unbind());
    }
    let kind = found.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    Err(Failure::new(format!("{what}: it is a {kind}, and cannot be called"))
        .hint(String::from("name the WSGI callable, or add () if it is made by a function: module:create_app()")))
}
