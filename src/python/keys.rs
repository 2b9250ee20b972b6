//! Keys of the environ: made once, found by their bytes.

use std::collections::HashMap;

use pyo3::{prelude::*, types::PyString};

use crate::python::text::latin1;

/// How many keys are kept; peers choose them, so there must be an end.
const KEPT: usize = 1024;

/// What a var's name means for the environ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Arrives as it is; the last one wins.
    Plain,
    /// A request header: repeated ones are joined with `, ` (RFC 9110 §5.3).
    Header,
    /// HTTP_COOKIE: repeated ones are joined with `; ` (RFC 6265 §5.4).
    Cookie,
    /// Left to the template's default, or out, when empty.
    NotEmpty,
    /// Never reaches the application.
    Refused,
    /// An order to a uWSGI server, from whoever can write to the socket: has no effect and is reported.
    Control,
    /// Takes part in one of the rules of the environ.
    Rule(Rule),
}

/// Vars that say more than their own value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    ScriptName,
    PathInfo,
    RequestUri,
    ServerName,
    ServerPort,
    Host,
    UwsgiScheme,
    Https,
    RequestScheme,
}

impl Kind {
    fn of(key: &[u8]) -> Self {
        match key {
            b"HTTP_COOKIE" => Self::Cookie,
            // The last one wins: nginx lets no client send two, and a configuration that names it again means to replace it.
            b"HTTP_HOST" => Self::Rule(Rule::Host),
            // Their places are CONTENT_LENGTH and CONTENT_TYPE; the body is never chunked; HTTP_PROXY is the httpoxy attack.
            b"HTTP_CONTENT_LENGTH" | b"HTTP_CONTENT_TYPE" | b"HTTP_TRANSFER_ENCODING" | b"HTTP_PROXY" => Self::Refused,
            b"CONTENT_TYPE" | b"CONTENT_LENGTH" | b"REQUEST_METHOD" | b"SERVER_PROTOCOL" => Self::NotEmpty,
            b"SCRIPT_NAME" => Self::Rule(Rule::ScriptName),
            b"PATH_INFO" => Self::Rule(Rule::PathInfo),
            b"REQUEST_URI" => Self::Rule(Rule::RequestUri),
            b"SERVER_NAME" => Self::Rule(Rule::ServerName),
            b"SERVER_PORT" => Self::Rule(Rule::ServerPort),
            b"HTTPS" => Self::Rule(Rule::Https),
            b"REQUEST_SCHEME" => Self::Rule(Rule::RequestScheme),
            b"UWSGI_SCHEME" => Self::Rule(Rule::UwsgiScheme),
            // What uWSGI obeys from the wire: code to load, files to read, variables to set.
            b"UWSGI_FILE"
            | b"UWSGI_SCRIPT"
            | b"UWSGI_MODULE"
            | b"UWSGI_CALLABLE"
            | b"UWSGI_HOME"
            | b"UWSGI_PYHOME"
            | b"UWSGI_CHDIR"
            | b"UWSGI_SETENV"
            | b"UWSGI_TOUCH_RELOAD"
            | b"UWSGI_POSTFILE"
            | b"UWSGI_CACHE_GET"
            | b"UWSGI_APPID" => Self::Control,
            _ if key.starts_with(b"wsgi.") || key.starts_with(b"rusgi.") => Self::Refused,
            _ if key.starts_with(b"HTTP_") => Self::Header,
            _ => Self::Plain,
        }
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    bytes: Box<[u8]>,
    /// The key as Python knows it.
    pub(super) text: Py<PyString>,
    /// What it means.
    pub(super) kind: Kind,
    /// The request that named it last.
    last_seen: u64,
}

/// The keys that requests have named so far.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: Vec<Key>,
    index: HashMap<Box<[u8]>, usize>,
    /// Which key stood at which place of the last packet: nginx sends the same vars in the same order.
    order: Vec<usize>,
    /// Keys beyond those kept, for the request at hand.
    strange: Vec<Key>,
}

impl Keys {
    /// The key of the var at `place` in request number `request`, and whether that request has named it before.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn find(&mut self, py: Python<'_>, place: usize, bytes: &[u8], request: u64) -> PyResult<(&Key, bool)> {
        let guess = self.order.get(place).copied().unwrap_or(usize::MAX);
        let at = match self.known.get(guess) {
            Some(key) if *key.bytes == *bytes => guess,
            _ => match self.look_up(py, place, bytes)? {
                Some(at) => at,
                None => return self.find_strange(py, bytes, request),
            },
        };
        Ok(self
            .known
            .get_mut(at)
            .map(|key| key.see(request))
            .unwrap_or_else(|| unreachable!("index {at} was just found")))
    }

    /// The place in `known`, made where there is room for another.
    fn look_up(&mut self, py: Python<'_>, place: usize, bytes: &[u8]) -> PyResult<Option<usize>> {
        let at = match self.index.get(bytes) {
            Some(at) => *at,
            None if self.known.len() < KEPT => {
                self.known.push(Key::new(py, bytes)?);
                let at = self.known.len() - 1;
                self.index.insert(bytes.into(), at);
                at
            }
            None => return Ok(None),
        };
        if place >= self.order.len() && place < KEPT {
            self.order.resize(place + 1, usize::MAX);
        }
        if let Some(slot) = self.order.get_mut(place) {
            *slot = at;
        }
        Ok(Some(at))
    }

    fn find_strange(&mut self, py: Python<'_>, bytes: &[u8], request: u64) -> PyResult<(&Key, bool)> {
        self.strange.retain(|key| key.last_seen == request);
        let at = match self.strange.iter().position(|key| *key.bytes == *bytes) {
            Some(at) => at,
            None => {
                self.strange.push(Key::new(py, bytes)?);
                self.strange.len() - 1
            }
        };
        Ok(self
            .strange
            .get_mut(at)
            .map(|key| key.see(request))
            .unwrap_or_else(|| unreachable!("index {at} was just found")))
    }
}

impl Key {
    fn new(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        Ok(Self { bytes: bytes.into(), text: latin1(py, bytes)?.unbind(), kind: Kind::of(bytes), last_seen: 0 })
    }

    fn see(&mut self, request: u64) -> (&Self, bool) {
        let again = self.last_seen == request;
        self.last_seen = request;
        (self, again)
    }
}
