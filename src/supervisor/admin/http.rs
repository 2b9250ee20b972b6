//! As much of HTTP/1.1 as operators' tools need: one request to a connection, and its response.

/// A request's first line; what follows it does not matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The method, as it was sent.
    pub(super) method: String,
    /// The path, without the query.
    pub(super) path: String,
    /// What follows the question mark.
    pub(super) query: String,
}

/// What has been made of the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// There has to be more.
    Incomplete,
    /// The head is complete.
    Request(Request),
    /// This is not HTTP, or too much of it.
    Bad,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
    allow: Option<&'static str>,
}

/// Parses the head of a request (RFC 9112, section 2).
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => return Parsed::Incomplete,
        _ => return Parsed::Bad,
    }
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = head.method.unwrap_or_default().to_owned();
    Parsed::Request(Request { method, path: path.to_owned(), query: query.to_owned() })
}

impl Request {
    /// The value of `name` in the query; empty when it stands there without one.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl Reply {
    /// Text for people; a line's end is added.
    pub(super) fn text(status: u16, mut body: String) -> Self {
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Self { status, kind: "text/plain; charset=utf-8", body, allow: None }
    }

    /// An object for programs.
    pub(super) fn json(status: u16, body: String) -> Self {
        Self { status, kind: "application/json", body: body + "\n", allow: None }
    }

    /// The same reply, telling which methods there are (RFC 9110, section 15.5.6).
    pub(super) fn allowing(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    /// The response as it is sent, to a HEAD without its body.
    pub(super) fn encode(&self, is_head: bool) -> Vec<u8> {
        let Self { status, kind, body, allow } = self;
        let (reason, length) = (reason(*status), body.len());
        let body = if is_head { "" } else { body };
        let allow = allow.map(|methods| format!("Allow: {methods}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Nobody has more to say to us.
const LONGEST_HEAD: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Request(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_its_method_its_path_and_its_query() {
        let request = request("POST /scale?workers=4&now HTTP/1.1\r\nHost: rusgi\r\n\r\n");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/scale"));
        assert_eq!((request.parameter("workers"), request.parameter("now")), (Some("4"), Some("")));
        assert_eq!(request.parameter("work"), None);
    }

    #[test]
    fn a_head_that_is_not_complete_is_waited_for_up_to_a_point() {
        assert_eq!(parse(b""), Parsed::Incomplete);
        assert_eq!(parse(b"GET /status HTTP/1.1\r\nHost"), Parsed::Incomplete);
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LONGEST_HEAD));
        assert_eq!(parse(endless.as_bytes()), Parsed::Bad);
    }

    #[test]
    fn what_is_not_http_is_bad() {
        for bytes in [&b"\0\x64\0\0"[..], b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"] {
            assert_eq!(parse(bytes), Parsed::Bad, "{bytes:?}");
        }
    }

    #[test]
    fn a_response_tells_its_length_and_a_head_gets_no_body() {
        let reply = Reply::text(200, "alive".to_owned());
        let text = String::from_utf8(reply.encode(false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nalive\n"), "{text}");
        let head = String::from_utf8(reply.encode(true)).unwrap();
        assert!(head.contains("Content-Length: 6\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }
}
