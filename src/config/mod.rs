//! Settings as meant: checked once, immutable, one small struct for each part that consumes them.
//!
//! How an option is spelled belongs to [`crate::cli`]; what its value may be, and what it stands for, is decided here.

pub mod address;
pub mod admission;
pub mod admin;
pub mod container;
pub mod log;
pub mod machine;
pub mod mount;
pub mod owner;
pub mod privileges;
pub mod problem;
pub mod quantity;
pub mod range;
pub mod supervision;
pub mod target;

use std::{path::PathBuf, time::Duration};

pub use address::Address;
pub use admin::Admin;
pub use admission::Admission;
pub use log::{Format, Level, Log};
pub use mount::Mount;
pub use owner::Owner;
pub use privileges::{Account, Known, Privileges};
pub use problem::Problem;
pub use range::Range;
pub use supervision::{Recycling, Supervision};
pub use target::{Callable, Target};

/// Everything one `rusgi serve` runs by. Nothing below the process model sees the whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What to load, and where.
    pub app: App,
    /// What to listen on.
    pub listen: Listen,
    /// How many processes and threads serve, and how they stop.
    pub workers: Workers,
    /// How processes are started, renewed and asked about.
    pub supervision: Supervision,
    /// Whom everything runs as.
    pub privileges: Privileges,
    /// How much of what a peer may take.
    pub limits: Limits,
    /// What operators read.
    pub log: Log,
}

/// The application and the Python it runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Where the WSGI callable is found.
    pub target: Target,
    /// Applications served below a path instead of `target`.
    pub mounts: Vec<Mount>,
    /// The directory to change to before anything is imported; absolute. `None` keeps the one rusgi was started in.
    pub chdir: Option<PathBuf>,
    /// Directories put in front of `sys.path`, first one first; absolute.
    pub pythonpath: Vec<PathBuf>,
    /// The virtual environment whose packages are importable; absolute.
    pub virtualenv: Option<PathBuf>,
    /// Who it runs as, when that is not whoever started rusgi.
    pub user: Option<Known>,
    /// Whether the application is loaded once, before the workers are forked, rather than by each of them.
    pub preload: bool,
}

/// The sockets nginx connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where to listen; at least one.
    pub addresses: Vec<Address>,
    /// Whether these are nobody's choice, and so give way to sockets that systemd passes.
    pub is_default: bool,
    /// Permission bits of a Unix socket's file.
    pub socket_mode: u32,
    /// Who owns a Unix socket's file, when that is not to be whoever runs rusgi.
    pub socket_owner: Option<Owner>,
    /// Connections that may wait in the listen queue; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: i32,
    /// Who may connect.
    pub admission: Admission,
}

/// The worker processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Worker processes.
    pub range: Range,
    /// How long less must have been enough before there is one worker less.
    pub scale_down_after: Duration,
    /// Python threads (desks) in each worker; at least 1.
    pub threads: usize,
    /// How long a thread that wants the GIL waits before it asks the one that has it to let go; `None` for what suits the number of threads.
    pub switch_interval: Option<Duration>,
    /// How long requests in flight may take to finish once rusgi was asked to stop.
    pub stop_timeout: Duration,
    /// How long a request may take before it is interrupted; `None` for as long as it likes.
    pub request_timeout: Option<Duration>,
    /// How long a connection may be in the listen queue; `None` for as long as there is room.
    pub queue_timeout: Option<Duration>,
    /// How long an interrupted request may take to end before its worker is given up.
    pub timeout_grace: Duration,
}

impl Workers {
    /// How long a worker may go on with what it has once another serves in its place: no shorter than a request's own time,
    /// because nobody waits for it.
    #[must_use]
    pub fn leave_timeout(&self) -> Duration {
        let longest = self.request_timeout.map_or(Duration::ZERO, |timeout| timeout + self.timeout_grace);
        self.stop_timeout.max(longest)
    }
}

/// What one connection may take, in memory and in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body that are gathered before a desk is taken; the rest streams to the application.
    pub body_buffer: usize,
    /// The longest request body that is served at all, in bytes; `None` leaves that to nginx's `client_max_body_size`.
    pub max_body: Option<u64>,
    /// How long a request body that has begun may pause.
    pub body_timeout: Duration,
    /// How long a packet's header and vars may take to arrive.
    pub head_timeout: Duration,
    /// How long a peer may take nothing of a response that is waiting for it.
    pub write_timeout: Duration,
}
