//! `rusgi serve`: serve an application until told to stop.

use std::path::PathBuf;

use clap::{ArgMatches, builder::BoolishValueParser};
use tracing::error;

use crate::{
    cli::{MISCONFIGURED, complain, privileges::PrivilegeArgs, settings, supervision::SupervisionArgs},
    config::{Config, Problem, Range},
    forkserver::{self, process},
    observe::{
        logging::{self, Process},
        scoreboard::Scoreboard,
    },
    python::{self, Door},
    supervisor::{self, Birth, Ended, Fork, Predecessor},
};

/// The options of `rusgi serve`, as typed.
#[derive(Debug, clap::Args)]
#[command(
    about = "Serve an application",
    long_about = "Serve a WSGI application to nginx's uwsgi_pass.\n\n\
        SIGTERM and SIGINT stop it gracefully, a second one and SIGQUIT at once. SIGHUP loads new code beside the old,\n\
        which goes on serving until the new is ready. SIGUSR2 does so with a new executable of rusgi. SIGTTIN and SIGTTOU add and remove a worker.\n\
        Durations are seconds (25) or carry a unit (500ms, 25s, 2m); sizes are bytes or carry a unit (256k, 10m)."
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) app: AppArgs,
    #[command(flatten)]
    pub(super) listen: ListenArgs,
    #[command(flatten)]
    pub(super) workers: WorkerArgs,
    #[command(flatten)]
    pub(super) supervision: SupervisionArgs,
    #[command(flatten)]
    pub(super) privileges: PrivilegeArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// What to load.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Application")]
pub(super) struct AppArgs {
    /// The application, as `config::Target` reads it.
    #[arg(help_heading = "Argument", help = TARGET, long_help = [TARGET, TARGET_MORE].concat())]
    pub(super) target: String,
    /// PREFIX=TARGET: serve another application below a path; may be repeated [default: none]
    ///
    /// The prefix ends at the end of a path segment and moves from PATH_INFO to SCRIPT_NAME. In the environment variable a
    /// comma separates mounts.
    #[arg(long, env = "RUSGI_MOUNT", value_name = "MOUNT", value_delimiter = ',')]
    pub(super) mount: Vec<String>,
    /// Directory to enter before anything is imported [default: where rusgi is started]
    #[arg(long, env = "RUSGI_CHDIR", value_name = "DIR")]
    pub(super) chdir: Option<PathBuf>,
    /// Directory to import from, before all others; may be repeated [default: none]
    ///
    /// Relative to --chdir. In the environment variable a colon separates directories.
    #[arg(long, env = "RUSGI_PYTHONPATH", value_name = "DIR", value_delimiter = ':')]
    pub(super) pythonpath: Vec<PathBuf>,
    /// Virtual environment to import packages from [default: the one rusgi is started in]
    #[arg(long, env = "RUSGI_VIRTUALENV", value_name = "DIR")]
    pub(super) virtualenv: Option<PathBuf>,
    /// Load the application once, before the workers are forked [default: each worker loads it]
    ///
    /// Shares memory between workers. Threads and connections that the application opens while it is
    /// imported do not survive the fork.
    #[arg(long, env = "RUSGI_PRELOAD", value_parser = BoolishValueParser::new())]
    pub(super) preload: bool,
}

/// What to listen on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sockets")]
pub(super) struct ListenArgs {
    /// unix:PATH, /absolute/path, HOST:PORT or :PORT (loopback); may be repeated
    ///
    /// In the environment variable a comma separates addresses. A dead socket at PATH is replaced, a live one never.
    /// Sockets that systemd passes are served as well, and replace the default.
    #[arg(long, env = "RUSGI_SOCKET", value_name = "ADDR", value_delimiter = ',', default_value = "127.0.0.1:3031")]
    pub(super) socket: Vec<String>,
    /// Octal permissions of a Unix socket's file
    #[arg(long, env = "RUSGI_SOCKET_MODE", value_name = "MODE", default_value = "660")]
    pub(super) socket_mode: String,
    /// USER, USER:GROUP or :GROUP that owns a Unix socket's file [default: --user, or whoever runs rusgi]
    #[arg(long, env = "RUSGI_SOCKET_OWNER", value_name = "OWNER")]
    pub(super) socket_owner: Option<String>,
    /// Connections that may wait in the listen queue [default: net.core.somaxconn, at most 4096]
    #[arg(long, env = "RUSGI_BACKLOG", value_name = "N", allow_hyphen_values = true)]
    pub(super) backlog: Option<String>,
    /// Networks that TCP peers must come from: ADDRESS or ADDRESS/BITS; others are turned away [default: anywhere]
    ///
    /// May be repeated, or separated by commas. A peer that is turned away is closed upon before a byte of it is read.
    #[arg(long, env = "RUSGI_ALLOW_FROM", value_name = "CIDR", value_delimiter = ',')]
    pub(super) allow_from: Vec<String>,
    /// Users whose processes may connect to Unix sockets, besides rusgi's own [default: whom the file's mode lets]
    ///
    /// May be repeated, or separated by commas. The kernel says who connects (SO_PEERCRED); behind nginx it is nginx's user.
    #[arg(long, env = "RUSGI_ALLOW_USER", value_name = "USER", value_delimiter = ',')]
    pub(super) allow_user: Vec<String>,
}

/// Who serves.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Processes")]
pub(super) struct WorkerArgs {
    /// Worker processes: N, or as many from MIN to MAX as the load demands [default: the CPUs that affinity and cgroup allow]
    ///
    /// There are more within about a second when the threads are busy or connections wait, and one less each time it has
    /// been quiet for --scale-down-after. A busy worker is never killed for that.
    #[arg(long, env = "RUSGI_WORKERS", value_name = "N|MIN..MAX", allow_hyphen_values = true)]
    pub(super) workers: Option<String>,
    /// How long fewer workers must have been enough before there is one less, with --workers MIN..MAX
    #[arg(
        long,
        env = "RUSGI_SCALE_DOWN_AFTER",
        value_name = "TIME",
        default_value = "30s",
        allow_hyphen_values = true
    )]
    pub(super) scale_down_after: String,
    /// Python threads in each worker
    #[arg(long, env = "RUSGI_THREADS", value_name = "N", default_value = "1", allow_hyphen_values = true)]
    pub(super) threads: String,
    /// How long a Python thread waits for the GIL before the one that has it must let go [default: what the application has set, else 1ms with several threads, 5ms with one]
    ///
    /// Shorter, and requests beside one that computes wait less, while switching costs more: see docs/python.md.
    #[arg(long, env = "RUSGI_SWITCH_INTERVAL", value_name = "TIME", allow_hyphen_values = true)]
    pub(super) switch_interval: Option<String>,
    /// How long requests in flight may take to finish once rusgi is stopped
    #[arg(long, env = "RUSGI_STOP_TIMEOUT", value_name = "TIME", default_value = "25s", allow_hyphen_values = true)]
    pub(super) stop_timeout: String,
    /// How long a request may take before it is interrupted and answered with 504; 0 for as long as it likes
    ///
    /// The application changes it for the request at hand by rusgi.request_timeout(SECONDS).
    #[arg(long, env = "RUSGI_REQUEST_TIMEOUT", value_name = "TIME", default_value = "55s", allow_hyphen_values = true)]
    pub(super) request_timeout: String,
    /// How long an interrupted request may take to end before it is answered without it and its worker is replaced
    #[arg(long, env = "RUSGI_TIMEOUT_GRACE", value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub(super) timeout_grace: String,
    /// How long a request may wait for a thread; where it would be longer, those who wait are answered with 503; 0 for no limit
    ///
    /// Counted while the connection is in the listen queue, and foreseen from how fast requests are served.
    #[arg(long, env = "RUSGI_QUEUE_TIMEOUT", value_name = "TIME", default_value = "10s", allow_hyphen_values = true)]
    pub(super) queue_timeout: String,
}

/// What a peer may take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Bytes of a request body that are gathered before a Python thread is taken; of a longer body a quarter that comes in one go is enough
    #[arg(long, env = "RUSGI_BODY_BUFFER", value_name = "SIZE", default_value = "256k", allow_hyphen_values = true)]
    pub(super) body_buffer: String,
    /// Longest request body that is served; a longer one is answered with 413 [default: what nginx lets through]
    #[arg(long, env = "RUSGI_MAX_BODY", value_name = "SIZE", allow_hyphen_values = true)]
    pub(super) max_body: Option<String>,
    /// How long a request body may pause before the request is answered with 408
    #[arg(long, env = "RUSGI_BODY_TIMEOUT", value_name = "TIME", default_value = "30s", allow_hyphen_values = true)]
    pub(super) body_timeout: String,
    /// How long a request's head may take to arrive before it is answered with 408
    #[arg(long, env = "RUSGI_HEAD_TIMEOUT", value_name = "TIME", default_value = "10s", allow_hyphen_values = true)]
    pub(super) head_timeout: String,
    /// How long a peer may take nothing of a response before the connection is closed
    #[arg(long, env = "RUSGI_WRITE_TIMEOUT", value_name = "TIME", default_value = "60s", allow_hyphen_values = true)]
    pub(super) write_timeout: String,
}

/// What to log.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// Least important level that is logged: error, warn, info or debug
    #[arg(long, env = "RUSGI_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: String,
    /// text for people, json for one object to a line; both go to standard error
    #[arg(long, env = "RUSGI_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: String,
}

const TARGET: &str = "MODULE[:CALLABLE], or a .py or .wsgi file in place of the module [default callable: application]";
const TARGET_MORE: &str = "\n\nCALLABLE() calls a factory without arguments. A file is looked up in --chdir.";

/// Serves as `args` say; `sources` knows which of them came from the environment.
pub(super) fn run(door: Door, args: &Args, sources: Option<&ArgMatches>) -> u8 {
    let predecessor = match Predecessor::from_env() {
        Ok(predecessor) => predecessor,
        Err(error) => {
            complain(&format!("the rusgi that is to be replaced cannot be heard ({error}): start anew"));
            return supervisor::Exit::Refused.code();
        }
    };
    let config = match settings::check(args, sources) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, predecessor.as_ref()),
    };
    // The log must not find something else in the place of a standard error that was closed.
    let prepared = process::open_standard_streams().and_then(|()| process::keep_children());
    logging::start(config.log);
    logging::set_process(if predecessor.is_some() { Process::Successor } else { Process::Supervisor });
    if let Err(refusal) = prepared {
        error!("this process cannot be prepared ({refusal}); check /dev/null and the limit on open files");
        return supervisor::Exit::Refused.code();
    }
    match Scoreboard::new(room(config.workers.range), config.workers.threads) {
        Ok(scoreboard) => supervise(door, &config, scoreboard, predecessor),
        Err(refusal) => {
            error!("the scoreboard cannot be made ({refusal}); free some memory, or use fewer workers and threads");
            supervisor::Exit::Refused.code()
        }
    }
}

/// How many workers there may be at a time: eight generations of as many as there may ever be, one more that is on trial, and
/// replacements. Operators may ask for more workers later; pages that are not used cost nothing.
fn room(workers: Range) -> usize {
    9 * workers.most.max(64) + 16
}

/// Says what is wrong, to a predecessor as well.
fn refuse(problems: &[Problem], predecessor: Option<&Predecessor>) -> u8 {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.iter().for_each(|problem| complain(problem));
    predecessor.into_iter().for_each(|predecessor| predecessor.report(&problems.join("\n")));
    MISCONFIGURED
}

/// Returns in the supervisor, in every forkserver and in every worker; each has its own exit code.
fn supervise(door: Door, config: &Config, scoreboard: Scoreboard, predecessor: Option<Predecessor>) -> u8 {
    match supervisor::run(config, scoreboard, predecessor, &mut || fork(door)) {
        Ended::Exit(exit) => exit.code(),
        Ended::Forkserver(Birth { generation, listeners, channel }) => {
            logging::set_process(Process::Forkserver(generation));
            process::end(super::guarded(|| forkserver::run(door, config, scoreboard, listeners, channel)))
        }
    }
}

/// An interpreter that is there already has to be told of the fork.
fn fork(door: Door) -> std::io::Result<Fork> {
    match door {
        Door::Embedded => Ok(process::fork()?.map_or(Fork::Child, Fork::Parent)),
        Door::Extension => Ok(match python::fork()? {
            python::Fork::Parent(pid) => Fork::Parent(pid),
            python::Fork::Child => Fork::Child,
        }),
    }
}
