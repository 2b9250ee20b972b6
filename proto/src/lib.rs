//! The uwsgi protocol as bytes, without a socket, a clock or the standard library.
//!
//! A request arrives as one *packet*: a four-byte [`Header`] and up to 65 535 bytes of [`Vars`];
//! its body follows unframed. The response goes back as an HTTP head and a body.
//! The modules stand in the order in which a request meets them:
//!
//! * [`Modifier1`] and [`Header`]: what kind of packet this is and how long its vars are;
//! * [`Vars`]: the key/value block, checked once and borrowed ever after;
//! * [`Pattern`]: what the blocks of one web server have in common;
//! * [`Packet`] and [`PacketBuilder`]: both together, in either direction;
//! * [`Decoder`]: a packet out of bytes that arrive in any split;
//! * [`ResponseHead`]: the way back, refusing whatever would change its meaning on the wire;
//! * [`ParseError`], [`EncodeError`], [`HeadError`]: what was wrong, and where.
//!
//! ```
//! use rusgi_proto::{Modifier1, Packet, PacketBuilder, Parsed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = PacketBuilder::new(Modifier1::WSGI).var(b"PATH_INFO", b"/")?.encode();
//! let Parsed::Complete { packet, rest } = Packet::parse(&bytes)? else {
//!     return Err("cut short".into());
//! };
//! assert_eq!(packet.vars.get(b"PATH_INFO"), Some(&b"/"[..]));
//! assert!(rest.is_empty());
//! # Ok(())
//! # }
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

extern crate alloc;

mod modifier;

mod header;

mod vars;

mod pattern;

mod packet;

mod decoder;

mod response_head;

mod error;

pub use decoder::{Decoder, OwnedPacket};
pub use error::{EncodeError, Fault, HeadError, ParseError};
pub use header::Header;
pub use modifier::Modifier1;
pub use packet::{Packet, PacketBuilder, Parsed};
pub use pattern::Pattern;
pub use response_head::ResponseHead;
pub use vars::{Iter, Vars};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
