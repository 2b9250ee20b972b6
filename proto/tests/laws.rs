//! What holds for every packet and for every byte sequence.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*, sample::Index};
use rusgi_proto::{Decoder, Header, Modifier1, Packet, PacketBuilder, ParseError, Parsed};

type Strings = Vec<(Vec<u8>, Vec<u8>)>;

fn strings() -> impl Strategy<Value = Strings> {
    vec((vec(any::<u8>(), 1..40), vec(any::<u8>(), 0..300)), 0..40)
}

/// Bytes that are nearly a packet: small numbers, so that lengths often fit.
fn near_packet() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0..4u8, 1 => any::<u8>()];
    (any::<u8>(), vec(byte, 0..60), any::<bool>()).prop_map(|(modifier1, mut block, whole)| {
        let datasize = u8::try_from(block.len()).unwrap_or(u8::MAX) >> u8::from(!whole);
        block.splice(0..0, [modifier1, datasize, 0, 0]);
        block
    })
}

fn build(modifiers: (u8, u8), strings: &Strings) -> Vec<u8> {
    let builder = PacketBuilder::new(Modifier1(modifiers.0)).modifier2(modifiers.1);
    let add = |builder: PacketBuilder, (key, value): &(Vec<u8>, Vec<u8>)| builder.var(key, value);
    strings.iter().try_fold(builder, add).unwrap().encode()
}

/// The packets in encoded form and what was left, or the error that ended them.
type Outcome = (Vec<Vec<u8>>, Result<Vec<u8>, ParseError>);

/// Everything a decoder says about `input` when it arrives in pieces cut at `cuts`.
fn decode_in_pieces(input: &[u8], cuts: &[usize]) -> Outcome {
    let mut ends: Vec<_> = cuts.iter().copied().chain([input.len()]).collect();
    ends.sort_unstable();
    let (mut decoder, mut src, mut packets, mut at) = (Decoder::new(), BytesMut::new(), Vec::new(), 0);
    for end in ends {
        src.extend_from_slice(&input[at..end]);
        at = end;
        loop {
            match decoder.decode(&mut src) {
                Ok(Some(packet)) => packets.push(packet.packet().encode()),
                Ok(None) => break,
                Err(error) => return (packets, Err(error)),
            }
            assert!(packets.len() <= input.len() / Header::LEN, "packets out of nothing");
        }
    }
    (packets, Ok(src.to_vec()))
}

proptest! {
    #[test]
    fn parse_is_the_inverse_of_encode(modifiers: (u8, u8), strings in strings(), body: Vec<u8>) {
        let bytes = build(modifiers, &strings);
        let input = [&bytes[..], &body].concat();
        let Ok(Parsed::Complete { packet, rest }) = Packet::parse(&input) else {
            return Err(TestCaseError::fail("no packet"));
        };
        let parsed: Strings = packet.vars.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(parsed, strings);
        prop_assert_eq!((packet.header.modifier1.0, packet.header.modifier2), modifiers);
        prop_assert_eq!(rest, body);
        prop_assert_eq!(packet.encode(), bytes);
    }

    #[test]
    fn every_beginning_of_a_packet_asks_for_the_whole(strings in strings(), cut: Index) {
        let bytes = build((0, 0), &strings);
        let beginning = &bytes[..cut.index(bytes.len())];
        let total = (beginning.len() >= Header::LEN).then_some(bytes.len());
        prop_assert_eq!(Packet::parse(beginning), Ok(Parsed::NeedMore { total }));
    }

    #[test]
    fn every_split_gives_the_same_packets(
        requests in vec(strings(), 0..4),
        tail in vec(any::<u8>(), 0..4),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let packets: Vec<_> = requests.iter().map(|strings| build((0, 0), strings)).collect();
        let tail: Vec<u8> = tail.into_iter().take(Header::LEN - 1).collect();
        let input = [packets.concat(), tail.clone()].concat();
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        prop_assert_eq!(decode_in_pieces(&input, &cuts), (packets, Ok(tail)));
    }

    #[test]
    fn every_split_of_anything_gives_the_same_result(
        input in near_packet(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        let bytewise: Vec<_> = (0..input.len()).collect();
        let whole = decode_in_pieces(&input, &[]);
        prop_assert_eq!(&decode_in_pieces(&input, &cuts), &whole);
        prop_assert_eq!(&decode_in_pieces(&input, &bytewise), &whole);
    }

    #[test]
    fn decoder_and_parser_agree(input in near_packet()) {
        let mut src = BytesMut::from(&input[..]);
        let decoded = Decoder::new().decode(&mut src);
        match Packet::parse(&input) {
            Ok(Parsed::Complete { packet, rest }) => {
                let owned = decoded.unwrap().unwrap();
                prop_assert_eq!(owned.packet(), packet);
                prop_assert_eq!(&src[..], rest);
            }
            Ok(Parsed::NeedMore { .. }) => prop_assert_eq!(decoded, Ok(None)),
            Err(error) => prop_assert_eq!(decoded, Err(error)),
        }
    }

    #[test]
    fn an_error_lies_within_the_packet(input in near_packet()) {
        if let Err(error) = Packet::parse(&input) {
            let packet_len = Header::parse(&input).unwrap().packet_len();
            prop_assert!((Header::LEN..packet_len).contains(&error.offset), "{}", error);
        }
    }

    #[test]
    fn no_bytes_panic(input: Vec<u8>) {
        let _ = Packet::parse(&input);
        let _ = decode_in_pieces(&input, &[input.len() / 2]);
    }
}
