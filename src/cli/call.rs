//! `rusgi call`: curl for uwsgi sockets, whichever server listens there.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use thiserror::Error;

use crate::{
    cli::{
        MISCONFIGURED,
        answer::{Answer, AnswerError},
        asked::{Asked, Request},
        complain,
        dial::Line,
    },
    config::quantity::parse_limit,
};

/// The options of `rusgi call`.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// How long everything may take; 0 for as long as it likes
    #[arg(long, value_name = "TIME", default_value = "1m")]
    timeout: String,
    #[command(flatten)]
    shown: Shown,
}

/// What of the exchange is written where.
#[derive(Debug, clap::Args)]
struct Shown {
    /// Write the response head, too
    #[arg(short, long)]
    include: bool,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write nothing and exit with 22 when the status is 400 or above
    #[arg(short, long)]
    fail: bool,
    /// Show the packet and the response head on standard error
    #[arg(short, long)]
    verbose: bool,
}

/// Why there is no response, or not all of it.
#[derive(Debug, Error)]
enum CallError {
    #[error("{0}: is a server running there, and may you connect to it?")]
    Unreachable(io::Error),
    #[error("no answer in time: is a worker free? see --timeout")]
    TimedOut,
    #[error("{0}")]
    Answer(#[from] AnswerError),
    #[error("the connection broke in the middle of the response ({0}): see the log of the server")]
    Broken(io::Error),
    #[error("the status is {0}")]
    Status(u16),
    #[error("the response cannot be written ({0}): choose another place with --output")]
    Unwritable(io::Error),
}

impl CallError {
    /// The exit code: curl's.
    fn code(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 7,
            Self::Answer(AnswerError::NotHttp(_) | AnswerError::Length | AnswerError::TooLong) => 8,
            Self::Answer(AnswerError::HeadCut | AnswerError::BodyCut { .. }) | Self::Broken(_) => 18,
            Self::Status(_) => 22,
            Self::Unwritable(_) => 23,
            Self::TimedOut => 28,
            Self::Answer(AnswerError::Nothing) => 52,
        }
    }
}

/// Calls; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let call = match Call::new(args) {
        Ok(call) => call,
        Err(problem) => {
            complain(&problem);
            return MISCONFIGURED;
        }
    };
    match call.run() {
        Ok(()) => 0,
        Err(error) => {
            complain(&format!("{}: {error}", call.request.address));
            error.code()
        }
    }
}

/// A call as meant.
struct Call<'a> {
    request: Request,
    timeout: Option<Duration>,
    shown: &'a Shown,
}

impl<'a> Call<'a> {
    fn new(args: &'a Args) -> Result<Self, String> {
        let timeout = parse_limit(&args.timeout).map_err(|error| format!("--timeout: {error}"))?;
        Ok(Self { request: args.asked.request()?, timeout, shown: &args.shown })
    }

    fn run(&self) -> Result<(), CallError> {
        if self.shown.verbose {
            self.show_packet();
        }
        let line = Line::connect(&self.request.address, self.timeout).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => CallError::TimedOut,
            _ => CallError::Unreachable(error),
        })?;
        let mut output = Output { shown: self.shown, open: None };
        let mut answer = Answer::default();
        let mut unsent = self.request.bytes.as_slice();
        let mut buffer = vec![0; 65_536];
        while !answer.is_whole() {
            let ready = line.wait(!unsent.is_empty()).map_err(broken)?;
            if ready.can_write {
                unsent = send(&line, unsent)?;
            }
            if ready.can_read {
                match line.read(&mut buffer) {
                    Ok(0) => return Ok(answer.end()?),
                    Ok(count) => self.receive(buffer.get(..count).unwrap_or_default(), &mut answer, &mut output)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(broken(error)),
                }
            }
        }
        Ok(())
    }

    fn receive(&self, bytes: &[u8], answer: &mut Answer, output: &mut Output<'_>) -> Result<(), CallError> {
        let was_open = answer.head().is_some();
        let body = answer.take(bytes, self.request.outgoing.method != "HEAD")?;
        if let (false, Some(head)) = (was_open, answer.head()) {
            if self.shown.verbose {
                show_head(&head.bytes);
            }
            if self.shown.fail && head.status >= 400 {
                return Err(CallError::Status(head.status));
            }
            output.begin(&head.bytes).map_err(CallError::Unwritable)?;
        }
        output.write(&body).map_err(CallError::Unwritable)
    }

    fn show_packet(&self) {
        let vars = self.request.outgoing.vars().unwrap_or_default();
        let body = self.request.outgoing.body_len.unwrap_or_default();
        let mut text = format!("* {}\n> modifier1 0, modifier2 0, ", self.request.address);
        text += &format!("{} bytes of vars, {body} bytes of body\n", self.request.bytes.len() - body - 4);
        for var in vars {
            text += &format!("> {}={}\n", var.name, var.value.escape_ascii());
        }
        tell(&text);
    }
}

/// Where the response goes; opened when there is one.
struct Output<'a> {
    shown: &'a Shown,
    open: Option<Box<dyn Write>>,
}

impl Output<'_> {
    fn begin(&mut self, head: &[u8]) -> io::Result<()> {
        self.open = Some(match &self.shown.output {
            Some(path) => Box::new(File::create(path)?),
            None => Box::new(io::stdout()),
        });
        if self.shown.include { self.write(head) } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.write_all(bytes)?;
        open.flush()
    }
}

/// Sends what there is room for, and returns the rest.
fn send<'a>(line: &Line, unsent: &'a [u8]) -> Result<&'a [u8], CallError> {
    match line.write(unsent) {
        Ok(sent) => Ok(unsent.get(sent..).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(unsent),
        // Whoever has hung up may have answered before.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(&[]),
        Err(error) => Err(CallError::Broken(error)),
    }
}

fn broken(error: io::Error) -> CallError {
    if error.kind() == io::ErrorKind::TimedOut { CallError::TimedOut } else { CallError::Broken(error) }
}

fn show_head(head: &[u8]) {
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().escape_ascii());
    tell(&lines.map(|line| format!("< {line}\n")).collect::<String>().replacen("< \n", "<\n", 1));
}

fn tell(text: &str) {
    let _unreadable = io::stderr().write_all(text.as_bytes());
}

const CODES: &str = "Exit codes are curl's: 0 there is a response, 7 nobody listens there, 8 the answer is not HTTP, \
18 the response was cut short, 22 the status is 400 or above (with --fail), 23 the response cannot be written, \
28 it took too long, 52 no answer at all; and 78 the command line is wrong.";
