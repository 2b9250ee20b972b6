//! `rusgi_proto`'s decoder as a tokio-util codec.

use std::io;

use bytes::BytesMut;
use rusgi_proto::OwnedPacket;
use tokio_util::codec::Decoder;

use crate::net::refusal::Refusal;

/// Yields the one packet that opens a connection.
#[derive(Debug, Default)]
pub(super) struct PacketCodec {
    decoder: rusgi_proto::Decoder,
}

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPacket {
    /// The peer is owed an answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

impl PacketCodec {
    /// Bytes of the packet that have been taken from `left`, the undecoded rest, or still lie there.
    pub(super) fn seen(&self, left: &BytesMut) -> usize {
        left.len() + self.decoder.header().map_or(0, |_| rusgi_proto::Header::LEN)
    }
}

impl Decoder for PacketCodec {
    type Item = OwnedPacket;
    type Error = NoPacket;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<OwnedPacket>, NoPacket> {
        if self.decoder.header().is_none() {
            Refusal::of_first_bytes(src)?;
        }
        Ok(self.decoder.decode(src).map_err(Refusal::from)?)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<OwnedPacket>, NoPacket> {
        match self.decode(src)? {
            None if self.seen(src) > 0 => Err(Refusal::CutShort(self.seen(src)).into()),
            packet => Ok(packet),
        }
    }
}
