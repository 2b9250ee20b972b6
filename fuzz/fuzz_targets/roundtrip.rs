//! Laws: what was parsed encodes to the same bytes; what was encoded parses to the same vars.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rusgi_proto::{EncodeError, Modifier1, Packet, PacketBuilder, Parsed, Vars};

fuzz_target!(|data: &[u8]| {
    if let Ok(Parsed::Complete { packet, rest }) = Packet::parse(data) {
        assert_encodes_to(&data[..data.len() - rest.len()], &packet);
    }
    let mut strings = data.split(|byte| *byte == 0);
    let vars: Vec<_> = std::iter::from_fn(|| Some((strings.next()?, strings.next()?))).collect();
    assert_parses_to(&vars);
});

fn assert_encodes_to(bytes: &[u8], packet: &Packet<'_>) {
    assert_eq!(packet.encode(), bytes);
    let header = packet.header;
    let builder = PacketBuilder::new(header.modifier1).modifier2(header.modifier2);
    let built = packet.vars.iter().try_fold(builder, |builder, (key, value)| builder.var(key, value));
    assert_eq!(built.unwrap().encode(), bytes);
}

fn assert_parses_to(vars: &[(&[u8], &[u8])]) {
    let builder = PacketBuilder::new(Modifier1::WSGI);
    let length: usize = vars.iter().map(|(key, value)| 4 + key.len() + value.len()).sum();
    match vars.iter().try_fold(builder, |builder, (key, value)| builder.var(key, value)) {
        Ok(builder) => {
            let bytes = builder.encode();
            let Ok(Parsed::Complete { packet, rest: [] }) = Packet::parse(&bytes) else {
                panic!("encoded what is no packet")
            };
            assert!(packet.vars.iter().eq(vars.iter().copied()));
        }
        Err(EncodeError::EmptyKey) => assert!(vars.iter().any(|(key, _)| key.is_empty())),
        Err(_) => assert!(length > Vars::MAX_LEN),
    }
}
