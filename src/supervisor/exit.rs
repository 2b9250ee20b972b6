//! How a supervisor ends, as its parent sees it.

/// Why the supervisor has ended; its number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked.
    Stopped = 0,
    /// The system refused something: an address, a process.
    Refused = 1,
    /// The application could not be loaded.
    NotLoaded = 3,
    /// Workers or forkservers died again and again before any worker was ready.
    CrashLoop = 4,
    /// It was started as somebody it must not run as.
    Misconfigured = 78,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}
