//! `rusgi call`: curl for uwsgi sockets, whichever server listens there.

mod answer;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::PathBuf,
    time::Duration,
};

use thiserror::Error;

use crate::{
    cli::{
        MISCONFIGURED,
        call::answer::{Answer, AnswerError},
        complain,
        dial::Line,
        outgoing::Outgoing,
    },
    config::{Address, quantity::parse_limit},
};

/// The options of `rusgi call`.
#[derive(Debug, clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Args {
    /// Where a uwsgi server listens: unix:PATH, /absolute/path, HOST:PORT or :PORT
    address: String,
    /// Path and query, as in a URL
    #[arg(default_value = "/")]
    path: String,
    /// The method [default: GET, or POST with a body]
    #[arg(short = 'X', long)]
    request: Option<String>,
    /// A request header; `Name:` leaves out one that is sent by default
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The body: text, @FILE, or - for standard input
    #[arg(short, long)]
    data: Option<String>,
    /// A var instead of the one that nginx would send, or beside those; NAME without = leaves one out
    #[arg(long, value_name = "NAME=VALUE")]
    var: Vec<String>,
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
            complain(&format!("{}: {error}", call.address));
            error.code()
        }
    }
}

/// A call as meant.
struct Call<'a> {
    address: Address,
    request: Outgoing,
    /// Packet and body.
    bytes: Vec<u8>,
    timeout: Option<Duration>,
    shown: &'a Shown,
}

impl<'a> Call<'a> {
    fn new(args: &'a Args) -> Result<Self, String> {
        let address = args.address.parse().map_err(|error| format!("{error}"))?;
        let timeout = parse_limit(&args.timeout).map_err(|error| format!("--timeout: {error}"))?;
        let body = args.data.as_deref().map(body).transpose()?;
        let default = if body.is_some() { "POST" } else { "GET" };
        let request = Outgoing {
            method: args.request.as_deref().unwrap_or(default).to_owned(),
            target: args.path.clone(),
            headers: headers(&args.header, body.as_deref())?,
            vars: args.var.iter().map(|var| var_of(var)).collect(),
            body_len: body.as_ref().map(Vec::len),
        };
        let packet = request.packet().map_err(|error| error.to_string())?;
        let bytes = [packet, body.unwrap_or_default()].concat();
        Ok(Self { address, request, bytes, timeout, shown: &args.shown })
    }

    fn run(&self) -> Result<(), CallError> {
        if self.shown.verbose {
            self.show_packet();
        }
        let line = Line::connect(&self.address, self.timeout).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => CallError::TimedOut,
            _ => CallError::Unreachable(error),
        })?;
        let mut output = Output { shown: self.shown, open: None };
        let mut answer = Answer::default();
        let mut unsent = self.bytes.as_slice();
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
        let body = answer.take(bytes, self.request.method != "HEAD")?;
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
        let vars = self.request.vars().unwrap_or_default();
        let body = self.request.body_len.unwrap_or_default();
        let mut text = format!("* {}\n> modifier1 0, modifier2 0, ", self.address);
        text += &format!("{} bytes of vars, {body} bytes of body\n", self.bytes.len() - body - 4);
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

fn body(data: &str) -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    let read = match data.strip_prefix('@') {
        Some("-") => io::stdin().read_to_end(&mut input),
        Some(path) => return fs::read(path).map_err(|error| format!("--data: {path}: {error}: name a file to send")),
        None if data == "-" => io::stdin().read_to_end(&mut input),
        None => return Ok(data.as_bytes().to_vec()),
    };
    read.map(|_| input).map_err(|error| format!("--data: standard input cannot be read: {error}"))
}

/// Those that curl sends unasked, then those that were asked for.
fn headers(given: &[String], body: Option<&[u8]>) -> Result<Vec<(String, String)>, String> {
    let mut wanted = Vec::with_capacity(given.len());
    for text in given {
        let wrong = || format!("--header: `{text}` has no colon: write 'Name: value'");
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        wanted.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let length = body.map(|body| body.len().to_string());
    let kind = body.map(|_| "application/x-www-form-urlencoded".to_owned());
    let by_default = [
        ("Host", Some("localhost".to_owned())),
        ("User-Agent", Some(concat!("rusgi/", env!("CARGO_PKG_VERSION")).to_owned())),
        ("Accept", Some("*/*".to_owned())),
        ("Content-Length", length),
        ("Content-Type", kind),
    ];
    let is_given = |name: &str| wanted.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let unasked = by_default.into_iter().filter(|(name, _)| !is_given(name));
    let mut headers: Vec<_> = unasked.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    headers.extend(wanted.into_iter().filter(|(_, value)| !value.is_empty()));
    Ok(headers)
}

fn var_of(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
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
