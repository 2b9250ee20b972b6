//! Law: any bytes are a packet, the beginning of one, or an error that lies within them; nothing
//! outside the input is ever borrowed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rusgi_proto::{Header, Packet, ParseError, Parsed};

fuzz_target!(|input: &[u8]| match Packet::parse(input) {
    Ok(Parsed::Complete { packet, rest }) => assert_complete(input, &packet, rest),
    Ok(Parsed::NeedMore { total }) => assert_needs(input, total),
    Err(error) => assert_lies_within(input, error),
});

fn assert_complete(input: &[u8], packet: &Packet<'_>, rest: &[u8]) {
    assert_eq!(packet.header.packet_len() + rest.len(), input.len());
    let mut at = Header::LEN;
    for (key, value) in packet.vars {
        assert!(!key.is_empty());
        at = assert_string_at(input, at, key);
        at = assert_string_at(input, at, value);
        assert!(packet.vars.get(key).is_some());
    }
    assert_eq!(at, packet.header.packet_len());
}

/// Where the string ends, once it is sure that it is the input's own and has the length before it.
fn assert_string_at(input: &[u8], at: usize, string: &[u8]) -> usize {
    let place = at + 2;
    assert_eq!(input[at..place], u16::try_from(string.len()).unwrap().to_le_bytes());
    assert!(core::ptr::eq(&input[place..place + string.len()], string));
    place + string.len()
}

fn assert_needs(input: &[u8], total: Option<usize>) {
    match total {
        None => assert!(input.len() < Header::LEN),
        Some(total) => {
            assert!(input.len() < total);
            assert_eq!(Header::parse(input).map(Header::packet_len), Some(total));
        }
    }
}

fn assert_lies_within(input: &[u8], error: ParseError) {
    let packet_len = Header::parse(input).unwrap().packet_len();
    assert!(packet_len <= input.len());
    assert!((Header::LEN..packet_len).contains(&error.offset), "{error}");
}
