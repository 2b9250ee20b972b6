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

/// The children of `pid` that are alive.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    // `/proc/PID/task/PID/children` leaves out some while others come and go.
    let listed = fs::read_dir("/proc").unwrap().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.filter(|child| has_parent(*child, pid)).collect()
}

/// Whether `pid` is alive and a child of `parent`.
fn has_parent(pid: i32, parent: i32) -> bool {
    let fields = stat(pid);
    let is_zombie = fields.first().is_some_and(|state| state == "Z");
    !is_zombie && fields.get(1) == Some(&parent.to_string())
}

/// The fields of `/proc/PID/stat` from the state on; none when there is no such process.
fn stat(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name in front of them stands in parentheses and may hold anything.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(String::from).collect()
}

/// How many threads `pid` has.
pub(crate) fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// How many descriptors `pid` has open.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The memory of `pid` that is resident, in KiB.
pub(crate) fn resident(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The CPU time that `pid` has used so far, in clock ticks (a hundredth of a second everywhere).
pub(crate) fn ticks(pid: i32) -> u64 {
    let fields = stat(pid);
    fields[11..13].iter().map(|time| time.parse::<u64>().unwrap()).sum()
}

/// How often the main thread of `pid` has gone to sleep so far.
pub(crate) fn sleeps(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Whether `holds` comes true in time; for what the operating system tells nobody about.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
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
