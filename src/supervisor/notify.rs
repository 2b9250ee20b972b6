//! What systemd is told: `sd_notify(3)`, with the watchdog and the file descriptor store.
//!
//! The socket is connected once, before privileges are dropped, and never waited on: a state that does not fit is sent again later.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    process,
    time::{Duration, Instant},
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
        connect, sendmsg, socket_with,
    },
    time::{ClockId, clock_gettime},
};
use tracing::{debug, warn};

/// Where the daemon stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What systemd acts on.
    pub(super) stage: Stage,
    /// What `systemctl status` shows.
    pub(super) text: String,
}

/// The stages that systemd knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not every worker has been ready yet.
    Starting,
    /// Requests are served.
    Ready,
    /// Requests are served while new code is being loaded.
    Reloading,
    /// No more requests are accepted.
    Stopping,
}

/// The way to systemd; without one everything here does nothing.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<OwnedFd>,
    watchdog: Option<Watchdog>,
    has_store: bool,
    said: Option<Standing>,
    is_unheard: bool,
}

/// systemd takes us for dead when it hears nothing for two periods.
#[derive(Debug)]
struct Watchdog {
    period: Duration,
    due: Instant,
}

impl Notify {
    /// Connects to the socket that `NOTIFY_SOCKET` names, if it names one.
    pub(super) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let socket = match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!("NOTIFY_SOCKET={}: {error}; systemd will not hear of this daemon", name.display());
                None
            }
        };
        let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let is_for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let timeout = number("WATCHDOG_USEC").filter(|timeout| *timeout > 0 && is_for_us);
        Self {
            watchdog: timeout.map(|micros| Watchdog::new(Duration::from_micros(micros), Instant::now())),
            has_store: number("FDSTORE").is_some_and(|most| most > 0),
            socket,
            ..Self::default()
        }
    }

    /// Tells systemd what has changed since it was told last, and that we are alive when that is due.
    pub(super) fn report(&mut self, standing: Standing, now: Instant) {
        self.is_unheard = false;
        let change = change(self.said.as_ref(), &standing);
        if !change.is_empty() && self.send(&change) {
            self.said = Some(standing);
        }
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.beat(now)) {
            self.send("WATCHDOG=1");
        }
    }

    /// Tells systemd that a reload has begun; it is over with the next [`Notify::report`] that says [`Stage::Ready`].
    pub(super) fn reloading(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
        if let Some(said) = &mut self.said {
            said.stage = Stage::Reloading;
        }
    }

    /// Tells systemd that `pid` is the service's main process from now on; whether it has been told, or is not there.
    pub(super) fn name_main_process(&mut self, pid: i32) -> bool {
        self.socket.is_none() || self.send(&format!("MAINPID={pid}"))
    }

    /// When [`Notify::report`] is due, whatever else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let again = self.is_unheard.then(|| Instant::now() + RETRY);
        self.watchdog.as_ref().map(|watchdog| watchdog.due).into_iter().chain(again).min()
    }

    /// Has systemd keep `socket` as `name` for the next supervisor; tells whether it was asked to.
    ///
    /// systemd 254 and later say by `FDSTORE` that the unit allows it.
    pub(super) fn keep(&mut self, name: &str, socket: BorrowedFd<'_>) -> bool {
        self.has_store && self.send_with(&format!("FDSTORE=1\nFDNAME={name}"), Some(socket))
    }

    /// Has systemd close what it keeps as `name`.
    pub(super) fn forget(&mut self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    fn send(&mut self, state: &str) -> bool {
        self.send_with(state, None)
    }

    fn send_with(&mut self, state: &str, descriptor: Option<BorrowedFd<'_>>) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        match send(socket.as_fd(), state, descriptor) {
            Ok(()) => return true,
            // Nobody has taken what was sent before.
            Err(Errno::AGAIN | Errno::NOBUFS) => self.is_unheard = true,
            Err(error) => debug!("systemd cannot be told {state:?}: {error}"),
        }
        false
    }
}

impl Watchdog {
    /// Twice as often as needed, as `sd_watchdog_enabled(3)` advises.
    fn new(timeout: Duration, now: Instant) -> Self {
        Self { period: timeout / 2, due: now }
    }

    /// Whether it is time to say that we are alive.
    fn beat(&mut self, now: Instant) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + self.period;
        }
        is_due
    }
}

/// The datagram that leads from `said` to `standing`; empty when nothing has changed.
fn change(said: Option<&Standing>, standing: &Standing) -> String {
    let mut lines = Vec::new();
    if said.map(|said| said.stage) != Some(standing.stage) {
        match standing.stage {
            Stage::Ready => lines.push(Cow::from(format!("READY=1\nMAINPID={}", process::id()))),
            Stage::Stopping => lines.push("STOPPING=1".into()),
            // A reload is announced with its time, when it begins.
            Stage::Starting | Stage::Reloading => {}
        }
    }
    if said.map(|said| &said.text) != Some(&standing.text) {
        lines.push(format!("STATUS={}", standing.text).into());
    }
    lines.join("\n")
}

fn open(name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddrUnix::new_abstract_name(abstract_name)?,
        None => SocketAddrUnix::new(name)?,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(socket)
}

fn send(socket: BorrowedFd<'_>, state: &str, descriptor: Option<BorrowedFd<'_>>) -> rustix::io::Result<()> {
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(socket, &[IoSlice::new(state.as_bytes())], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// When a state that systemd had no room for is sent again.
const RETRY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(stage: Stage, text: &str) -> Standing {
        Standing { stage, text: text.to_owned() }
    }

    #[test]
    fn only_what_has_changed_is_said() {
        let starting = standing(Stage::Starting, "starting");
        assert_eq!(change(None, &starting), "STATUS=starting");
        assert_eq!(change(Some(&starting), &starting), "");
        let ready = standing(Stage::Ready, "1/1 workers");
        let said = change(Some(&starting), &ready);
        assert_eq!(said, format!("READY=1\nMAINPID={}\nSTATUS=1/1 workers", process::id()));
        assert_eq!(change(Some(&ready), &standing(Stage::Ready, "0/1 workers")), "STATUS=0/1 workers");
        assert_eq!(change(Some(&ready), &standing(Stage::Stopping, "1/1 workers")), "STOPPING=1");
    }

    #[test]
    fn the_end_of_a_reload_is_said_by_being_ready_again() {
        let reloading = standing(Stage::Reloading, "generation 1");
        assert!(change(Some(&reloading), &standing(Stage::Ready, "generation 1")).starts_with("READY=1\n"));
        let mut notify = Notify { said: Some(standing(Stage::Ready, "generation 1")), ..Notify::default() };
        notify.reloading();
        assert_eq!(notify.said, Some(reloading));
    }

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(4), start);
        let beats = |watchdog: &mut Watchdog, millis| watchdog.beat(start + Duration::from_millis(millis));
        assert!(beats(&mut watchdog, 0));
        assert!(!beats(&mut watchdog, 1999));
        assert!(beats(&mut watchdog, 2000));
        assert!(!beats(&mut watchdog, 3999));
        assert_eq!(watchdog.due, start + Duration::from_secs(4));
    }

    #[test]
    fn without_systemd_nothing_is_kept_and_nothing_is_due() {
        let mut notify = Notify::default();
        notify.report(standing(Stage::Ready, ""), Instant::now());
        assert!(!notify.keep("x", std::io::stderr().as_fd()));
        assert_eq!(notify.deadline(), None);
    }
}
