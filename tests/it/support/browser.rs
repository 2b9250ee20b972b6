//! A browser in front of nginx: it keeps cookies, fills in forms and follows nothing unasked.

use ureq::{Agent, Body, http::Response};

use super::DEADLINE;

/// One visitor with cookies of their own.
pub(crate) struct Browser {
    agent: Agent,
    site: String,
}

/// What the visitor was shown.
#[derive(Debug)]
pub(crate) struct Page {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Browser {
    /// A new visitor of `address`.
    pub(crate) fn at(address: &str) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(DEADLINE)).build();
        Self { agent: config.into(), site: format!("http://{address}") }
    }

    pub(crate) fn get(&self, path: &str) -> Page {
        Page::of(path, self.agent.get(self.url(path)).call())
    }

    /// Gets `path` with one request header more.
    pub(crate) fn get_with(&self, path: &str, name: &str, value: &str) -> Page {
        Page::of(path, self.agent.get(self.url(path)).header(name, value).call())
    }

    pub(crate) fn head(&self, path: &str) -> Page {
        Page::of(path, self.agent.head(self.url(path)).call())
    }

    /// Submits a plain form.
    pub(crate) fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        Page::of(path, self.agent.post(self.url(path)).send_form(fields.iter().copied()))
    }

    /// Submits a form with a file in it.
    pub(crate) fn post_file(&self, path: &str, fields: &[(&str, &str)], file: &File<'_>) -> Page {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let body = multipart(fields, file);
        Page::of(path, self.agent.post(self.url(path)).content_type(kind).send(&body[..]))
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: &[u8]) -> Page {
        Page::of(path, self.agent.post(self.url(path)).content_type(kind).send(body))
    }

    pub(crate) fn put(&self, path: &str, kind: &str, body: &[u8]) -> Page {
        Page::of(path, self.agent.put(self.url(path)).content_type(kind).send(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.site)
    }
}

/// A file in a form: the field, the file's name and its bytes.
pub(crate) struct File<'a> {
    pub(crate) field: &'a str,
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
}

const BOUNDARY: &str = "----a-boundary-that-no-file-holds";

fn multipart(fields: &[(&str, &str)], file: &File<'_>) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    let File { field, name, bytes } = file;
    body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n");
    body += "Content-Type: application/octet-stream\r\n\r\n";
    [body.as_bytes(), bytes, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

impl Page {
    fn of(path: &str, result: Result<Response<Body>, ureq::Error>) -> Self {
        let response = result.unwrap_or_else(|error| panic!("{path}: {error}"));
        let (parts, mut body) = response.into_parts();
        let body = body.with_config().limit(64 << 20).read_to_vec().unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Asserts the status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }

    /// Asserts that the text holds `words`.
    pub(crate) fn expect_text(self, words: &str) -> Self {
        assert!(self.text().contains(words), "no {words:?} in {}", self.text());
        self
    }

    /// Asserts that the visitor is sent to `place`.
    pub(crate) fn expect_redirect(self, status: u16, place: &str) -> Self {
        let page = self.expect(status);
        assert_eq!(page.header("Location").as_deref(), Some(place));
        page
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    pub(crate) fn headers(&self, name: &str) -> usize {
        self.headers.get_all(name).iter().count()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The value of the form field `name` that the page shows.
    pub(crate) fn field(&self, name: &str) -> String {
        let text = self.text();
        let found = text.split_once(&format!("name=\"{name}\" value=\"")).and_then(|(_, rest)| rest.split_once('"'));
        found.map_or_else(|| panic!("no field {name} in {text}"), |(value, _)| String::from(value))
    }
}
