//! The way back: status line and headers, with nothing on the wire that nobody asked for.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use crate::HeadError;

/// A response head being written, refusing what would change its meaning on the wire.
///
/// ```text
///  Empty ──start──▶ Started ──finish──▶ Finished
///    ▲               │  ▲ header           │
///    └────clear──────┴──┴──────────────────┘
/// ```
///
/// Made to be reused: after [`ResponseHead::clear`] the next head is written without allocating.
/// An error leaves the head as it was before the call that failed.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    bytes: Vec<u8>,
    stage: Stage,
    code: u16,
    content_length: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Empty,
    Started,
    Finished,
}

impl ResponseHead {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(TYPICAL_LEN), stage: Stage::Empty, code: 0, content_length: None }
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.stage = Stage::Empty;
        self.code = 0;
        self.content_length = None;
    }

    /// Begins the head with `status`, as PEP 3333 gives it: three digits, a space and a reason,
    /// which may be missing.
    ///
    /// The line always says `HTTP/1.1`: what the client spoke is the affair of the server in front.
    ///
    /// # Errors
    /// [`HeadError::StatusCode`] for anything but 200 to 999 (a 1xx is no final response),
    /// [`HeadError::StatusReason`] for a control byte other than TAB, and [`HeadError::Started`]
    /// when there is a status already.
    pub fn start(&mut self, status: &[u8]) -> Result<(), HeadError> {
        if self.stage != Stage::Empty {
            return Err(HeadError::Started);
        }
        self.code = check_status(status)?;
        self.stage = Stage::Started;
        // RFC 9112 §4 wants the space even where no reason follows it.
        let space: &[u8] = if status.len() == 3 { b" " } else { b"" };
        self.push(&[b"HTTP/1.1 ", status, space, b"\r\n"]);
        Ok(())
    }

    /// Adds a header. `Content-Length` is kept back until the head is finished, and dropped where
    /// the status allows no body.
    ///
    /// # Errors
    /// A [`HeadError`] that says which header and where: a name that is no token, a control byte
    /// other than TAB in the value, a hop-by-hop header, `Status`, a `Content-Length` that is no
    /// number or contradicts an earlier one; or a head not started, or finished.
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        match self.stage {
            Stage::Empty => return Err(HeadError::NotStarted),
            Stage::Started => {}
            Stage::Finished => return Err(HeadError::Finished),
        }
        check_name(name)?;
        check_value(name, value)?;
        match Field::of(name) {
            Field::EndToEnd => self.push(&[name, b": ", value, b"\r\n"]),
            Field::ContentLength => self.keep_content_length(value)?,
            Field::HopByHop => return Err(HeadError::HopByHop { name: quoted(name) }),
            Field::Status => return Err(HeadError::StatusHeader),
        }
        Ok(())
    }

    /// Ends the head and yields its bytes; they end with the empty line.
    ///
    /// `content_length`, in bytes, is used when no header gave one and the status allows a body.
    /// A head never started stays empty; one already finished stays as it is.
    pub fn finish(&mut self, content_length: Option<u64>) -> &[u8] {
        if self.stage == Stage::Started {
            self.stage = Stage::Finished;
            self.content_length = self.content_length.or(content_length).filter(|_| self.allows_body());
            if let Some(length) = self.content_length {
                let mut digits = [0; MAX_DIGITS];
                self.push(&[b"Content-Length: ", decimal(length, &mut digits), b"\r\n"]);
            }
            self.push(&[b"\r\n"]);
        }
        &self.bytes
    }

    /// What has been written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The status code, 200 to 999; 0 before [`ResponseHead::start`].
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The length of the body in bytes, as the application or [`ResponseHead::finish`] gave it.
    #[must_use]
    pub const fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether a body may follow: false for 204 and 304 (RFC 9110 §6.4.1).
    #[must_use]
    pub const fn allows_body(&self) -> bool {
        !matches!(self.code, 204 | 304)
    }

    /// Whether there is a status.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.stage != Stage::Empty
    }

    fn keep_content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let second = parse_decimal(value).ok_or_else(|| HeadError::ContentLength { value: quoted(value) })?;
        match self.content_length {
            Some(first) if first != second => {
                return Err(HeadError::ContentLengths { first, second });
            }
            _ if self.allows_body() => self.content_length = Some(second),
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes reserved for a head; few are longer.
const TYPICAL_LEN: usize = 512;
/// Digits of the largest 64-bit number.
const MAX_DIGITS: usize = 20;
/// Bytes of a peer's or an application's text that an error repeats.
const MAX_QUOTED: usize = 80;

/// Headers that belong to one connection, by RFC 9110 §7.6.1 and by RFC 2616 §13.5.1, which
/// PEP 3333 refers to.
static HOP_BY_HOP: [&[u8]; 10] = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"trailers",
    b"transfer-encoding",
    b"upgrade",
];

/// The bytes of a token, RFC 9110 §5.6.2.
const TOKEN_BYTES: &[u8; 77] = b"!#$%&'*+-.^_`|~\
    0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a header's name says about it.
enum Field {
    ContentLength,
    Status,
    HopByHop,
    EndToEnd,
}

impl Field {
    fn of(name: &[u8]) -> Self {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        // Most names are of no length that means anything.
        match name.len() {
            6 if is(b"status") => Self::Status,
            14 if is(b"content-length") => Self::ContentLength,
            2 | 7 | 8 | 10 | 16..=19 if HOP_BY_HOP.iter().any(|other| is(other)) => Self::HopByHop,
            _ => Self::EndToEnd,
        }
    }
}

/// The code of a status line that is fit to be sent.
fn check_status(status: &[u8]) -> Result<u16, HeadError> {
    let (digits, reason) = status.split_at_checked(3).unwrap_or_default();
    let code = parse_decimal(digits).and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 200);
    let (Some(code), [] | [b' ', ..]) = (code, reason) else {
        return Err(HeadError::StatusCode { status: quoted(status) });
    };
    match first_control(status) {
        None => Ok(code),
        Some(offset) => Err(HeadError::StatusReason { status: quoted(status), offset }),
    }
}

fn check_name(name: &[u8]) -> Result<(), HeadError> {
    match name.iter().position(|byte| TOKEN.get(usize::from(*byte)) != Some(&true)) {
        None if !name.is_empty() => Ok(()),
        offset => Err(HeadError::Name { name: quoted(name), offset: offset.unwrap_or_default() }),
    }
}

fn check_value(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    match first_control(value) {
        None => Ok(()),
        Some(offset) => Err(HeadError::Value { name: quoted(name), offset }),
    }
}

/// Which bytes may stand in a token, RFC 9110 §5.6.2.
#[expect(clippy::indexing_slicing, reason = "done by the compiler, which knows both lengths")]
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest = TOKEN_BYTES.as_slice();
    while let [byte, others @ ..] = rest {
        table[*byte as usize] = true;
        rest = others;
    }
    table
};

const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

fn first_control(text: &[u8]) -> Option<usize> {
    // Looking at every byte is what lets the compiler look at many at once.
    let any = text.iter().fold(false, |any, byte| any | is_control(*byte));
    if any { text.iter().position(|byte| is_control(*byte)) } else { None }
}

/// Digits and nothing else, at most 64 bits.
fn parse_decimal(digits: &[u8]) -> Option<u64> {
    let append = |number: u64, byte: &u8| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, append) }
}

fn decimal(mut number: u64, room: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let mut unused = MAX_DIGITS;
    for digit in room.iter_mut().rev() {
        *digit = b'0' | (number % 10) as u8;
        number /= 10;
        unused = unused.saturating_sub(1);
        if number == 0 {
            break;
        }
    }
    room.get(unused..).unwrap_or_default()
}

/// The beginning of `text`, escaped, so that an error cannot carry what it refused.
fn quoted(text: &[u8]) -> String {
    text.get(..MAX_QUOTED).unwrap_or(text).escape_ascii().to_string()
}
