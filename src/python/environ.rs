//! The environ of PEP 3333: the template's constants, then what the peer sent, then the rules that need both.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::{
    intern,
    prelude::*,
    types::{PyDict, PyString},
};
use rusgi_proto::Vars;

use crate::{
    python::{
        desk::{Disconnected, Facts},
        error_stream::ErrorStream,
        file_wrapper::FileWrapper,
        input::Input,
        keys::{Keys, Kind},
        rules::Seen,
        shape::{Place, Shape},
        text::latin1,
    },
    request::Request,
};

/// How many shapes of packets are remembered.
const SHAPES: usize = 8;

/// Makes one environ per request: a fresh dict that the application may keep for ever.
#[derive(Debug)]
pub(super) struct Environs {
    template: Py<PyDict>,
    errors: Py<ErrorStream>,
    keys: Keys,
    /// Where applications besides the main one are mounted, longest first.
    prefixes: Vec<Box<[u8]>>,
    shapes: Vec<Shape>,
    /// Packets of no known shape so far.
    strangers: usize,
}

/// An environ, and which application it is for.
#[derive(Debug)]
pub(super) struct Made<'py> {
    /// The environ.
    pub(super) environ: Bound<'py, PyDict>,
    /// The mounted application's place; `None` for the main one.
    pub(super) mount: Option<usize>,
}

impl Environs {
    pub(super) fn new(py: Python<'_>, facts: Facts, prefixes: Vec<Box<[u8]>>) -> PyResult<Self> {
        let template = PyDict::new(py);
        // Defaults for what PEP 3333 demands and a bare nginx location does not send.
        for (key, value) in
            [("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", ""), ("QUERY_STRING", ""), ("SERVER_PROTOCOL", "HTTP/1.0")]
        {
            template.set_item(PyString::intern(py, key), PyString::intern(py, value))?;
        }
        template.set_item(intern!(py, "wsgi.version"), (1, 0))?;
        template.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "http"))?;
        let errors = Py::new(py, ErrorStream::new())?;
        template.set_item(intern!(py, "wsgi.errors"), &errors)?;
        template.set_item(intern!(py, "wsgi.multithread"), facts.multithread)?;
        template.set_item(intern!(py, "wsgi.multiprocess"), facts.multiprocess)?;
        template.set_item(intern!(py, "wsgi.run_once"), false)?;
        template.set_item(intern!(py, "wsgi.input_terminated"), true)?;
        template.set_item(intern!(py, "wsgi.file_wrapper"), py.get_type::<FileWrapper>())?;
        Ok(Self {
            template: template.unbind(),
            errors,
            keys: Keys::default(),
            prefixes,
            shapes: Vec::new(),
            strangers: 0,
        })
    }

    /// The error stream of every environ made here.
    pub(super) fn errors(&self) -> &ErrorStream {
        self.errors.get()
    }

    /// Puts a desk's objects into the templates, where they stay for as many requests as they are used for.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn equip(&self, py: Python<'_>, input: &Py<Input>, disconnected: &Py<Disconnected>) -> PyResult<()> {
        let shapes = self.shapes.iter().map(|shape| shape.template(py));
        for template in shapes.chain([self.template.bind(py)]) {
            template.set_item(intern!(py, "wsgi.input"), input)?;
            template.set_item(intern!(py, "rusgi.disconnected"), disconnected)?;
        }
        Ok(())
    }

    /// How many templates hold a desk's objects.
    pub(super) fn templates(&self) -> isize {
        self.shapes.len() as isize + 1
    }

    /// The environ of `request`.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn make<'py>(&mut self, py: Python<'py>, request: &Request<'_>) -> PyResult<Made<'py>> {
        for shape in &mut self.shapes {
            let mut seen = Seen::default();
            if let Some(environ) = shape.refill(py, &request.vars, &mut seen)? {
                let mount = seen.complete(&environ, request, &self.prefixes)?;
                return Ok(Made { environ, mount });
            }
        }
        let mut seen = Seen::default();
        let environ = match self.shapes.iter_mut().find(|shape| shape.fits(&request.vars)) {
            Some(shape) => shape.fill(py, &request.vars, &mut seen)?,
            None => self.build(py, &request.vars, &mut seen)?,
        };
        let mount = seen.complete(&environ, request, &self.prefixes)?;
        Ok(Made { environ, mount })
    }

    /// An environ of no known shape, var by var.
    fn build<'py, 'v>(
        &mut self,
        py: Python<'py>,
        vars: &Vars<'v>,
        seen: &mut Seen<'v>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.template.bind(py).copy()?;
        let mut places = Some(Vec::new());
        self.keys.begin();
        for (name, value) in vars.iter() {
            let (key, again) = self.keys.find(py, name)?;
            let (text, kind) = (key.text.bind(py), key.kind);
            match kind {
                Kind::Header if again => join(&environ, text, b", ", value)?,
                Kind::Cookie if again => join(&environ, text, b"; ", value)?,
                _ if kind.keeps(value) => environ.set_item(text, latin1(py, value)?)?,
                // Empty is what the last one says, so what an earlier one said goes.
                Kind::NotEmpty if again => restore(&environ, text, self.template.bind(py))?,
                Kind::Control => warn_of_control(name),
                _ => {}
            }
            if let Kind::Rule(rule) = kind {
                seen.note(rule, value);
            }
            // What is repeated or reported is no matter of shape.
            places = places.filter(|_| !again && kind != Kind::Control);
            if let Some(places) = &mut places {
                places.push(Place::new(name, text, kind, kind.keeps(value)));
            }
        }
        self.learn(py, places)?;
        Ok(environ)
    }

    /// Keeps the shape of a packet: of every one at first, then of some, so that no client can make this costly.
    fn learn(&mut self, py: Python<'_>, places: Option<Vec<Place>>) -> PyResult<()> {
        self.strangers += 1;
        let is_due = self.shapes.len() < SHAPES || self.strangers.is_multiple_of(4 * SHAPES);
        if let Some(places) = places.filter(|_| is_due) {
            if self.shapes.len() == SHAPES {
                self.shapes.remove(0);
            }
            self.shapes.push(Shape::new(self.template.bind(py), places)?);
        }
        Ok(())
    }
}

/// Says at the first, tenth, hundredth … time that somebody tries to command the server by a var.
fn warn_of_control(name: &[u8]) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    if 10_u64.checked_pow(count.ilog10()) == Some(count) {
        let name = name.escape_ascii();
        tracing::warn!(
            "{name} in a packet has no effect: rusgi takes no orders from the wire ({count} such vars so far)"
        );
    }
}

/// Gives a key the value it has in the template, or none.
fn restore(environ: &Bound<'_, PyDict>, key: &Bound<'_, PyString>, template: &Bound<'_, PyDict>) -> PyResult<()> {
    match template.get_item(key)? {
        Some(default) => environ.set_item(key, default),
        None if environ.contains(key)? => environ.del_item(key),
        None => Ok(()),
    }
}

/// Appends a repeated header's value to the one before it.
fn join(environ: &Bound<'_, PyDict>, key: &Bound<'_, PyString>, separator: &[u8], value: &[u8]) -> PyResult<()> {
    let more = latin1(environ.py(), &[separator, value].concat())?;
    let joined = match environ.get_item(key)? {
        Some(first) => first.add(more)?,
        None => latin1(environ.py(), value)?.into_any(),
    };
    environ.set_item(key, joined)
}
