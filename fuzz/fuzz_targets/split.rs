//! Law: however the bytes are split on their way, the decoder says the same.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rusgi_proto::{Decoder, Header, Packet, ParseError, Parsed};

/// The packets in encoded form and what was left, or the error that ended them.
type Outcome = (Vec<Vec<u8>>, Result<Vec<u8>, ParseError>);

// The first four bytes are the lengths, less one, of the pieces in which the others arrive.
fuzz_target!(|data: &[u8]| {
    let Some((lengths, input)) = data.split_first_chunk::<4>() else {
        return;
    };
    assert_eq!(decoded_in_pieces(input, lengths), parsed_at_once(input));
});

fn decoded_in_pieces(input: &[u8], lengths: &[u8; 4]) -> Outcome {
    let (mut decoder, mut src, mut packets, mut rest) = (Decoder::new(), BytesMut::new(), vec![], input);
    for length in lengths.iter().cycle() {
        loop {
            match decoder.decode(&mut src) {
                Ok(Some(packet)) => packets.push(packet.packet().encode()),
                Ok(None) => break,
                Err(error) => return (packets, Err(error)),
            }
            assert!(packets.len() <= input.len() / Header::LEN);
        }
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(rest.len().min(usize::from(*length) + 1));
        src.extend_from_slice(piece);
        rest = later;
    }
    let header = decoder.header().map(|header| header.encode().to_vec()).unwrap_or_default();
    (packets, Ok([&header, &src[..]].concat()))
}

fn parsed_at_once(mut input: &[u8]) -> Outcome {
    let mut packets = vec![];
    loop {
        match Packet::parse(input) {
            Ok(Parsed::Complete { packet, rest }) => {
                packets.push(packet.encode());
                input = rest;
            }
            Ok(Parsed::NeedMore { .. }) => return (packets, Ok(input.to_vec())),
            Err(error) => return (packets, Err(error)),
        }
    }
}
