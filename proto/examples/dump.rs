//! Prints the packet on standard input: `cargo run -p rusgi-proto --example dump < packet.bin`.

use std::{
    error::Error,
    io::{self, Read, Write},
    process::ExitCode,
};

use rusgi_proto::{Packet, Parsed};

fn main() -> ExitCode {
    match dump() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn dump() -> Result<(), Box<dyn Error>> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    match Packet::parse(&input)? {
        Parsed::Complete { packet, rest } => Ok(print(&packet, rest)?),
        Parsed::NeedMore { total } => {
            let total = total.map_or_else(|| "at least 4".into(), |total| total.to_string());
            Err(format!("input holds {} of {total} bytes; give the whole packet", input.len()).into())
        }
    }
}

fn print(packet: &Packet<'_>, rest: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let header = packet.header;
    writeln!(out, "modifier1 {}, datasize {}, modifier2 {}", header.modifier1, header.datasize, header.modifier2)?;
    for (key, value) in packet.vars {
        writeln!(out, "{} = {}", key.escape_ascii(), value.escape_ascii())?;
    }
    writeln!(out, "followed by {} bytes", rest.len())
}
