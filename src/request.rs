//! A request in the words that `net` and `python` share: the packet's vars, and where its body comes from.

use std::time::Duration;

use rusgi_proto::{Modifier1, Packet, Vars};

use crate::room::Room;

/// One request: the packet's vars and what its framing takes from them.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Every var of the packet, as the peer sent it.
    pub vars: Vars<'a>,
    /// What decides how far the request reaches and what its response may hold.
    pub framing: Framing,
}

/// What decides how far a request reaches and what its response may hold; read from the vars once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// CONTENT_LENGTH in bytes; 0 where it is absent or empty.
    pub content_length: u64,
    /// Whether REQUEST_METHOD is HEAD: the response must have no body.
    pub is_head: bool,
    /// Whether the packet asks for SCRIPT_NAME to be stripped from PATH_INFO (modifier1 30).
    pub strips_script_name: bool,
}

impl Framing {
    /// Reads a packet's framing.
    ///
    /// # Errors
    /// A packet without any var, and a CONTENT_LENGTH that is not a plain decimal number.
    pub fn new(packet: &Packet<'_>) -> Result<Self, BadRequest> {
        if packet.vars.is_empty() {
            return Err(BadRequest::NoVars);
        }
        let strips_script_name = packet.header.modifier1 == Modifier1::MANAGE_PATH_INFO;
        let mut framing = Self { strips_script_name, ..Self::default() };
        for (key, value) in packet.vars.iter() {
            // Both names that framing needs are fourteen bytes long, and few others are.
            if key.len() != 14 {
                continue;
            }
            match key {
                b"REQUEST_METHOD" => framing.is_head = value == b"HEAD",
                b"CONTENT_LENGTH" if value.is_empty() => framing.content_length = 0,
                b"CONTENT_LENGTH" => framing.content_length = decimal(value).ok_or(BadRequest::ContentLength)?,
                _ => {}
            }
        }
        Ok(framing)
    }
}

impl<'a> Request<'a> {
    /// REQUEST_METHOD, or `GET` where the peer sent none (a bare nginx location does not).
    #[must_use]
    pub fn method(&self) -> &'a [u8] {
        self.vars.get(b"REQUEST_METHOD").filter(|method| !method.is_empty()).unwrap_or(b"GET")
    }

    /// HTTP_X_REQUEST_ID, where the peer sent one that is fit for a log line: at most 200 visible ASCII characters.
    #[must_use]
    pub fn given_id(&self) -> Option<&'a str> {
        let id = self.vars.get(b"HTTP_X_REQUEST_ID")?;
        let is_fit = (1..=200).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(id).ok().filter(|_| is_fit)
    }

    /// What to name the request by in a log line: REQUEST_URI without its query, else PATH_INFO.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        let uri = self.vars.get(b"REQUEST_URI").or_else(|| self.vars.get(b"PATH_INFO"));
        uri.and_then(|uri| uri.split(|byte| *byte == b'?').next()).unwrap_or_default()
    }
}

/// What a log line names a request by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// REQUEST_METHOD, its unprintable bytes escaped.
    pub method: String,
    /// The path without its query, its unprintable bytes escaped.
    pub path: String,
    /// What the peer calls it, else a number of our own.
    pub request_id: String,
}

impl Name {
    /// The name of the request at hand.
    pub fn of(inbound: &(impl Inbound + ?Sized)) -> Self {
        let mut name = Self { request_id: inbound.request_id(), ..Self::default() };
        inbound.with_request(&mut |request| {
            name.method = request.method().escape_ascii().to_string();
            name.path = request.path().escape_ascii().to_string();
        });
        name
    }
}

/// Why a well-formed packet is still not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The packet has a header and nothing else.
    #[error("packet without vars: include uwsgi_params in the nginx location")]
    NoVars,
    /// CONTENT_LENGTH is not a decimal number that fits 63 bits.
    #[error("CONTENT_LENGTH is not a decimal number")]
    ContentLength,
}

/// Where a request comes from: its packet and, after it, its body. Held by `python` behind a shared pointer.
pub trait Inbound: Send + Sync {
    /// Shows the request to `see`; does nothing once the exchange is over.
    fn with_request(&self, see: &mut dyn FnMut(&Request<'_>));

    /// Bytes of the body that have not been read yet.
    fn body_left(&self) -> u64;

    /// Fills `room` with body bytes that are there. True when it is full or the body has ended; false when there are no more for
    /// now, which [`await_body`](Self::await_body) changes.
    ///
    /// # Errors
    /// See [`BodyError`]; what had been read before the error is lost, for the request is.
    fn read_body(&self, room: &mut Room<'_>) -> Result<bool, BodyError>;

    /// Waits for more of the body, as long as the body timeout allows. Call it without the GIL.
    ///
    /// # Errors
    /// As for [`read_body`](Self::read_body).
    fn await_body(&self) -> Result<(), BodyError>;

    /// Prepares for the response to begin, after which a peer may send no more of the body: spools what still comes at once,
    /// as far as it may be buffered. Whatever is missing then can never be read. Call it without the GIL.
    fn seal_body(&self);

    /// Whether a part of the body has not even been seen, so that [`seal_body`](Self::seal_body) has something to do.
    fn is_body_coming(&self) -> bool;

    /// Names the request in the log: what the peer calls it (HTTP_X_REQUEST_ID), else a number of our own.
    fn request_id(&self) -> String;

    /// Whether the peer has closed its side: nobody will read the response.
    fn is_peer_gone(&self) -> bool;
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer closed the connection in the middle of the body.
    #[error("client closed the connection with {missing} bytes of the request body missing")]
    Closed {
        /// Bytes announced by CONTENT_LENGTH that never came.
        missing: u64,
    },
    /// The peer sent nothing for the body timeout.
    #[error("client sent nothing for {within:?} with {missing} bytes of the request body missing")]
    Stalled {
        /// Bytes announced by CONTENT_LENGTH that have not come.
        missing: u64,
        /// The body timeout.
        within: Duration,
    },
    /// The application read on after its response had begun, and nginx sends no more of a body then.
    #[error("{missing} bytes of the request body had not been read when the response began, and cannot be any more")]
    Sealed {
        /// Bytes of the body that are lost.
        missing: u64,
    },
    /// The application read after its response had been finished.
    #[error("wsgi.input was read after the request had ended")]
    Over,
    /// The socket failed in some other way.
    #[error("request body: {0}")]
    Socket(#[from] std::io::Error),
}

/// Strict decimal: digits only, at most 63 bits, so that sums with a packet's length cannot wrap.
fn decimal(digits: &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!digits.is_empty() && number <= u64::MAX / 2).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_content_length_is_plain_digits_or_nothing() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        for wrong in [
            &b""[..],
            b"+1",
            b"-1",
            b"1 ",
            b" 1",
            b"0x10",
            b"1_0",
            b"3xyz",
            b"9223372036854775808",
            b"99999999999999999999",
        ] {
            assert_eq!(decimal(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
