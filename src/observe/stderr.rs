//! Standard error, which several processes share and nobody may be reading.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes `line` with one `write(2)`, so that lines of different processes do not mix.
///
/// A reader that takes nothing holds us up for a second at most; what cannot be written is counted and the line is lost.
pub(super) fn write_line(line: &[u8]) {
    let lost = LOST.load(Ordering::Relaxed);
    let patience = if lost == 0 { PATIENCE } else { Timespec { tv_sec: 0, tv_nsec: 0 } };
    let mut stderr = io::stderr();
    if !is_writable(&stderr, &patience) {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if lost > 0 {
        LOST.fetch_sub(lost, Ordering::Relaxed);
        // There is nowhere left to report that standard error fails.
        let _unreadable =
            stderr.write_all(format!("{lost} log lines are lost: nobody read standard error\n").as_bytes());
    }
    let _unreadable = stderr.write_all(line);
}

/// A closed descriptor counts as writable: the write fails, and quickly.
fn is_writable(descriptor: impl AsFd, patience: &Timespec) -> bool {
    let mut wanted = [PollFd::new(&descriptor, PollFlags::OUT)];
    !matches!(rustix::io::retry_on_intr(|| poll(&mut wanted, Some(patience))), Ok(0))
}

const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Lines lost since the last one that could be written.
static LOST: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

    #[test]
    fn a_full_pipe_is_not_writable_and_a_broken_one_is() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(is_writable(&writer, &AT_ONCE));
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        assert!(!is_writable(&writer, &AT_ONCE));
        drop(reader);
        assert!(is_writable(&writer, &AT_ONCE));
    }
}
