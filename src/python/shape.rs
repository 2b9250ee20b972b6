//! Packets whose vars have been seen before, in the same order: nearly all of them.

use std::{mem, ops::Range};

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use rusgi_proto::{Pattern, Vars};
use smallvec::SmallVec;

use crate::python::{
    keys::{Kind, Rule},
    rules::Seen,
    text::latin1,
};

/// How many requests in a row may bring another value after fewer than [`STEADY`] with the last one.
const STRIKES: u8 = 4;

/// A value that lasts for fewer requests is not worth remembering: to learn it every var is looked at, to make it anew only one.
const STEADY: u32 = 50;

/// After so many requests every value has another chance to be remembered.
const AGAIN: u32 = 10_000;

/// One order of vars, and an environ that already has a place for each: copying it and replacing values costs half of
/// building up a dict that grows on the way.
///
/// Most values are the same in request after request (SERVER_NAME, HTTP_HOST, REQUEST_METHOD). The template holds those
/// of the last one, and a packet that differs from it in nothing but the holes of `pattern` needs only these filled.
#[derive(Debug)]
pub(super) struct Shape {
    template: Py<PyDict>,
    places: Vec<Place>,
    pattern: Pattern,
    /// Which places are the pattern's holes.
    holes: Vec<usize>,
    /// Where in the pattern lie the values that the rules ask for.
    rules: Vec<(Rule, Range<usize>)>,
    /// Requests since all values had a chance to be remembered.
    age: u32,
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

/// What is known of a var's value.
#[derive(Debug)]
enum Memory {
    /// Nothing ever: it is secret.
    Secret,
    /// A hole: the value changes all the time. The template holds a placeholder.
    Hole,
    /// The template holds the value of the last request.
    Last {
        /// Where it lies in the pattern; `None` before the first.
        at: Option<Range<usize>>,
        /// The age at which it came.
        since: u32,
        /// Values in a row that did not last.
        strikes: u8,
    },
}

impl Memory {
    const FRESH: Self = Self::Last { at: None, since: 0, strikes: 0 };

    /// Takes note of a new value at this age.
    fn renew(&mut self, age: u32) {
        if let Self::Last { since, strikes, .. } = self {
            let strikes = if age.saturating_sub(*since) < STEADY { *strikes + 1 } else { 0 };
            *self = if strikes > STRIKES { Self::Hole } else { Self::Last { at: None, since: age, strikes } };
        }
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::Last { .. })
    }

    /// Whether the template holds this value already.
    fn has(&self, pattern: &Pattern, value: &[u8]) -> bool {
        matches!(self, Self::Last { at: Some(at), .. } if pattern.fixed(at.clone()) == Some(value))
    }
}

impl Place {
    pub(super) fn new(name: &[u8], text: &Bound<'_, PyString>, kind: Kind, is_kept: bool) -> Self {
        let is_secret = kind == Kind::Cookie || name == b"HTTP_AUTHORIZATION";
        let memory = if is_secret { Memory::Secret } else { Memory::FRESH };
        Self { name: name.into(), text: text.clone().unbind(), kind, is_kept, memory }
    }

    /// Whether a var of this name stands here with a value that has, or has not, a place in the environ.
    fn takes(&self, value: &[u8]) -> bool {
        self.kind.keeps(value) == self.is_kept
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
        let template = template.unbind();
        Ok(Self { template, places, pattern: Pattern::new(), holes: vec![], rules: vec![], age: 0 })
    }

    /// The dict that every environ of this shape is copied from.
    pub(super) fn template<'py>(&self, py: Python<'py>) -> &Bound<'py, PyDict> {
        self.template.bind(py)
    }

    /// Whether these vars are of this shape.
    pub(super) fn fits(&self, vars: &Vars<'_>) -> bool {
        let mut vars = vars.iter();
        let is_next =
            |place: &Place| vars.next().is_some_and(|(name, value)| *place.name == *name && place.takes(value));
        self.places.iter().all(is_next) && vars.next().is_none()
    }

    /// An environ with the values of `vars`, if they are the last ones but for the holes.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn refill<'py, 's>(
        &'s mut self,
        py: Python<'py>,
        vars: &Vars<'s>,
        seen: &mut Seen<'s>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut filled = SmallVec::<[(&Place, &[u8]); 16]>::new();
        let places = &self.places;
        let mut holes = self.holes.iter().filter_map(|hole| places.get(*hole));
        let fits = self.pattern.fits(vars, |value| {
            let place = holes.next().filter(|place| place.takes(value));
            filled.extend(place.map(|place| (place, value)));
            place.is_some()
        });
        if !fits || self.age >= AGAIN {
            return Ok(None);
        }
        self.age += 1;
        for (rule, at) in &self.rules {
            seen.note(*rule, self.pattern.fixed(at.clone()).unwrap_or_default());
        }
        let environ = self.template.bind(py).copy()?;
        for (place, value) in filled {
            if place.is_kept {
                environ.set_item(place.text.bind(py), latin1(py, value)?)?;
            }
            if let Kind::Rule(rule) = place.kind {
                seen.note(rule, value);
            }
        }
        Ok(Some(environ))
    }

    /// An environ with the values of `vars`, which must fit; those worth it are remembered.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn fill<'py, 'v>(
        &mut self,
        py: Python<'py>,
        vars: &Vars<'v>,
        seen: &mut Seen<'v>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let last = mem::take(&mut self.pattern);
        self.grow_older();
        let template = self.template.bind(py);
        let environ = template.copy()?;
        for (place, (_, value)) in self.places.iter_mut().zip(vars.iter()) {
            if let Kind::Rule(rule) = place.kind {
                seen.note(rule, value);
            }
            if place.memory.has(&last, value) {
                continue;
            }
            let was_remembered = place.memory.is_last();
            place.memory.renew(self.age);
            if place.is_kept {
                let made = latin1(py, value)?;
                if was_remembered {
                    template.set_item(&place.text, place.memory.is_last().then_some(&made))?;
                }
                environ.set_item(&place.text, made)?;
            }
        }
        // Not before the template holds it all.
        self.learn(last, vars);
        Ok(environ)
    }

    fn grow_older(&mut self) {
        self.age += 1;
        if self.age > AGAIN {
            self.age = 0;
            let places = self.places.iter_mut().filter(|place| !matches!(place.memory, Memory::Secret));
            places.for_each(|place| place.memory = Memory::FRESH);
        }
    }

    /// Makes `pattern` that of `vars`, whose values the template holds.
    fn learn(&mut self, mut pattern: Pattern, vars: &Vars<'_>) {
        let Self { places, holes, rules, .. } = self;
        holes.clear();
        rules.clear();
        pattern.learn(vars, |number, range| {
            let Some(Place { kind, memory: Memory::Last { at, .. }, .. }) = places.get_mut(number) else {
                holes.push(number);
                return false;
            };
            if let Kind::Rule(rule) = kind {
                rules.push((*rule, range.clone()));
            }
            *at = Some(range);
            true
        });
        self.pattern = pattern;
    }
}
