//! Packets whose vars have been seen before, in the same order: nearly all of them.

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use rusgi_proto::Vars;

use crate::python::{keys::Kind, rules::Seen, text::latin1};

/// One order of vars, and an environ that already has a place for each: copying it and replacing values costs half of
/// building up a dict that grows on the way.
#[derive(Debug)]
pub(super) struct Shape {
    template: Py<PyDict>,
    places: Vec<Place>,
}

/// One var of a shape.
#[derive(Debug)]
pub(super) struct Place {
    name: Box<[u8]>,
    text: Py<PyString>,
    kind: Kind,
    /// Whether the value enters the environ.
    is_kept: bool,
    memory: Memory,
}

/// What a template knows of a var's value: many are the same in every request (SERVER_NAME, HTTP_HOST, REQUEST_METHOD),
/// and a value that is in the copy already need not be made again.
#[derive(Debug)]
enum Memory {
    /// The template holds a placeholder: the value is secret, or changes all the time.
    Nothing,
    /// The template holds the value of these bytes, which `misses` requests in a row have not had.
    Last {
        /// The value as the peer sent it; `None` before the first.
        bytes: Option<Vec<u8>>,
        /// Requests in a row with another value.
        misses: u8,
    },
}

/// After so many other values in a row a var is not worth remembering.
const MISSES: u8 = 4;

impl Place {
    pub(super) fn new(name: &[u8], text: &Bound<'_, PyString>, kind: Kind, is_kept: bool) -> Self {
        let is_secret = kind == Kind::Cookie || name == b"HTTP_AUTHORIZATION";
        let memory = if is_secret { Memory::Nothing } else { Memory::Last { bytes: None, misses: 0 } };
        Self { name: name.into(), text: text.clone().unbind(), kind, is_kept, memory }
    }

    /// Brings the value into a copy of the template, unless it is there.
    fn put(&mut self, value: &[u8], template: &Bound<'_, PyDict>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = environ.py();
        match &mut self.memory {
            Memory::Last { bytes: Some(bytes), misses } if *bytes == value => {
                *misses = 0;
                return Ok(());
            }
            Memory::Nothing => return environ.set_item(self.text.bind(py), latin1(py, value)?),
            Memory::Last { bytes, misses } => {
                let made = latin1(py, value)?;
                *misses += 1;
                *bytes = Some(value.to_vec());
                template.set_item(self.text.bind(py), &made)?;
                environ.set_item(self.text.bind(py), made)?;
            }
        }
        if matches!(self.memory, Memory::Last { misses, .. } if misses > MISSES) {
            self.memory = Memory::Nothing;
            template.set_item(self.text.bind(py), py.None())?;
        }
        Ok(())
    }
}

impl Shape {
    /// Learns an order of vars.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn new(base: &Bound<'_, PyDict>, places: Vec<Place>) -> PyResult<Self> {
        let template = base.copy()?;
        for place in places.iter().filter(|place| place.is_kept) {
            template.set_item(&place.text, base.py().None())?;
        }
        Ok(Self { template: template.unbind(), places })
    }

    /// The dict that every environ of this shape is copied from.
    pub(super) fn template<'py>(&self, py: Python<'py>) -> &Bound<'py, PyDict> {
        self.template.bind(py)
    }

    /// Whether these vars are of this shape.
    pub(super) fn fits(&self, vars: &Vars<'_>) -> bool {
        let mut vars = vars.iter();
        let is_next = |place: &Place| {
            vars.next().is_some_and(|(name, value)| *place.name == *name && place.kind.keeps(value) == place.is_kept)
        };
        self.places.iter().all(is_next) && vars.next().is_none()
    }

    /// An environ with the values of `vars`, which must fit.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn fill<'py, 'v>(
        &mut self,
        py: Python<'py>,
        vars: &Vars<'v>,
        seen: &mut Seen<'v>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let template = self.template.bind(py);
        let environ = template.copy()?;
        for (place, (_, value)) in self.places.iter_mut().zip(vars.iter()) {
            if place.is_kept {
                place.put(value, template, &environ)?;
            }
            if let Kind::Rule(rule) = place.kind {
                seen.note(rule, value);
            }
        }
        Ok(environ)
    }
}
