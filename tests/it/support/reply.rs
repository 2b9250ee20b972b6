//! What a peer got back, and how it ended.

use std::fmt;

/// How the other side closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An orderly end of stream.
    Clean,
    /// A reset: the peer cannot mistake what came before for the whole.
    Reset,
}

/// Everything received on one connection.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    body: usize,
    end: End,
}

impl Reply {
    /// Splits what arrived into head and body.
    pub(crate) fn new(bytes: Vec<u8>, end: End) -> Self {
        let found = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let body = found.map_or(bytes.len(), |at| at + 4);
        Self { bytes, body, end }
    }

    /// Asserts that this is a whole response with `code`, ended cleanly and as long as it says.
    pub(crate) fn expect(self, code: u16) -> Self {
        assert_eq!(self.code(), code, "{self:?}");
        assert_eq!(self.end, End::Clean, "{self:?}");
        if let Some(length) = self.header("Content-Length") {
            assert_eq!(length, self.body().len().to_string(), "{self:?}");
        }
        self
    }

    /// Asserts that the connection was reset, so that nobody takes the response for whole.
    pub(crate) fn expect_reset(self) -> Self {
        assert_eq!(self.end, End::Reset, "{self:?}");
        self
    }

    /// Asserts that the body is exactly `wanted`.
    pub(crate) fn expect_body(self, wanted: impl AsRef<[u8]>) -> Self {
        assert!(self.body() == wanted.as_ref(), "{self:?}\nwanted {} bytes", wanted.as_ref().len());
        self
    }

    pub(crate) fn code(&self) -> u16 {
        let line = self.status_line();
        let code = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        code.unwrap_or_else(|| panic!("no status line in {self:?}"))
    }

    pub(crate) fn status_line(&self) -> String {
        self.lines().next().unwrap_or_default()
    }

    /// The value of the only header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers(name).into_iter();
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice in {self:?}");
        first
    }

    /// The values of all headers of that name, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        self.lines()
            .skip(1)
            .filter_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| String::from(value.trim()))
            })
            .collect()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(self.body..).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body()).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body()).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Whether `bytes` arrived somewhere, head or body.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        super::peer::contains(&self.bytes, bytes)
    }

    /// Not a byte came before the end.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let head = String::from_utf8_lossy(self.bytes.get(..self.body).unwrap_or_default());
        head.split("\r\n").map(String::from).collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Debug for Reply {
    /// The head whole, the body as far as a reader of a failed test needs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = String::from_utf8_lossy(self.bytes.get(..self.body).unwrap_or_default());
        let body = String::from_utf8_lossy(self.body());
        let shown: String = body.chars().take(300).collect();
        write!(f, "reply ended {:?}: {head:?} + {} bytes {shown:?}", self.end, self.body().len())
    }
}
