//! Processes as the operating system shows them.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid as RawPid, PidfdFlags, pidfd_open},
};

use super::DEADLINE;

/// Sends `which` to `pid`, which must exist.
pub(crate) fn signal(pid: i32, which: Signal) {
    signal::kill(Pid::from_raw(pid), which).unwrap_or_else(|error| panic!("{which} to {pid}: {error}"));
}

/// Waits until `pid` has ended; tells whether it did in time.
pub(crate) fn has_ended(pid: i32, within: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(RawPid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
        return true;
    };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap(), tv_nsec: within.subsec_nanos().into() };
    poll(&mut fds, Some(&timeout)).unwrap() > 0
}

/// The direct children of `pid`, oldest first.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// How many threads `pid` has.
pub(crate) fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// How many descriptors `pid` has open.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The CPU time that `pid` has used so far, in clock ticks (a hundredth of a second everywhere).
pub(crate) fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = behind_name.split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|time| time.parse::<u64>().unwrap()).sum()
}

/// Whether `holds` comes true in time; for what the operating system tells nobody about.
pub(crate) fn eventually(holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while !holds() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    holds()
}

/// A TCP port of the loopback interface that nobody uses.
///
/// Ports come from below the range the kernel hands out to clients, so no connection can take one meanwhile.
pub(crate) fn free_port() -> u16 {
    use std::{
        net::TcpListener,
        sync::atomic::{AtomicU32, Ordering},
    };
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut candidates = std::iter::repeat_with(|| {
        let step = std::process::id() * 131 + NEXT.fetch_add(1, Ordering::Relaxed);
        10_000 + u16::try_from(step % 20_000).unwrap()
    });
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
