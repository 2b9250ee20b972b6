//! The rules of the environ that need more than one var.

use pyo3::{intern, prelude::*, types::PyDict};

use crate::{
    python::{keys::Rule, text::latin1},
    request::Request,
};

/// What the rules need to know of a packet.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    script_name: Option<&'a [u8]>,
    path_info: Option<&'a [u8]>,
    request_uri: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    has_server_name: bool,
    has_server_port: bool,
    uwsgi_scheme: Option<&'a [u8]>,
    https: Option<&'a [u8]>,
    request_scheme: Option<&'a [u8]>,
}

impl<'a> Seen<'a> {
    /// Takes note of a var.
    pub(super) fn note(&mut self, rule: Rule, value: &'a [u8]) {
        let is_given = !value.is_empty();
        match rule {
            Rule::ScriptName => self.script_name = Some(value),
            Rule::PathInfo => self.path_info = Some(value),
            Rule::RequestUri => self.request_uri = Some(value),
            Rule::Host => self.host = Some(value),
            Rule::ServerName => self.has_server_name = is_given,
            Rule::ServerPort => self.has_server_port = is_given,
            Rule::UwsgiScheme => self.uwsgi_scheme = Some(value),
            Rule::Https => self.https = Some(value),
            Rule::RequestScheme => self.request_scheme = Some(value),
        }
    }

    /// Applies the rules that need more than one var; returns which mounted application is meant.
    pub(super) fn complete(
        &self,
        environ: &Bound<'_, PyDict>,
        request: &Request<'_>,
        prefixes: &[Box<[u8]>],
    ) -> PyResult<Option<usize>> {
        let py = environ.py();
        let is_https = self.is_https();
        if is_https {
            environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        }
        let mut mount = None;
        if self.script_name.is_some() || self.path_info.is_none_or(<[u8]>::is_empty) || !prefixes.is_empty() {
            mount = self.complete_path(environ, request, prefixes)?;
        }
        if !self.has_server_name || !self.has_server_port {
            self.complete_server(environ, is_https)?;
        }
        Ok(mount)
    }

    /// SERVER_NAME and SERVER_PORT from the Host header, where the peer sends none.
    fn complete_server(&self, environ: &Bound<'_, PyDict>, is_https: bool) -> PyResult<()> {
        let py = environ.py();
        let (name, port) = split_host(self.host.unwrap_or_default());
        if !self.has_server_name {
            let name =
                if name.is_empty() { rustix::system::uname().nodename().to_bytes().to_vec() } else { name.to_vec() };
            environ.set_item(intern!(py, "SERVER_NAME"), latin1(py, &name)?)?;
        }
        if !self.has_server_port {
            let usual: &[u8] = if is_https { b"443" } else { b"80" };
            environ.set_item(intern!(py, "SERVER_PORT"), latin1(py, port.unwrap_or(usual))?)?;
        }
        Ok(())
    }

    /// `wsgi.url_scheme`: UWSGI_SCHEME, else HTTPS, else REQUEST_SCHEME; never a header, for clients choose those.
    fn is_https(&self) -> bool {
        let given = |value: Option<&'a [u8]>| value.filter(|value| !value.is_empty());
        if let Some(scheme) = given(self.uwsgi_scheme) {
            return scheme.eq_ignore_ascii_case(b"https");
        }
        if let Some(https) = given(self.https) {
            return [&b"on"[..], b"1", b"true", b"yes"].iter().any(|yes| https.eq_ignore_ascii_case(yes));
        }
        given(self.request_scheme).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"))
    }

    /// SCRIPT_NAME never ends in a slash, and PATH_INFO is what follows it (PEP 3333, "environ Variables").
    fn complete_path(
        &self,
        environ: &Bound<'_, PyDict>,
        request: &Request<'_>,
        prefixes: &[Box<[u8]>],
    ) -> PyResult<Option<usize>> {
        let py = environ.py();
        let script_name = self.script_name.unwrap_or_default();
        let script_name = script_name.strip_suffix(b"/").unwrap_or(script_name);
        let from_uri;
        let path = match self.path_info {
            Some(path) if request.framing.strips_script_name => strip_segments(path, script_name),
            Some(path) if !path.is_empty() || !script_name.is_empty() => path,
            _ => {
                from_uri = path_of(self.request_uri.unwrap_or_default());
                strip_segments(&from_uri, script_name)
            }
        };
        let path = if path.is_empty() && script_name.is_empty() { b"/" } else { path };
        let mount = prefixes.iter().position(|prefix| has_segments(path, prefix));
        let prefix = mount.and_then(|mount| prefixes.get(mount)).map_or(&b""[..], |prefix| prefix);
        environ.set_item(intern!(py, "SCRIPT_NAME"), latin1(py, &[script_name, prefix].concat())?)?;
        environ.set_item(intern!(py, "PATH_INFO"), latin1(py, strip_segments(path, prefix))?)?;
        Ok(mount)
    }
}

/// Takes `prefix` off `path` where it ends at the end of a path segment.
fn strip_segments<'p>(path: &'p [u8], prefix: &[u8]) -> &'p [u8] {
    path.strip_prefix(prefix).filter(|_| has_segments(path, prefix)).unwrap_or(path)
}

/// Whether `path` begins with the segments of `prefix`.
fn has_segments(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The path of a REQUEST_URI, percent-decoded once, as nginx would have put it into PATH_INFO.
fn path_of(uri: &[u8]) -> Vec<u8> {
    let path = uri.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        rest = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.extend(u8::try_from(high * 16 + low));
                after.get(2..).unwrap_or_default()
            }
            _ => {
                decoded.push(*byte);
                after
            }
        };
    }
    decoded
}

/// Name and port of a Host header; an IPv6 address keeps its brackets.
fn split_host(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon)
            if host.get(colon + 1..).is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit)) =>
        {
            (host.get(..colon).unwrap_or_default(), host.get(colon + 1..))
        }
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{path_of, split_host, strip_segments};

    #[test]
    fn a_prefix_is_stripped_at_segment_ends_only() {
        assert_eq!(strip_segments(b"/app/x", b"/app"), b"/x");
        assert_eq!(strip_segments(b"/app", b"/app"), b"");
        assert_eq!(strip_segments(b"/application", b"/app"), b"/application");
        assert_eq!(strip_segments(b"/other", b"/app"), b"/other");
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(path_of(b"/a%2525b?c%20d"), b"/a%25b");
        assert_eq!(path_of(b"/%C3%A9%zz%4"), b"/\xc3\xa9%zz%4");
        assert_eq!(path_of(b"?q"), b"");
    }

    #[test]
    fn a_host_is_split_at_its_port() {
        assert_eq!(split_host(b"example.org:8080"), (&b"example.org"[..], Some(&b"8080"[..])));
        assert_eq!(split_host(b"example.org"), (&b"example.org"[..], None));
        assert_eq!(split_host(b"[::1]:80"), (&b"[::1]"[..], Some(&b"80"[..])));
        assert_eq!(split_host(b"[::1]"), (&b"[::1]"[..], None));
    }
}
