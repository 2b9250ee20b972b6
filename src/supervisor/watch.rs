//! The supervisor's eyes and hands: waits on descriptors, tells the fleet what happened, does what the fleet decides.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, error, info, warn};

use crate::{
    channel::{Channel, Message},
    net::listener::Listener,
    observe::scoreboard::Scoreboard,
    supervisor::{
        Birth, Ended, Fork, Forker,
        admin::{self, Admin, View},
        ending::Ending,
        fleet::{Action, Demand, Event, Fleet, Scale, Situation, Stop},
        notify::{Notify, Stage},
        signals::Signals,
        sockets,
        touch::Touch,
        upgrade::{CommandLine, Predecessor},
        valve::{self, Valve},
        weight::Scales,
    },
};

/// The fleet with everything that connects it to the world.
pub(super) struct Watch {
    pub(super) fleet: Fleet,
    pub(super) listeners: Vec<Listener>,
    pub(super) forkservers: BTreeMap<u32, Channel>,
    pub(super) workers: BTreeMap<u32, Channel>,
    pub(super) successor: Option<Channel>,
    pub(super) equipment: Equipment,
}

/// Everything beside the processes that has something to say, or wants to be told.
pub(super) struct Equipment {
    /// Where desks say what they are doing.
    pub(super) scoreboard: Scoreboard,
    /// What operators and service managers send.
    pub(super) signals: Signals,
    /// The way to a service manager.
    pub(super) notify: Notify,
    /// Files that mean a reload when they are touched.
    pub(super) touch: Option<Touch>,
    /// Where `rusgi status` and its likes ask, and probes.
    pub(super) admin: Admin,
    /// What tells heavy workers.
    pub(super) scales: Option<Scales>,
    /// What minds the listen queues.
    pub(super) valve: Valve,
    /// How this process was started.
    pub(super) command: io::Result<CommandLine>,
    /// Whose place this process is to take, until it has.
    pub(super) predecessor: Option<Predecessor>,
}

/// A descriptor that has something to say.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Touch,
    Admin(admin::Source),
    Listener,
    Successor,
    Predecessor,
    Forkserver(u32),
    Worker(u32),
}

impl Watch {
    /// Watches over `fleet`, whose workers accept from `listeners`.
    pub(super) fn new(fleet: Fleet, listeners: Vec<Listener>, equipment: Equipment) -> Self {
        let (forkservers, workers) = (BTreeMap::new(), BTreeMap::new());
        Self { fleet, listeners, forkservers, workers, successor: None, equipment }
    }

    /// The same, beside `predecessor` at first.
    pub(super) fn succeeding(mut self, predecessor: Option<Predecessor>) -> Self {
        self.equipment.predecessor = predecessor;
        self
    }

    /// Goes on until the fleet is over; in a forked child it returns at once, with everything of the supervisor's closed.
    pub(super) fn run(mut self, fork: Forker<'_>) -> Ended {
        loop {
            while let Some(action) = self.fleet.next_action() {
                if let Some((generation, channel)) = self.act(action, fork) {
                    return Ended::Forkserver(Birth { generation, listeners: self.listeners, channel });
                }
            }
            self.equipment.notify.report(self.fleet.standing(), Instant::now());
            self.equipment.admin.answer_waiting(&self.fleet);
            self.report_ready();
            if let Some(exit) = self.fleet.over() {
                return self.end(exit);
            }
            for source in self.wait() {
                self.attend(source);
            }
            self.weigh();
            self.mind_queues();
            self.look();
            self.tell(Event::Tick);
        }
    }

    fn end(mut self, exit: super::Exit) -> Ended {
        sockets::remove_files(&mut self.listeners);
        if situation(&self.fleet, self.equipment.predecessor.as_ref(), Instant::now()) == Situation::Closing {
            self.equipment.valve.close(&self.listeners);
        }
        self.report_end();
        self.equipment.admin.close();
        match exit {
            super::Exit::Stopped => info!("stopped"),
            failed => error!("stopped with exit code {}: the lines above say why", failed.code()),
        }
        Ended::Exit(exit)
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.fleet.apply(event, Instant::now());
    }

    pub(super) fn reload(&mut self) {
        // Before it is ready, and once it stops, a service manager waits for other news.
        if matches!(self.fleet.standing().stage, Stage::Ready | Stage::Reloading) {
            self.equipment.notify.reloading();
        }
        self.tell(Event::Reload);
    }

    /// Does one thing; returns something only in a newly forked process.
    fn act(&mut self, action: Action, fork: Forker<'_>) -> Option<(u32, Channel)> {
        match action {
            Action::StartForkserver { generation } => {
                return self.start_forkserver(generation, fork);
            }
            Action::Fork { generation, slot } => self.request(generation, slot),
            Action::Drain { slot, is_last } => {
                if is_last {
                    // Whoever comes from now on is refused at once, rather than reset when the last worker leaves.
                    sockets::remove_files(&mut self.listeners);
                }
                self.drain(slot, is_last);
            }
            Action::Retire { generation } => drop(self.forkservers.remove(&generation)),
            Action::StartSuccessor => self.start_successor(),
            Action::HandOver { pid } => self.hand_over(pid),
            Action::Terminate { pid } => self.terminate(pid),
            Action::Kill { pid } => self.kill(pid),
        }
        None
    }

    fn start_forkserver(&mut self, generation: u32, fork: Forker<'_>) -> Option<(u32, Channel)> {
        let forked = Channel::pair().and_then(|(ours, theirs)| Ok((ours, theirs, fork()?)));
        match forked {
            Ok((_, theirs, Fork::Child)) => return Some((generation, theirs)),
            Ok((ours, _, Fork::Parent(pid))) => {
                self.forkservers.insert(generation, ours);
                self.tell(Event::ForkserverStarted { generation, pid });
            }
            Err(error) => self.tell(Event::ForkserverRefused { generation, error }),
        }
        None
    }

    fn request(&mut self, generation: u32, slot: u32) {
        let forkserver = self.forkservers.get(&generation);
        let sent = forkserver.map(|forkserver| forkserver.try_send(&Message::Fork { slot }));
        if !matches!(sent, Some(Ok(()))) {
            self.tell(Event::RequestLost { slot });
        }
    }

    fn drain(&self, slot: u32, is_last: bool) {
        let sent = self.workers.get(&slot).map(|worker| worker.try_send(&Message::Drain { is_last }));
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

    /// Waits until something can be read or written, or the next deadline has come.
    fn wait(&self) -> Vec<Source> {
        let mut sources = Vec::new();
        let mut wanted: Vec<_> = self.interests().map(|(source, poll)| (sources.push(source), poll).1).collect();
        let timeout = self.deadline().map(timeout_until);
        match poll(&mut wanted, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                error!("the supervisor cannot wait for its workers ({error}); free some memory")
            }
        }
        let is_ready = |poll: &PollFd<'_>| !poll.revents().is_empty();
        sources.into_iter().zip(&wanted).filter(|(_, poll)| is_ready(poll)).map(|(source, _)| source).collect()
    }

    fn deadline(&self) -> Option<Instant> {
        let Equipment { notify, admin, scales, valve, .. } = &self.equipment;
        let weighing = scales.as_ref().map(Scales::due_at);
        let looking = self.fleet.next_look(valve.is_resting());
        let others = [notify.deadline(), admin.deadline(), weighing, valve.due_at(), looking];
        self.fleet.deadline().into_iter().chain(others.into_iter().flatten()).min()
    }

    fn interests(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let Equipment { signals, touch, admin, valve, predecessor, .. } = &self.equipment;
        let forkservers =
            self.forkservers.iter().map(|(number, channel)| (Source::Forkserver(*number), readable(channel)));
        let workers = self.workers.iter().map(|(slot, channel)| (Source::Worker(*slot), readable(channel)));
        let touch = touch.iter().map(|touch| (Source::Touch, readable(touch)));
        // Until we have taken over, visitors are for our predecessor.
        let admin = admin.interests().filter(|_| predecessor.is_none());
        let admin = admin.map(|(source, poll)| (Source::Admin(source), poll));
        let predecessor = predecessor.iter().map(|one| (Source::Predecessor, readable(one)));
        let successor = self.successor.iter().map(|one| (Source::Successor, readable(one)));
        let signals = (Source::Signals, readable(signals));
        let listeners = valve.interests(&self.listeners).map(|poll| (Source::Listener, poll));
        [signals]
            .into_iter()
            .chain(touch)
            .chain(admin)
            .chain(listeners)
            .chain(predecessor)
            .chain(successor)
            .chain(forkservers)
            .chain(workers)
    }

    fn attend(&mut self, source: Source) {
        match source {
            Source::Signals => self.read_signals(),
            Source::Touch => {
                if self.equipment.touch.as_mut().is_some_and(Touch::has_changed) {
                    self.reload();
                }
            }
            Source::Admin(source) => self.serve_admin(source),
            Source::Listener => self.equipment.valve.wake(Instant::now()),
            Source::Successor => self.read_successor(),
            Source::Predecessor => self.read_predecessor(),
            Source::Forkserver(generation) => self.read_forkserver(generation),
            Source::Worker(slot) => self.read_worker(slot),
        }
    }

    fn read_signals(&mut self) {
        while let Some(signal) = self.equipment.signals.next() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGTERM | Signal::SIGINT => self.stop(),
                Signal::SIGQUIT => self.tell(Event::Stop(Stop::AtOnce)),
                Signal::SIGHUP => self.reload(),
                Signal::SIGUSR2 => self.upgrade(),
                Signal::SIGTTIN => self.tell(Event::Scale(Scale::Up)),
                Signal::SIGTTOU => self.tell(Event::Scale(Scale::Down)),
                other => warn!("{other} is ignored: it has no meaning in this version"),
            }
        }
    }

    fn stop(&mut self) {
        if !self.equipment.predecessor.as_mut().is_some_and(Predecessor::is_echo) {
            self.tell(Event::Stop(Stop::Gracefully));
        }
    }

    fn serve_admin(&mut self, source: admin::Source) {
        let Equipment { scoreboard, valve, admin, .. } = &mut self.equipment;
        valve.measure(&self.listeners, scoreboard);
        let load = valve.status(&self.listeners);
        match admin.attend(source, View { fleet: &self.fleet, load: &load }) {
            Some(admin::Order::Reload) => self.reload(),
            Some(admin::Order::Upgrade) => self.upgrade(),
            Some(admin::Order::Scale(range)) => self.tell(Event::Scale(Scale::To(range))),
            Some(admin::Order::Stop) => self.tell(Event::Stop(Stop::Gracefully)),
            None => {}
        }
    }

    fn mind_queues(&mut self) {
        let now = Instant::now();
        let desks = self.fleet.desks();
        let Equipment { scoreboard, valve, predecessor, .. } = &mut self.equipment;
        let situation = situation(&self.fleet, predecessor.as_ref(), now);
        valve.look(valve::View { listeners: &self.listeners, scoreboard, desks, situation }, now);
    }

    fn weigh(&mut self) {
        let Some(scales) = &mut self.equipment.scales else {
            return;
        };
        let fleet = &self.fleet;
        let heavy = scales.weigh(Instant::now(), || fleet.living());
        heavy.into_iter().for_each(|event| self.tell(event));
    }

    /// Tells the fleet how busy the workers are, when that is due and matters.
    fn look(&mut self) {
        let Equipment { scoreboard, valve, .. } = &self.equipment;
        if self.fleet.next_look(valve.is_resting()).is_none_or(|at| Instant::now() < at) {
            return;
        }
        let slots: HashMap<_, _> = self.fleet.living().into_iter().map(|(slot, pid)| (pid, slot)).collect();
        let busy = scoreboard.busy().filter_map(|(pid, desks)| Some((*slots.get(&pid)?, desks))).collect();
        let demand = Demand { busy, waiting: valve.waiting() };
        self.tell(Event::Demand(demand));
    }
}

/// How requests that wait now are going to fare; until it has taken over, the queues are its predecessor's to mind.
fn situation<'f>(fleet: &'f Fleet, predecessor: Option<&Predecessor>, now: Instant) -> Situation<'f> {
    if predecessor.is_some() { Situation::Stopping } else { fleet.situation(now) }
}

fn readable(source: &impl AsFd) -> PollFd<'_> {
    PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN)
}

/// Rounded up to whole milliseconds, so that the deadline has passed when the wait is over.
fn timeout_until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
    Timespec { tv_sec: left / 1000, tv_nsec: left % 1000 * 1_000_000 }
}
