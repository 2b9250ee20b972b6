//! What a browser's GET, as nginx sends it, costs: `cargo bench -p rusgi-proto --bench decode`.
//!
//! For instruction counts run the built file under `valgrind --tool=callgrind` with one case's name
//! and two different counts of rounds, and divide the difference.

#![expect(clippy::unwrap_used, reason = "what cannot be done cannot be measured")]

use std::{env, hint::black_box, time::Instant};

use bytes::BytesMut;
use rusgi_proto::{Decoder, Packet, Parsed, ResponseHead, Vars};

const GET: &[u8] = include_bytes!("../tests/captures/get.bin");

/// A name and one round of what it measures.
type Case = (&'static str, fn(&mut ResponseHead));

const CASES: [Case; 5] = [
    ("parse", |_| {
        black_box(Packet::parse(black_box(GET))).unwrap();
    }),
    ("parse and iterate", |_| {
        let Ok(Parsed::Complete { packet, .. }) = Packet::parse(black_box(GET)) else {
            return;
        };
        packet.vars.iter().for_each(|var| {
            black_box(var);
        });
    }),
    ("get one of the vars", |_| {
        let vars = Vars::parse(black_box(&GET[4..])).unwrap();
        black_box(vars.get(b"REQUEST_METHOD"));
    }),
    ("decode", |_| {
        let mut src = BytesMut::from(black_box(GET));
        black_box(Decoder::new().decode(&mut src)).unwrap();
    }),
    ("response head", |head| {
        head.clear();
        head.start(black_box(b"200 OK")).unwrap();
        head.header(black_box(b"Content-Type"), black_box(b"text/html; charset=utf-8")).unwrap();
        head.header(black_box(b"X-Frame-Options"), black_box(b"DENY")).unwrap();
        head.header(black_box(b"Vary"), black_box(b"Cookie")).unwrap();
        head.header(black_box(b"Content-Length"), black_box(b"1234")).unwrap();
        black_box(head.finish(None));
    }),
];

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let only = arguments.first();
    let rounds = arguments.get(1).map_or(1_000_000, |rounds| rounds.parse().unwrap());
    for (name, case) in CASES.iter().filter(|(name, _)| only.is_none_or(|only| only == name)) {
        let mut head = ResponseHead::new();
        let start = Instant::now();
        (0..rounds).for_each(|_: u32| case(&mut head));
        let nanoseconds = start.elapsed().as_nanos() / u128::from(rounds.max(1));
        println!("{name}: {nanoseconds} ns");
    }
}
