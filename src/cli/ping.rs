//! `rusgi ping`: is somebody there? For health checks; it starts no Python.

use std::{io, time::Duration};

use crate::{
    cli::{
        FAILED, MISCONFIGURED,
        client::{self, AdminArgs, PATIENCE},
        complain,
        dial::Line,
        say,
    },
    config::{Address, quantity::parse_duration},
};

/// The options of `rusgi ping`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A socket that requests come in by: unix:PATH, /absolute/path, HOST:PORT or :PORT [default: ask the admin socket]
    ///
    /// A worker answers there, so this tells more than the admin socket does; it waits while all workers are busy.
    address: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: String,
}

/// Pings; returns the exit code: 0 when there is an answer, 1 when there is none.
pub(super) fn run(args: &Args) -> u8 {
    let address = args.address.as_deref().map(str::parse::<Address>).transpose();
    let (address, timeout) = match (address, parse_duration(&args.timeout)) {
        (Ok(address), Ok(timeout)) => (address, timeout),
        (Err(error), _) => return wrong(&error.to_string()),
        (_, Err(error)) => return wrong(&format!("--timeout: {error}")),
    };
    match address {
        Some(address) => report(&address.to_string(), ping(&address, timeout)),
        None => match client::ask(&args.admin, "GET", "/livez", Some(timeout.min(PATIENCE))) {
            Ok(answer) => {
                say(&answer.body);
                0
            }
            Err(error) => error.report(),
        },
    }
}

fn wrong(problem: &str) -> u8 {
    complain(problem);
    MISCONFIGURED
}

fn report(address: &str, answered: io::Result<()>) -> u8 {
    match answered {
        Ok(()) => {
            say(&format!("{address} answers"));
            0
        }
        Err(error) => {
            complain(&format!("{address}: {error}: is rusgi running, and is a worker free?"));
            FAILED
        }
    }
}

/// An empty packet with modifier1 100 is answered by one: the ping of the uwsgi protocol.
fn ping(address: &Address, timeout: Duration) -> io::Result<()> {
    let line = Line::connect(address, Some(timeout))?;
    // Four bytes always fit into a socket that holds none.
    line.write(&PING)?;
    let mut answer = Vec::with_capacity(PING.len());
    while answer.len() < PING.len() {
        line.wait(false)?;
        let mut piece = [0; PING.len()];
        match line.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => answer.extend(piece.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if answer.first() == PING.first() { Ok(()) } else { Err(io::Error::other("the answer is not a uwsgi pong")) }
}

const PING: [u8; 4] = [100, 0, 0, 0];
