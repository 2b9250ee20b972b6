//! The supervisor's eyes and hands: waits on descriptors, tells the fleet what happened, does what the fleet decides.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{WaitOptions, wait},
};
use tracing::{debug, error, info, warn};

use crate::{
    channel::{Channel, Message, Received},
    net::listener::Listener,
    supervisor::{
        Birth, Ended, Fork, Forker,
        ending::Ending,
        fleet::{Action, Event, Fleet, Stop},
        signals::Signals,
        sockets,
    },
};

/// The fleet with everything that connects it to the world.
pub(super) struct Watch {
    fleet: Fleet,
    listeners: Vec<Listener>,
    signals: Signals,
    forkserver: Option<Channel>,
    workers: BTreeMap<u32, Channel>,
}

/// A descriptor that has something to say.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Forkserver,
    Worker(u32),
}

impl Watch {
    /// Watches over `fleet`, whose workers accept from `listeners`.
    pub(super) fn new(fleet: Fleet, listeners: Vec<Listener>, signals: Signals) -> Self {
        Self { fleet, listeners, signals, forkserver: None, workers: BTreeMap::new() }
    }

    /// Goes on until the fleet is over; in a forked child it returns at once, with everything of the supervisor's closed.
    pub(super) fn run(mut self, fork: Forker<'_>) -> Ended {
        loop {
            while let Some(action) = self.fleet.next_action() {
                if let Some((generation, channel)) = self.act(action, fork) {
                    return Ended::Forkserver(Birth { generation, listeners: self.listeners, channel });
                }
            }
            if let Some(exit) = self.fleet.over() {
                sockets::remove_files(&mut self.listeners);
                info!("stopped");
                return Ended::Exit(exit);
            }
            for source in self.wait() {
                self.attend(source);
            }
            self.tell(Event::Tick);
        }
    }

    fn tell(&mut self, event: Event) {
        self.fleet.apply(event, Instant::now());
    }

    /// Does one thing; returns something only in a newly forked process.
    fn act(&mut self, action: Action, fork: Forker<'_>) -> Option<(u32, Channel)> {
        match action {
            Action::StartForkserver { generation } => {
                return self.start_forkserver(generation, fork);
            }
            Action::Fork { slot } => self.request(slot),
            Action::Drain { slot } => self.drain(slot),
            Action::Retire => self.forkserver = None,
            Action::Kill { pid } => self.kill(pid),
        }
        None
    }

    fn start_forkserver(&mut self, generation: u32, fork: Forker<'_>) -> Option<(u32, Channel)> {
        let forked = Channel::pair().and_then(|(ours, theirs)| Ok((ours, theirs, fork()?)));
        match forked {
            Ok((_, theirs, Fork::Child)) => return Some((generation, theirs)),
            Ok((ours, _, Fork::Parent(pid))) => {
                self.forkserver = Some(ours);
                self.tell(Event::ForkserverStarted { pid });
            }
            Err(error) => self.tell(Event::ForkserverRefused { error }),
        }
        None
    }

    fn request(&mut self, slot: u32) {
        let sent = self.forkserver.as_ref().map(|forkserver| forkserver.try_send(&Message::Fork { slot }));
        if !matches!(sent, Some(Ok(()))) {
            self.tell(Event::RequestLost { slot });
        }
    }

    fn drain(&self, slot: u32) {
        let sent = self.workers.get(&slot).map(|worker| worker.try_send(&Message::Drain));
        if let Some(Err(error)) = sent {
            debug!("worker {slot} cannot be asked to drain: {error}");
        }
    }

    fn kill(&mut self, pid: i32) {
        // Never 0 or less, which would mean a whole process group.
        let killed = if pid > 0 { kill(Pid::from_raw(pid), Signal::SIGKILL) } else { Err(Errno::ESRCH) };
        match killed {
            Ok(()) => {}
            // Collected by a forkserver that died before it could say so.
            Err(Errno::ESRCH) => self.tell(Event::Ended { pid, ending: Ending::Unknown }),
            Err(error) => error!("pid {pid} cannot be killed ({error}); kill it by hand"),
        }
    }

    /// Waits until something can be read or the fleet's deadline has come.
    fn wait(&self) -> Vec<Source> {
        let sources: Vec<_> = [Source::Signals].into_iter().chain(self.channels()).collect();
        let mut wanted: Vec<_> = sources.iter().filter_map(|source| self.interest(*source)).collect();
        let timeout = self.fleet.deadline().map(timeout_until);
        match poll(&mut wanted, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                error!("the supervisor cannot wait for its workers ({error}); free some memory")
            }
        }
        let is_ready = |poll: &PollFd<'_>| !poll.revents().is_empty();
        sources.into_iter().zip(&wanted).filter(|(_, poll)| is_ready(poll)).map(|(source, _)| source).collect()
    }

    fn channels(&self) -> impl Iterator<Item = Source> {
        let forkserver = self.forkserver.as_ref().map(|_| Source::Forkserver);
        forkserver.into_iter().chain(self.workers.keys().map(|slot| Source::Worker(*slot)))
    }

    fn interest(&self, source: Source) -> Option<PollFd<'_>> {
        let descriptor = match source {
            Source::Signals => self.signals.as_fd(),
            Source::Forkserver => self.forkserver.as_ref()?.as_fd(),
            Source::Worker(slot) => self.workers.get(&slot)?.as_fd(),
        };
        Some(PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
    }

    fn attend(&mut self, source: Source) {
        match source {
            Source::Signals => self.read_signals(),
            Source::Forkserver => self.read_forkserver(),
            Source::Worker(slot) => self.read_worker(slot),
        }
    }

    fn read_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGTERM | Signal::SIGINT => self.tell(Event::Stop(Stop::Gracefully)),
                Signal::SIGQUIT => self.tell(Event::Stop(Stop::AtOnce)),
                Signal::SIGHUP => warn!("SIGHUP is ignored: this version cannot reload, restart it to load new code"),
                other => warn!("{other} is ignored: it has no meaning in this version"),
            }
        }
    }

    /// Collects every child that has ended, ours or adopted.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let (pid, ending) = (pid.as_raw_nonzero().get(), Ending::from_status(status.as_raw()));
            // What a process said last comes before its end, and only its forkserver can tell whose worker it was.
            self.read_forkserver();
            if self.fleet.forkserver() == Some(pid) {
                self.forkserver = None;
                self.tell(Event::ForkserverEnded { ending });
            } else {
                self.worker_ended(pid, ending);
            }
        }
    }

    fn worker_ended(&mut self, pid: i32, ending: Ending) {
        if let Some(slot) = self.fleet.slot_of(pid) {
            self.read_worker(slot);
            self.workers.remove(&slot);
        }
        self.tell(Event::Ended { pid, ending });
    }

    fn read_forkserver(&mut self) {
        while let Some(channel) = &self.forkserver {
            match channel.try_recv() {
                Ok(Some(received)) => self.hear_forkserver(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                closed => {
                    complain("the forkserver", closed.err());
                    self.forkserver = None;
                    self.tell(Event::ForkserverHungUp);
                }
            }
        }
    }

    fn hear_forkserver(&mut self, (message, descriptor): Received) {
        match message {
            Message::Loaded => self.tell(Event::Loaded),
            Message::Failed { report } => self.tell(Event::LoadFailed { report }),
            Message::Forked { slot, pid } => self.forked(slot, pid, descriptor),
            Message::Exited { pid, status } => self.worker_ended(pid, Ending::from_status(status)),
            other => warn!("the forkserver said {other:?}, which is not for it to say; this is a bug in rusgi"),
        }
    }

    fn forked(&mut self, slot: u32, pid: i32, descriptor: Option<OwnedFd>) {
        if let Some(descriptor) = descriptor {
            self.workers.insert(slot, Channel::from(descriptor));
        }
        self.tell(Event::Forked { slot, pid });
    }

    fn read_worker(&mut self, slot: u32) {
        while let Some(channel) = self.workers.get(&slot) {
            match channel.try_recv() {
                Ok(Some((message, _))) => self.hear_worker(slot, message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                closed => {
                    complain("a worker", closed.err());
                    self.workers.remove(&slot);
                    self.tell(Event::HungUp { slot });
                }
            }
        }
    }

    fn hear_worker(&mut self, slot: u32, message: Message) {
        match message {
            Message::Ready => self.tell(Event::Ready { slot }),
            Message::Failed { report } => self.tell(Event::LoadFailed { report }),
            Message::Stopping => self.tell(Event::Stopping { slot }),
            other => warn!("worker {slot} said {other:?}, which is not for it to say; this is a bug in rusgi"),
        }
    }
}

/// A channel that ends is ordinary; one that fails is not.
fn complain(who: &str, error: Option<io::Error>) {
    if let Some(error) = error {
        warn!("{who} cannot be heard any more: {error}");
    }
}

/// Rounded up to whole milliseconds, so that the deadline has passed when the wait is over.
fn timeout_until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    let left = i64::try_from(left).unwrap_or(i64::MAX);
    Timespec { tv_sec: left / 1000, tv_nsec: left % 1000 * 1_000_000 }
}
