//! Every way in which vars can be malformed, with the offset of the length field at fault.

use rusgi_proto::{Fault, Packet, ParseError, Vars};

/// What is wrong with a block, and at which offset of the packet.
const TABLE: &[(&[u8], Fault, usize)] = &[
    (b"\0\0", Fault::EmptyKey, 4),
    (b"\0\0\x01\0v", Fault::EmptyKey, 4),
    (b"\x01\0K\x01\0v\0\0\x01\0v", Fault::EmptyKey, 10),
    (b"\x01", Fault::StrayByte, 4),
    (b"\x01\0K\x01\0v\x01", Fault::StrayByte, 10),
    (b"\x01\0", Fault::KeyOverrun { length: 1, left: 0 }, 4),
    (b"\x04\0KEY", Fault::KeyOverrun { length: 4, left: 3 }, 4),
    (b"\x01\0K\0\0\xff\xffK\0\0", Fault::KeyOverrun { length: 65_535, left: 3 }, 9),
    (b"\x00\x01K", Fault::KeyOverrun { length: 256, left: 1 }, 4),
    (b"\x03\0KEY", Fault::NoValue { left: 0 }, 4),
    (b"\x03\0KEY\x01", Fault::NoValue { left: 1 }, 4),
    (b"\x03\0KEY\x01\0", Fault::ValueOverrun { length: 1, left: 0 }, 9),
    (b"\x03\0KEY\x06\0value", Fault::ValueOverrun { length: 6, left: 5 }, 9),
    (b"\x01\0K\0\0\x01\0L\xff\xff", Fault::ValueOverrun { length: 65_535, left: 0 }, 12),
];

#[test]
fn each_fault_is_named_with_its_offset() {
    for (block, what, offset) in TABLE {
        let expected = ParseError { what: *what, offset: *offset };
        assert_eq!(Vars::parse(block), Err(expected), "{}", block.escape_ascii());
    }
}

#[test]
fn a_packet_reports_the_same_offset_as_its_block() {
    for (block, what, offset) in TABLE {
        let header = [0, u8::try_from(block.len()).unwrap(), 0, 0];
        let packet = [&header, *block, b"body"].concat();
        let expected = ParseError { what: *what, offset: *offset };
        assert_eq!(Packet::parse(&packet), Err(expected), "{}", block.escape_ascii());
    }
}

#[test]
fn a_block_no_header_can_announce_is_refused() {
    let block = [&b"\x01\0K\xff\xff"[..], &[b'v'; 65_535]].concat();
    let expected = ParseError { what: Fault::BlockTooLong { length: 65_540 }, offset: 65_539 };
    assert_eq!(Vars::parse(&block), Err(expected));
}

#[test]
fn a_message_begins_with_the_thing_and_ends_with_what_to_do() {
    let message = Vars::parse(b"\x04\0KEY").unwrap_err().to_string();
    assert_eq!(
        message,
        "uwsgi vars: key of 4 bytes where 3 are left at offset 4 of the packet; \
         keep every uwsgi_param name under 256 bytes and append nothing to the vars"
    );
}
