//! Keys of the environ: made once, found by their bytes.

use std::collections::HashMap;

use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyString};

use crate::python::text::latin1;

/// How many keys are kept from request to request; peers choose them, so there must be an end.
const KEPT: usize = 1024;

/// How many keys are interned.
const INTERNED: usize = 256;

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
    /// Whether a var of this kind enters the environ under its own name.
    pub(super) fn keeps(self, value: &[u8]) -> bool {
        match self {
            Self::Plain | Self::Header | Self::Cookie => true,
            Self::Refused | Self::Control => false,
            // An empty one of these is completed by a rule, and SCRIPT_NAME always is.
            Self::NotEmpty | Self::Rule(Rule::ServerName | Rule::ServerPort | Rule::ScriptName) => !value.is_empty(),
            Self::Rule(_) => true,
        }
    }

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
    /// Number of the request at hand; the first is 1.
    request: u64,
    /// How many keys have been made so far.
    made: usize,
}

impl Keys {
    /// Begins another request.
    pub(super) fn begin(&mut self) {
        self.request += 1;
        if self.known.len() > KEPT {
            self.known.clear();
            self.index.clear();
        }
    }

    /// The key named `name`, and whether the request at hand has named it before.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn find(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<(&Key, bool)> {
        let at = match self.index.get(name) {
            Some(at) => *at,
            None => {
                self.made += 1;
                self.known.push(Key::new(py, name, self.made <= INTERNED)?);
                let at = self.known.len() - 1;
                self.index.insert(name.into(), at);
                at
            }
        };
        let key = self.known.get_mut(at).ok_or_else(|| PyRuntimeError::new_err("the index of keys is wrong"))?;
        let again = key.last_seen == self.request;
        key.last_seen = self.request;
        Ok((key, again))
    }
}

impl Key {
    fn new(py: Python<'_>, name: &[u8], is_early: bool) -> PyResult<Self> {
        // An interned key is found by its address in the application's own look-ups; CPython may keep it for ever.
        let text = match std::str::from_utf8(name) {
            Ok(ascii) if is_early && name.is_ascii() => PyString::intern(py, ascii),
            _ => latin1(py, name)?,
        };
        Ok(Self { text: text.unbind(), kind: Kind::of(name), last_seen: 0 })
    }
}
