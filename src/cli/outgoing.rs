//! A request as nginx sends it, for the tools that call a uwsgi server themselves.

use rusgi_proto::{EncodeError, Modifier1, PacketBuilder};
use thiserror::Error;

/// What is to be asked for, in the words of an HTTP client.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    /// The method, as it is to arrive.
    pub(super) method: String,
    /// Path and query, percent-encoded as in a URL.
    pub(super) target: String,
    /// Request headers; one that is repeated arrives joined.
    pub(super) headers: Vec<(String, String)>,
    /// Vars that replace those made from everything else, or come after them; `None` leaves one out.
    pub(super) vars: Vec<(String, Option<String>)>,
    /// How many bytes of body follow the packet; `None` announces no body.
    pub(super) body_len: Option<usize>,
}

/// Why a request cannot be sent.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum OutgoingError {
    /// nginx takes nothing else from a client.
    #[error("path `{0}`: does not begin with a slash: write /path or /path?query")]
    Relative(String),
    /// nginx answers 400 to such a path.
    #[error("path `{0}`: holds an escape that is none, or goes above the root: write % as %25")]
    Path(String),
    /// The vars are too many or too long, or one has no name.
    #[error("the request makes no packet ({0}): send fewer or shorter headers and vars")]
    Packet(#[from] EncodeError),
}

/// One var of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) value: Vec<u8>,
}

impl Outgoing {
    /// The vars of nginx's `uwsgi_params`, in its order, then the request headers.
    ///
    /// # Errors
    /// [`OutgoingError::Relative`] and [`OutgoingError::Path`].
    pub(super) fn vars(&self) -> Result<Vec<Var>, OutgoingError> {
        let mut vars = self.params()?;
        vars.extend(joined(&self.headers));
        for (name, value) in &self.vars {
            let place = vars.iter().position(|var| var.name == *name);
            match (place.and_then(|place| vars.get_mut(place)), value) {
                (Some(var), Some(value)) => var.value = value.as_bytes().to_vec(),
                (None, Some(value)) => vars.push(Var::new(name, value)),
                (_, None) => vars.retain(|var| var.name != *name),
            }
        }
        Ok(vars)
    }

    /// Header and vars: everything that comes before the body.
    ///
    /// # Errors
    /// [`OutgoingError`].
    pub(super) fn packet(&self) -> Result<Vec<u8>, OutgoingError> {
        let packet = PacketBuilder::new(Modifier1::WSGI);
        let whole = self.vars()?.iter().try_fold(packet, |packet, var| packet.var(var.name.as_bytes(), &var.value))?;
        Ok(whole.encode())
    }

    fn params(&self) -> Result<Vec<Var>, OutgoingError> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let path = decoded(path)?;
        let length = self.body_len.map(|length| length.to_string()).unwrap_or_default();
        let params: [(&str, &[u8]); 13] = [
            ("QUERY_STRING", query.as_bytes()),
            ("REQUEST_METHOD", self.method.as_bytes()),
            ("CONTENT_TYPE", self.header("content-type").unwrap_or_default().as_bytes()),
            ("CONTENT_LENGTH", length.as_bytes()),
            ("REQUEST_URI", self.target.as_bytes()),
            ("PATH_INFO", &path),
            ("DOCUMENT_ROOT", b"/usr/share/nginx/html"),
            ("SERVER_PROTOCOL", b"HTTP/1.1"),
            ("REQUEST_SCHEME", b"http"),
            ("REMOTE_ADDR", b"127.0.0.1"),
            ("REMOTE_PORT", b"0"),
            ("SERVER_PORT", b"80"),
            ("SERVER_NAME", b"localhost"),
        ];
        Ok(params.map(|(name, value)| Var::new(name, value)).into())
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Var {
    fn new(name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.into(), value: value.as_ref().to_vec() }
    }
}

/// Headers under their names in the environ; repeated ones become one, as nginx 1.23 has it.
fn joined(headers: &[(String, String)]) -> Vec<Var> {
    let mut vars: Vec<Var> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
        let between: &[u8] = if name == "HTTP_COOKIE" { b"; " } else { b", " };
        match vars.iter_mut().find(|var| var.name == name) {
            Some(var) => var.value.extend([between, value.as_bytes()].concat()),
            None => vars.push(Var::new(name, value)),
        }
    }
    vars
}

/// `path` with its escapes resolved once, its dots followed, and its slashes merged, as nginx's `$document_uri`.
fn decoded(path: &str) -> Result<Vec<u8>, OutgoingError> {
    if !path.starts_with('/') {
        return Err(OutgoingError::Relative(path.to_owned()));
    }
    let wrong = || OutgoingError::Path(path.to_owned());
    let plain = path.split('#').next().unwrap_or_default();
    normalised(&unescaped(plain.as_bytes()).ok_or_else(wrong)?).ok_or_else(wrong)
}

fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = path.iter();
    let mut plain = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => digit(*bytes.next()?)? * 16 + digit(*bytes.next()?)?,
            byte => *byte,
        });
    }
    (!plain.contains(&0)).then_some(plain)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| digit.try_into().ok())
}

fn normalised(path: &[u8]) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_folder = true;
    for segment in path.split(|byte| *byte == b'/') {
        is_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()?),
            segment => kept.push(segment),
        }
    }
    let end: &[u8] = if is_folder { b"/" } else { b"" };
    let joined = kept.into_iter().flat_map(|segment| [b"/", segment].concat()).collect::<Vec<_>>();
    Some([&joined, end].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(target: &str) -> Outgoing {
        Outgoing { method: "GET".to_owned(), target: target.to_owned(), ..Outgoing::default() }
    }

    fn var(outgoing: &Outgoing, name: &str) -> Option<String> {
        let vars = outgoing.vars().unwrap();
        let found: Vec<_> = vars.iter().filter(|var| var.name == name).collect();
        assert!(found.len() < 2, "{name} is there twice");
        found.first().map(|var| String::from_utf8_lossy(&var.value).into_owned())
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_target_travels_raw_and_as_nginx_understands_it() {
        let request = outgoing("/a%20b/./c//d/../e/?q=%20&x");
        assert_eq!(var(&request, "REQUEST_URI").unwrap(), "/a%20b/./c//d/../e/?q=%20&x");
        assert_eq!(var(&request, "PATH_INFO").unwrap(), "/a b/c/e/");
        assert_eq!(var(&request, "QUERY_STRING").unwrap(), "q=%20&x");
        assert_eq!(var(&outgoing("/"), "PATH_INFO").unwrap(), "/");
        assert_eq!(var(&outgoing("/a/.."), "PATH_INFO").unwrap(), "/");
        assert_eq!(var(&outgoing("/a+b%2Fc#d"), "PATH_INFO").unwrap(), "/a+b/c");
    }

    #[test]
    fn a_path_that_nginx_would_refuse_is_refused() {
        for wrong in ["/%zz", "/%2", "/%00", "/..", "/a/../../b"] {
            assert_eq!(outgoing(wrong).vars(), Err(OutgoingError::Path(wrong.to_owned())));
        }
        assert_eq!(outgoing("a").vars(), Err(OutgoingError::Relative("a".to_owned())));
    }

    #[test]
    fn headers_are_named_and_joined_as_by_nginx() {
        let headers = named(&[
            ("X-Part", "1"),
            ("Cookie", "a=1"),
            ("x-part", "2"),
            ("cookie", "b=2"),
            ("Content-Type", "text/plain"),
        ]);
        let request = Outgoing { headers, ..outgoing("/") };
        assert_eq!(var(&request, "HTTP_X_PART").unwrap(), "1, 2");
        assert_eq!(var(&request, "HTTP_COOKIE").unwrap(), "a=1; b=2");
        assert_eq!(var(&request, "CONTENT_TYPE").unwrap(), "text/plain");
    }

    #[test]
    fn a_var_replaces_adds_or_takes_away() {
        let change = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let vars = vec![
            change("REMOTE_ADDR", Some("::1")),
            change("SCRIPT_NAME", Some("/app")),
            change("PATH_INFO", None),
            change("HTTPS", None),
        ];
        let request = Outgoing { vars, ..outgoing("/x") };
        assert_eq!(var(&request, "REMOTE_ADDR").unwrap(), "::1");
        assert_eq!(var(&request, "SCRIPT_NAME").unwrap(), "/app");
        assert_eq!(var(&request, "PATH_INFO"), None);
    }

    #[test]
    fn what_is_too_long_for_a_packet_is_refused() {
        let headers = named(&[("X", &"x".repeat(70_000))]);
        let refused = Outgoing { headers, ..outgoing("/") }.packet();
        assert!(matches!(refused, Err(OutgoingError::Packet(EncodeError::TooLong { .. }))), "{refused:?}");
    }
}
