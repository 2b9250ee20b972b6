//! Standard error, which several processes share and nobody may be reading: a line that would have to wait is lost and counted.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::net::{SendFlags, send};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    io::{Errno, write},
};

/// Finds out what standard error is; best before privileges are given up, which may be needed to open it once more.
pub(super) fn open() {
    WAY.get_or_init(|| Way::to(io::stderr().as_fd()));
}

/// Writes `line`; once lines have been lost, what `confess` says of their number goes before the first that is not.
///
/// A reader that takes nothing costs 5 ms, once; a destination that fails costs nothing.
pub(super) fn write_line(line: &[u8], confess: impl FnOnce(u64) -> Vec<u8>) {
    let way = WAY.get_or_init(|| Way::to(io::stderr().as_fd()));
    let stderr = io::stderr();
    let patience = if IS_STALLED.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
    let lost = LOST.swap(0, Ordering::Relaxed);
    let written = if lost == 0 {
        way.write_all(stderr.as_fd(), line, patience)
    } else {
        let end_of_torn: &[u8] = if IS_TORN.load(Ordering::Relaxed) { b"\n" } else { b"" };
        way.write_all(stderr.as_fd(), &[end_of_torn, &confess(lost), line].concat(), patience)
    };
    IS_STALLED.store(written != Written::Whole, Ordering::Relaxed);
    match written {
        Written::Whole => IS_TORN.store(false, Ordering::Relaxed),
        Written::Partly => IS_TORN.store(true, Ordering::Relaxed),
        Written::Not => {}
    }
    if written != Written::Whole {
        LOST.fetch_add(lost + 1, Ordering::Relaxed);
    }
}

/// How lines get there without waiting for a reader.
#[derive(Debug)]
enum Way {
    /// A pipe or a terminal, opened once more: that it does not wait is then nobody's affair but ours.
    Own(OwnedFd),
    /// The same where it may not be opened: what the kernel says it has room for.
    Shared,
    /// A socket, where every call says that it is not to wait.
    Socket,
    /// What has no reader: a file, `/dev/null`.
    File,
}

/// How much of a line has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Whole,
    Partly,
    Not,
}

impl Way {
    fn to(descriptor: BorrowedFd<'_>) -> Self {
        match fstat(descriptor).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Socket) => Self::Socket,
            Ok(FileType::Fifo) => reopened(descriptor).map_or(Self::Shared, Self::Own),
            Ok(FileType::CharacterDevice) if descriptor.is_terminal() => {
                reopened(descriptor).map_or(Self::Shared, Self::Own)
            }
            _ => Self::File,
        }
    }

    /// Writes all of `line` to `stderr` that gets there within `patience`.
    fn write_all(&self, stderr: BorrowedFd<'_>, line: &[u8], patience: Duration) -> Written {
        let mut rest = line;
        let mut deadline = None;
        while !rest.is_empty() {
            match self.write(stderr, rest) {
                Ok(0) => break,
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
                    if !is_writable(self.descriptor(stderr), deadline.saturating_duration_since(Instant::now())) {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        match rest.len() {
            0 => Written::Whole,
            left if left < line.len() => Written::Partly,
            _ => Written::Not,
        }
    }

    fn write(&self, stderr: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Own(own) => write(own, bytes),
            Self::Shared if !is_writable(stderr, Duration::ZERO) => Err(Errno::AGAIN),
            Self::Shared => write(stderr, bytes.get(..PIPE_BUF).unwrap_or(bytes)),
            Self::Socket => send(stderr, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::File => write(stderr, bytes),
        }
    }

    fn descriptor<'a>(&'a self, stderr: BorrowedFd<'a>) -> BorrowedFd<'a> {
        if let Self::Own(own) = self { own.as_fd() } else { stderr }
    }
}

/// Another description of the same pipe or terminal, whose writes do not wait.
fn reopened(descriptor: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).ok()
}

/// A closed descriptor counts as writable: the write fails, and quickly.
fn is_writable(descriptor: BorrowedFd<'_>, patience: Duration) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    let mut wanted = [PollFd::from_borrowed_fd(descriptor, PollFlags::OUT)];
    !matches!(rustix::io::retry_on_intr(|| poll(&mut wanted, Some(&timeout))), Ok(0))
}

/// How long a line waits for a reader that has taken the last one.
const PATIENCE: Duration = Duration::from_millis(5);
/// What a pipe that can be written has room for: a page at least.
const PIPE_BUF: usize = 4096;

static WAY: OnceLock<Way> = OnceLock::new();
/// Lines lost since the last one that could be written.
static LOST: AtomicU64 = AtomicU64::new(0);
/// The last line could not be written.
static IS_STALLED: AtomicBool = AtomicBool::new(false);
/// The last thing written was the beginning of a line.
static IS_TORN: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// More than a pipe or a socket holds.
    const LARGE: &[u8] = &[b'x'; 1 << 20];

    #[test]
    fn a_full_pipe_is_not_waited_for_and_a_broken_one_fails() {
        for way in [|fd: BorrowedFd<'_>| Way::to(fd), |_: BorrowedFd<'_>| Way::Shared] {
            let (reader, writer) = io::pipe().unwrap();
            let way = way(writer.as_fd());
            let write = |line| way.write_all(writer.as_fd(), line, Duration::ZERO);
            assert_eq!(write(b"line\n"), Written::Whole);
            assert_eq!(write(LARGE), Written::Partly);
            assert_eq!(write(LARGE), Written::Not);
            drop(reader);
            assert_eq!(write(b"line\n"), Written::Not);
        }
    }

    #[test]
    fn a_pipe_stays_as_it_was_for_others() {
        let (_reader, writer) = io::pipe().unwrap();
        assert!(matches!(Way::to(writer.as_fd()), Way::Own(_)));
        assert!(!rustix::fs::fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_full_socket_is_not_waited_for() {
        let (_reader, writer) = UnixStream::pair().unwrap();
        let way = Way::to(writer.as_fd());
        assert_eq!(way.write_all(writer.as_fd(), &LARGE[..100_000], Duration::ZERO), Written::Whole);
        assert_ne!(way.write_all(writer.as_fd(), LARGE, Duration::ZERO), Written::Whole);
    }

    #[test]
    fn a_file_takes_a_line_of_any_length() {
        let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(Way::to(null.as_fd()).write_all(null.as_fd(), LARGE, Duration::ZERO), Written::Whole);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(Way::to(full.as_fd()).write_all(full.as_fd(), b"line\n", Duration::ZERO), Written::Not);
    }
}
