//! uwsgi packets, encoded here once more so that the tests do not lean on the crate they test.

/// A request as a peer sends it: header, vars and body.
#[derive(Clone)]
pub(crate) struct Packet {
    modifier1: u8,
    modifier2: u8,
    vars: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Packet {
    /// A packet without vars.
    pub(crate) fn bare() -> Self {
        Self { modifier1: 0, modifier2: 0, vars: Vec::new(), body: Vec::new() }
    }

    /// A request for `uri` with the vars that every web server sends.
    pub(crate) fn request(method: &str, uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        Self::bare()
            .var("QUERY_STRING", query)
            .var("REQUEST_METHOD", method)
            .var("REQUEST_URI", uri)
            .var("PATH_INFO", path)
            .var("SERVER_PROTOCOL", "HTTP/1.1")
            .var("REMOTE_ADDR", "127.0.0.1")
            .var("SERVER_PORT", "80")
            .var("SERVER_NAME", "localhost")
            .var("HTTP_HOST", "localhost")
    }

    pub(crate) fn get(uri: &str) -> Self {
        Self::request("GET", uri)
    }

    pub(crate) fn post(uri: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let packet = Self::request("POST", uri).var("CONTENT_LENGTH", body.len().to_string());
        Self { body, ..packet }
    }

    /// This packet with one var more.
    pub(crate) fn var(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.vars.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn modifier1(self, modifier1: u8) -> Self {
        Self { modifier1, ..self }
    }

    /// The vars block: what follows the four bytes of the header.
    pub(crate) fn block(&self) -> Vec<u8> {
        self.vars.iter().flat_map(|(key, value)| [field(key), field(value)].concat()).collect()
    }

    /// Header and vars.
    pub(crate) fn head(&self) -> Vec<u8> {
        packet_of(self.modifier1, self.modifier2, &self.block())
    }

    /// Everything, in the order of travel.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// A packet around any block, well-formed or not.
pub(crate) fn packet_of(modifier1: u8, modifier2: u8, block: &[u8]) -> Vec<u8> {
    let datasize = u16::try_from(block.len()).expect("a packet holds at most 65535 bytes");
    let [low, high] = datasize.to_le_bytes();
    [&[modifier1, low, high, modifier2], block].concat()
}

/// One key or value: its length in two little-endian bytes, then itself.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a field holds at most 65535 bytes");
    [&length.to_le_bytes(), bytes].concat()
}
