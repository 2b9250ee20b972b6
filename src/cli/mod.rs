//! The command line: flags as typed, one file for each subcommand.

mod answer;
mod asked;
mod bench;
mod call;
mod client;
mod completions;
mod dial;
mod doctor;
mod init;
mod man;
mod order;
mod outgoing;
mod ping;
mod privileges;
mod reload;
mod scale;
mod serve;
mod served;
mod settings;
mod status;
mod stop;
mod supervision;
mod upgrade;

use std::{
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::python::Door;

/// Serves WSGI applications to nginx's `uwsgi_pass`.
#[derive(Debug, Parser)]
#[command(name = "rusgi", bin_name = "rusgi", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an application
    Serve(Box<serve::Args>),
    /// Tell what a running rusgi is doing
    Status(status::Args),
    /// Load new code beside the old, and let it serve once it is ready
    Reload(reload::Args),
    /// Put a new executable of rusgi in the place of the running one
    Upgrade(upgrade::Args),
    /// Have more or fewer workers
    Scale(scale::Args),
    /// Finish what is in flight, and stop
    Stop(stop::Args),
    /// Ask whether somebody answers
    Ping(ping::Args),
    /// Find what breaks deployments, and say what mends it
    Doctor(doctor::Args),
    /// Print configuration for nginx, systemd, compose or Kubernetes
    Init(init::Args),
    /// Send a request to a uwsgi server, as nginx would, and write the response
    Call(Box<call::Args>),
    /// Put load on a uwsgi server, and measure how it answers
    Bench(Box<bench::Args>),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Write the manual pages
    Man(man::Args),
}

/// Runs the whole command line `argv`, the program's name first, and returns the process's exit code.
///
/// The processes it forks end in here; it returns in the one that called it only.
///
/// | code | meaning |
/// |---|---|
/// | 0 | stopped as asked |
/// | 1 | the system refused something: an address, a process; `reload --wait`, `upgrade --wait`: the old goes on |
/// | 3 | the application could not be loaded |
/// | 4 | workers died again and again before one was ready |
/// | 70 | a bug in rusgi (`EX_SOFTWARE`) |
/// | 78 | the command line or a setting is wrong (`EX_CONFIG`) |
pub fn run(door: Door, argv: Vec<String>) -> u8 {
    guarded(|| parse_and_run(door, argv))
}

/// Runs `work`; a panic in it is an exit code, and its text is in the log, where logging's hook has put it.
fn guarded(work: impl FnOnce() -> u8) -> u8 {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(BUG)
}

fn parse_and_run(door: Door, argv: Vec<String>) -> u8 {
    let matches = match CommandLine::command().try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) => return explain(&error),
    };
    match CommandLine::from_arg_matches(&matches) {
        Ok(CommandLine { command }) => match command {
            Command::Serve(args) => serve::run(door, &args, matches.subcommand_matches("serve")),
            Command::Status(args) => status::run(&args),
            Command::Reload(args) => reload::run(&args),
            Command::Upgrade(args) => upgrade::run(&args),
            Command::Scale(args) => scale::run(&args),
            Command::Stop(args) => stop::run(&args),
            Command::Ping(args) => ping::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Init(args) => init::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
            Command::Call(args) => call::run(&args),
            Command::Bench(args) => bench::run(&args),
        },
        Err(error) => explain(&error),
    }
}

/// Help and version are answers; everything else is a mistake.
fn explain(error: &clap::Error) -> u8 {
    // Without a terminal or a reader there is nobody to tell.
    let _unreadable = error.print();
    if error.use_stderr() { MISCONFIGURED } else { 0 }
}

/// Writes an answer to standard output.
fn say(text: &str) {
    let _unreadable = io::stdout().write_all(format!("{}\n", text.trim_end()).as_bytes());
}

/// Writes to standard error before there is a log.
fn complain(line: &str) {
    let _unreadable = io::stderr().write_all(format!("rusgi: {line}\n").as_bytes());
}

/// What was asked for could not be had.
const FAILED: u8 = 1;
/// A bug of ours: `EX_SOFTWARE` of sysexits.h.
const BUG: u8 = 70;
/// A setting is wrong: `EX_CONFIG` of sysexits.h, which systemd's `RestartPreventExitStatus` can name.
const MISCONFIGURED: u8 = 78;
