//! What can be wrong, and where.

use alloc::string::String;

use thiserror::Error;

/// A vars block that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("uwsgi vars: {what} at offset {offset} of the packet; {}", what.remedy())]
pub struct ParseError {
    /// What was wrong.
    pub what: Fault,
    /// Where: bytes from the packet's first byte to the length field at fault; at least 4.
    pub offset: usize,
}

/// What can be wrong with a vars block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A key of length 0, which the protocol forbids.
    #[error("key of length 0")]
    EmptyKey,
    /// A single byte where a key's two-byte length should be.
    #[error("stray byte")]
    StrayByte,
    /// A key that would reach beyond the block.
    #[error("key of {length} bytes where {left} are left")]
    KeyOverrun {
        /// Bytes the length field announces.
        length: u16,
        /// Bytes of the block that follow it.
        left: usize,
    },
    /// A key after which there is no room for a value's two-byte length.
    #[error("key without a value, {left} bytes left")]
    NoValue {
        /// Bytes of the block after the key: 0 or 1.
        left: usize,
    },
    /// A value that would reach beyond the block.
    #[error("value of {length} bytes where {left} are left")]
    ValueOverrun {
        /// Bytes the length field announces.
        length: u16,
        /// Bytes of the block that follow it.
        left: usize,
    },
    /// A block longer than a header can announce.
    #[error("block of {length} bytes where 65535 are the most")]
    BlockTooLong {
        /// Bytes in the block.
        length: usize,
    },
}

impl Fault {
    const fn remedy(self) -> &'static str {
        match self {
            Self::EmptyKey => "give every uwsgi_param a name",
            Self::StrayByte | Self::NoValue { .. } => "append nothing to the vars (uwsgi_string)",
            Self::KeyOverrun { .. } | Self::ValueOverrun { .. } => {
                "keep every uwsgi_param name under 256 bytes and append nothing to the vars"
            }
            Self::BlockTooLong { .. } => "send fewer or shorter request headers",
        }
    }
}

/// A packet that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A key of length 0, which the protocol forbids.
    #[error("uwsgi key is empty; name every var")]
    EmptyKey,
    /// More vars than the header's two length bytes can announce.
    #[error("uwsgi vars would take {length} bytes where 65535 are the most; send fewer or shorter vars")]
    TooLong {
        /// Length the block would have, in bytes.
        length: usize,
    },
}

/// A status or header that would change the response's meaning on the wire.
///
/// What it quotes is escaped and cut to its first 80 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A status that does not begin with three digits from 200 to 999 and a space.
    #[error("status \"{status}\" has no code from 200 to 999; write it as \"200 OK\"")]
    StatusCode {
        /// The status as given.
        status: String,
    },
    /// A control byte in the reason phrase.
    #[error("status \"{status}\" holds a control byte at offset {offset}; remove it")]
    StatusReason {
        /// The status as given.
        status: String,
        /// Where, in bytes from the first digit.
        offset: usize,
    },
    /// A header name that is not a token (RFC 9110 §5.6.2).
    #[error("header name \"{name}\" is no token at offset {offset}; use letters, digits and hyphens")]
    Name {
        /// The name as given.
        name: String,
        /// The first byte at fault; 0 when the name is empty.
        offset: usize,
    },
    /// A control byte in a header's value.
    #[error("header {name} holds a control byte at offset {offset} of its value; remove it")]
    Value {
        /// The header's name.
        name: String,
        /// Where, in bytes from the value's first.
        offset: usize,
    },
    /// A header that speaks about one connection only (RFC 9110 §7.6.1), which PEP 3333 denies to
    /// applications.
    #[error("header {name} is hop-by-hop; leave it to the server in front")]
    HopByHop {
        /// The header's name.
        name: String,
    },
    /// A header named `Status`, which PEP 3333 denies to applications because gateways read it.
    #[error("header Status is not a header; give the status to start_response")]
    StatusHeader,
    /// A `Content-Length` that is not a decimal number of at most 64 bits.
    #[error("header Content-Length \"{value}\" is no decimal number; give the body's length in bytes")]
    ContentLength {
        /// The value as given.
        value: String,
    },
    /// Two different `Content-Length` headers.
    #[error("header Content-Length is both {first} and {second}; give it once")]
    ContentLengths {
        /// The value given first.
        first: u64,
        /// The value that contradicts it.
        second: u64,
    },
    /// A header before any status.
    #[error("response head has no status yet; start it before adding headers")]
    NotStarted,
    /// A second status.
    #[error("response head has a status already; clear it before starting anew")]
    Started,
    /// A header after the end of the head.
    #[error("response head is finished; add headers before finishing it")]
    Finished,
}
