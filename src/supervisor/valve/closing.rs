//! The last of the queue: whoever still waits when no worker accepts any more is told so before the sockets are closed.

use std::{
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{
    net::{listener::Listener, refusal::Refusal},
    supervisor::valve::{BATCH, Valve},
};

impl Valve {
    /// Turns away `most` of those who wait at each socket that nobody keeps after us.
    ///
    /// 503 is for a web server on this machine. One on another machine may have more servers to try, which it does after a reset and
    /// not after a 503.
    pub(super) fn dismiss(&mut self, listeners: &[Listener], most: u64, now: Instant) {
        let (page, before) = (Refusal::Closing.page(false), self.refused);
        for listener in listeners.iter().filter(|listener| listener.is_ours()) {
            if listener.is_local() {
                self.turn_away(listener, most, |leaving| leaving.turn_away(listener, &page, now));
            } else {
                self.turn_away(listener, most, |leaving| leaving.reset(listener));
            }
        }
        self.story.dismissed += self.refused - before;
    }

    /// The last word before the sockets are closed; it takes no longer than [`FAREWELL`].
    pub(in crate::supervisor) fn close(&mut self, listeners: &[Listener]) {
        let start = Instant::now();
        self.dismiss(listeners, LAST_BATCH, start);
        while !self.leaving.is_empty() && start.elapsed() < FAREWELL {
            thread::sleep(INTERVAL);
            self.leaving.sweep(Instant::now());
        }
        if self.story.dismissed > 0 {
            warn!(
                "connections that no worker accepted any more were turned away while stopping: {}",
                self.story.dismissed
            );
        }
    }
}

/// As many as the longest listen queue holds by default (`net.core.somaxconn`).
const LAST_BATCH: u64 = 16 * BATCH;
/// How long whoever has just been answered may go on sending.
const FAREWELL: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(2);
