//! What a process wrote to its standard error, line by line, as it comes.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use super::DEADLINE;

/// The lines so far, and whether every writer has gone.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

/// A log that can be waited on.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Lines>, Condvar)>);

impl Log {
    /// Follows `source` until its last writer closes it.
    pub(crate) fn follow(source: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let kept = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                kept.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                kept.0.1.notify_all();
            }
            kept.lock().ended = true;
            kept.0.1.notify_all();
        });
        log
    }

    /// Waits for a line that holds every one of `words`.
    pub(crate) fn await_line(&self, words: &[&str]) -> String {
        self.await_change(&format!("a line with {words:?}"), |lines| {
            lines.lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        })
    }

    /// Waits until every process that could write has gone, and returns all it wrote.
    pub(crate) fn await_end(&self) -> Vec<String> {
        self.await_change("the end of the log", |lines| lines.ended.then(|| lines.lines.clone()))
    }

    /// The lines so far that hold every one of `words`.
    pub(crate) fn with(&self, words: &[&str]) -> Vec<String> {
        self.lock().lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
    }

    pub(crate) fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    fn await_change<T>(&self, what: &str, found: impl Fn(&Lines) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut lines = self.lock();
        loop {
            if let Some(value) = found(&lines) {
                return value;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !lines.ended, "{what} never came in:\n{}", lines.lines.join("\n"));
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A test that failed while it held the lock still wants its log shown.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
