//! Another process, of a new executable, in place of this one: begun, judged, and let take over or sent away.

use std::{
    mem,
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use crate::supervisor::{
    ending::Ending,
    exit::Exit,
    fleet::{
        Action, Event, Fleet, GRACE, Phase,
        outage::gist,
        plan::{counted, words},
    },
};

/// The life of a successor, which is a child of ours until we have gone.
///
/// ```text
///            ask             started                   ready, and handed over to
///   nobody ───────▶ asked ─────────────▶ on trial ─────────────────────────────────▶ heir
///     ▲              │ cannot be made        │ failed, ended, late, or we are told to stop
///     ├──────────────┘                       ▼
///     └─────────────── ended ───────────── leaving: told to stop, and killed when that takes too long
/// ```
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    state: State,
    attempt: u32,
    /// The first generation whose application is younger than the successor's.
    younger: u32,
    failure: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Nobody,
    Asked,
    Trial {
        pid: i32,
        deadline: Instant,
    },
    Leaving {
        pid: i32,
        kill_at: Instant,
    },
    Heir {
        pid: i32,
        is_hurried: bool,
    },
}

/// What has become of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgraded<'a> {
    /// It goes on.
    Pending,
    /// This process serves in our place.
    By(i32),
    /// We go on serving.
    Failed(&'a str),
}

impl Upgrade {
    /// Asks for a successor; what it loads is older than what a reload makes of the generation `younger`.
    fn ask(&mut self, younger: u32) {
        self.attempt += 1;
        self.younger = younger;
        self.state = State::Asked;
    }

    /// The successor runs, and has until `deadline` to get ready; it leaves at once if nobody waits for it any more.
    fn started(&mut self, pid: i32, deadline: Instant) -> bool {
        let is_wanted = self.state == State::Asked;
        self.state = if is_wanted { State::Trial { pid, deadline } } else { State::Leaving { pid, kill_at: deadline } };
        is_wanted
    }

    /// The attempt has failed; returns the process that is to leave by `kill_at`, if there is one.
    fn fail(&mut self, report: String, kill_at: Instant) -> Option<i32> {
        self.failure = Some(report);
        match self.state {
            State::Trial { pid, .. } => {
                self.state = State::Leaving { pid, kill_at };
                Some(pid)
            }
            _ => {
                self.state = State::Nobody;
                None
            }
        }
    }

    /// The successor has ended; returns what it was.
    fn ended(&mut self) -> State {
        let next = match self.state {
            State::Trial { .. } => State::Asked,
            State::Leaving { .. } => State::Nobody,
            other => other,
        };
        mem::replace(&mut self.state, next)
    }

    /// Whether a successor has yet to prove itself.
    fn is_on_trial(&self) -> bool {
        matches!(self.state, State::Asked | State::Trial { .. })
    }

    /// The process whose end we are still interested in.
    fn pid(&self) -> Option<i32> {
        match self.state {
            State::Nobody | State::Asked => None,
            State::Trial { pid, .. } | State::Leaving { pid, .. } | State::Heir { pid, .. } => Some(pid),
        }
    }

    /// When something is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Trial { deadline: at, .. } | State::Leaving { kill_at: at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether no process is left that has to end before us.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Nobody | State::Heir { .. })
    }

    /// Whether another process has taken our place.
    pub(super) fn has_heir(&self) -> bool {
        matches!(self.state, State::Heir { .. })
    }

    fn outcome(&self, attempt: u32) -> Upgraded<'_> {
        match (self.state, &self.failure) {
            (State::Heir { pid, .. }, _) => Upgraded::By(pid),
            (_, Some(failure)) if !self.is_on_trial() || attempt < self.attempt => Upgraded::Failed(failure),
            _ => Upgraded::Pending,
        }
    }

    /// `starting`, `failed` or `done`, whose process that is, and why; `None` where nobody has asked for anything.
    pub(super) fn describe(&self) -> Option<(&'static str, Option<i32>, Option<&str>)> {
        match (self.state, self.failure.as_deref()) {
            (State::Asked | State::Trial { .. }, _) => Some(("starting", self.pid(), None)),
            (State::Heir { pid, .. }, _) => Some(("done", Some(pid), None)),
            (_, Some(failure)) => Some(("failed", None, Some(failure))),
            (_, None) => None,
        }
    }
}

impl Fleet {
    /// Why an upgrade cannot begin now, and what to do about that; `None` if it can.
    pub(in crate::supervisor) fn obstacle(&self) -> Option<String> {
        if let Some(obstacle) = self.plan.obstacle {
            return Some(obstacle.to_owned());
        }
        match self.upgrade.state {
            _ if self.phase != Phase::Running => Some("rusgi is stopping: start it anew".to_owned()),
            _ if !self.history.was_announced => Some("rusgi is not ready yet: wait for that".to_owned()),
            State::Asked | State::Trial { .. } => Some("an upgrade goes on: wait for its end".to_owned()),
            State::Leaving { pid, .. } => Some(format!("pid {pid} of the last upgrade has not ended yet: try again")),
            State::Nobody | State::Heir { .. } => None,
        }
    }

    /// The upgrade that is asked for now will be this one.
    pub(in crate::supervisor) fn next_attempt(&self) -> u32 {
        self.upgrade.attempt + 1
    }

    /// Whether a reload was asked for that the successor may have loaded its application before, come to its end or not.
    pub(in crate::supervisor) fn owes_reload(&self) -> bool {
        self.is_reloading() || self.succession.serving() >= self.upgrade.younger
    }

    /// What has become of an upgrade.
    pub(in crate::supervisor) fn upgraded(&self, attempt: u32) -> Upgraded<'_> {
        self.upgrade.outcome(attempt)
    }

    /// Why what is asked for is not to be had from this process any more.
    pub(in crate::supervisor) fn farewell(&self) -> String {
        match self.upgrade.state {
            State::Heir { pid, .. } => format!("pid {pid} has taken over, and reloads now: ask it for its status"),
            _ => "rusgi is stopping".to_owned(),
        }
    }

    /// The process that is to replace this one, or has, or was to.
    pub(in crate::supervisor) fn successor(&self) -> Option<i32> {
        self.upgrade.pid()
    }

    pub(super) fn upgrade(&mut self) {
        if let Some(obstacle) = self.obstacle() {
            return warn!("upgrade refused: {obstacle}");
        }
        self.upgrade.ask(self.next_generation());
        self.actions.push_back(Action::StartSuccessor);
    }

    pub(super) fn apply_to_successor(&mut self, event: Event, now: Instant) {
        match event {
            Event::SuccessorStarted { pid } => self.successor_started(pid, now),
            Event::SuccessorReady => {
                if let State::Trial { pid, .. } = self.upgrade.state {
                    self.actions.push_back(Action::HandOver { pid });
                }
            }
            Event::SuccessorFailed { report } => self.dismiss_successor(report, now),
            Event::HandedOver => self.handed_over(now),
            Event::SuccessorEnded { ending } => self.successor_ended(ending, now),
            _ => {}
        }
    }

    fn successor_started(&mut self, pid: i32, now: Instant) {
        if self.upgrade.started(pid, now + self.plan.start_timeout + EXECUTION) {
            return info!("upgrading: pid {pid} is started, this process goes on serving");
        }
        self.actions.push_back(Action::Terminate { pid });
    }

    fn successor_ended(&mut self, ending: Ending, now: Instant) {
        match self.upgrade.ended() {
            State::Trial { .. } => {
                self.dismiss_successor(
                    format!("it ended before it was ready ({ending}): its lines above say why"),
                    now,
                );
            }
            State::Heir { pid, .. } => {
                error!(
                    "pid {pid} died after it had taken over: {ending}; this process finishes what it has, start rusgi anew"
                );
            }
            State::Nobody | State::Asked | State::Leaving { .. } => {}
        }
    }

    /// The successor, if there is one, has to go; we go on.
    fn dismiss_successor(&mut self, report: String, now: Instant) {
        if !self.upgrade.is_on_trial() {
            return;
        }
        // Its own lines are in the log already.
        error!("upgrade failed, this process goes on serving: {}", gist(&report));
        self.send_successor_away(report, now);
    }

    /// Both have workers that serve: it finishes what it has, as in any stop.
    fn send_successor_away(&mut self, report: String, now: Instant) {
        // One that has got ready in the same moment must not be handed what it is about to leave.
        self.actions.retain(|action| !matches!(action, Action::HandOver { .. }));
        let kill_at = now + self.plan.stop_timeout + GRACE + GRACE + GRACE;
        if let Some(pid) = self.upgrade.fail(report, kill_at) {
            self.actions.push_back(Action::Terminate { pid });
        }
    }

    /// We are told to stop, and so is a successor that does not serve alone yet.
    pub(super) fn call_off_upgrade(&mut self, now: Instant) {
        if self.upgrade.is_on_trial() {
            info!("the upgrade is called off");
            self.send_successor_away("called off: rusgi was told to stop".to_owned(), now);
        }
    }

    fn handed_over(&mut self, now: Instant) {
        let State::Trial { pid, .. } = self.upgrade.state else {
            return;
        };
        self.upgrade.state = State::Heir { pid, is_hurried: false };
        let (own, left) = (std::process::id(), counted(self.roster.living(), "worker"));
        info!("upgraded: pid {pid} serves in place of pid {own}, whose {left} may finish what is in flight");
        self.drain(Exit::Stopped, now + self.plan.leave_timeout, false, now);
    }

    /// The first word to stop after a hand-over only makes haste: nobody has been told before.
    pub(super) fn hurry(&mut self, now: Instant) -> bool {
        let Phase::Stopping { exit, deadline, is_forced: false } = self.phase else {
            return false;
        };
        let State::Heir { is_hurried: is_hurried @ false, .. } = &mut self.upgrade.state else {
            return false;
        };
        *is_hurried = true;
        info!("stopping: requests in flight may take up to {}", words(self.plan.stop_timeout));
        let deadline = deadline.min(now + self.plan.stop_timeout);
        self.phase = Phase::Stopping { exit, deadline, is_forced: false };
        true
    }

    /// Sends a successor away that is late, and kills one that does not go.
    pub(super) fn judge_successor(&mut self, now: Instant) {
        match self.upgrade.state {
            State::Trial { deadline, .. } if deadline <= now => {
                let limit = words(self.plan.start_timeout + EXECUTION);
                let advice = "raise --start-timeout if loading takes that long";
                self.dismiss_successor(format!("not ready within {limit}; {advice}"), now);
            }
            State::Leaving { pid, kill_at } if kill_at <= now => self.kill_successor(pid, now),
            _ => {}
        }
    }

    /// Kills a successor that is on its way out, without waiting for its time to be up.
    pub(super) fn force_successor(&mut self, now: Instant) {
        if let State::Leaving { pid, .. } = self.upgrade.state {
            self.kill_successor(pid, now);
        }
    }

    fn kill_successor(&mut self, pid: i32, now: Instant) {
        warn!("pid {pid} of the upgrade that failed does not end by itself; killing it");
        self.upgrade.state = State::Leaving { pid, kill_at: now + GRACE };
        self.actions.push_back(Action::Kill { pid });
    }
}

/// What executing a program and starting an interpreter may take, beside what the application takes to load.
const EXECUTION: Duration = Duration::from_secs(10);
