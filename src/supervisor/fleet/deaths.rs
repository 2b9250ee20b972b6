//! What the end of a process, or of an attempt to load, means.

use std::{io, time::Instant};

use tracing::{debug, error, info, warn};

use crate::{
    channel::LOAD_FAILED,
    supervisor::{
        ending::Ending,
        exit::Exit,
        fleet::{
            Fleet, MOST_FAILURES, Phase,
            outage::gist,
            plan::{advice, after, counted},
            roster::Role,
        },
        generation, life,
    },
};

impl Fleet {
    pub(super) fn ended(&mut self, pid: i32, ending: Ending, now: Instant) {
        let Some((slot, place)) = self.roster.slot_of(pid).and_then(|slot| Some((slot, self.roster.get_mut(slot)?)))
        else {
            // A process that is none of our workers was left to us by one, as it is to process 1.
            return debug!("pid {pid} ended: {ending}");
        };
        let Some(death) = place.life.ended(now) else {
            return;
        };
        let (role, generation) = (place.role, place.generation);
        if role == Role::Worn {
            place.role = Role::Wanted;
        }
        if self.phase != Phase::Running {
            return debug!("worker {slot} (pid {pid}) ended: {ending}");
        }
        match role {
            Role::Leaving if !death.was_draining => debug!("worker {slot} (pid {pid}) ended: {ending}"),
            Role::Leaving if matches!(ending, Ending::Code(0) | Ending::Unknown) => {
                info!("worker {slot} (pid {pid}) stopped");
            }
            Role::Leaving => {
                let how = death.describe(ending);
                warn!("worker {slot} (pid {pid}) died before it had finished its requests: {how}");
            }
            Role::Wanted | Role::Worn => self.worker_died((slot, generation), &death, ending, now),
        }
    }

    fn worker_died(&mut self, (slot, generation): (u32, u32), death: &life::Death, ending: Ending, now: Instant) {
        let (pid, how) = (death.pid, death.describe(ending));
        if self.succession.candidate() == Some(generation) {
            return self.discard(format!("worker {slot} (pid {pid}) died: {how}"), now);
        }
        if let Some(exit) = self.verdict(ending, death.in_a_row) {
            let advice = advice(exit, death.in_a_row);
            let reason = format!("worker {slot} (pid {pid}) died before it was ready: {how}; {advice}");
            return self.give_up(exit, reason, now);
        }
        self.outage.died(&format!("worker {slot}"), &how);
        let (hint, after) = (death.advice(ending), after(death.pause));
        error!("worker {slot} (pid {pid}) died: {how}{hint}; replacing it{after}");
    }

    pub(super) fn forkserver_refused(&mut self, generation: u32, error: &io::Error, now: Instant) {
        let death = self.generations.get_mut(&generation).and_then(|one| one.ended(now));
        let problem = format!("forkserver g{generation} cannot be started ({error})");
        if self.succession.candidate() == Some(generation) {
            return self.discard(problem, now);
        }
        if !self.history.was_ready {
            let reason = format!("{problem}; raise the limit on processes or free some memory");
            return self.give_up(Exit::Refused, reason, now);
        }
        let pause = death.map(|death| death.pause).unwrap_or_default();
        error!("{problem}; trying again{}", after(pause));
    }

    pub(super) fn forkserver_ended(&mut self, generation: u32, ending: Ending, now: Instant) {
        for (_, place) in self.roster.iter_mut().filter(|(_, place)| place.generation == generation) {
            place.life.request_lost(now);
        }
        let death = self.generations.get_mut(&generation).and_then(|one| one.ended(now));
        let Some(death) = death.filter(|_| self.phase == Phase::Running) else {
            return;
        };
        let pid = death.pid.unwrap_or_default();
        if self.succession.candidate() == Some(generation) {
            let how = ending.because(death.sentence);
            return self.discard(format!("forkserver g{generation} (pid {pid}) died: {how}"), now);
        }
        if self.succession.serving() == generation {
            self.forkserver_died(generation, &death, ending, now);
        }
    }

    fn forkserver_died(&mut self, number: u32, death: &generation::Death, ending: Ending, now: Instant) {
        let (pid, how) = (death.pid.unwrap_or_default(), ending.because(death.sentence));
        if let Some(exit) = self.verdict(ending, death.in_a_row) {
            let advice = advice(exit, death.in_a_row);
            return self.give_up(exit, format!("forkserver g{number} (pid {pid}) died: {how}; {advice}"), now);
        }
        self.outage.died(&format!("forkserver g{number}"), &how);
        error!(
            "forkserver g{number} (pid {pid}) died: {how}{}; starting another{}, {} go on",
            death.advice(ending),
            after(death.pause),
            counted(self.roster.living(), "worker")
        );
    }

    /// Whether a death on the first start is the last one, and what it means then.
    fn verdict(&self, ending: Ending, in_a_row: u32) -> Option<Exit> {
        match ending {
            _ if self.history.was_ready => None,
            Ending::Code(code) if code == i32::from(LOAD_FAILED) => Some(Exit::NotLoaded),
            _ => (in_a_row >= MOST_FAILURES).then_some(Exit::CrashLoop),
        }
    }

    pub(super) fn load_failed(&mut self, generation: u32, report: String, now: Instant) {
        if self.succession.candidate() == Some(generation) && self.phase == Phase::Running {
            return self.discard(report, now);
        }
        if self.succession.serving() != generation || self.phase != Phase::Running {
            return debug!("{report}");
        }
        self.outage.load_failed(&report);
        if !self.history.was_ready {
            return self.give_up(Exit::NotLoaded, report, now);
        }
        error!("{}", self.history.complaint.word(report));
    }
}

/// The load that has failed last, and how often in a row: nobody wants to read a traceback at every attempt.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    report: String,
    times: u32,
}

impl Complaint {
    /// What to log of `report`: the whole the first time, a line as long as it stays the same.
    fn word(&mut self, report: String) -> String {
        if self.report != report {
            *self = Self { report, times: 1 };
            return self.report.clone();
        }
        self.times += 1;
        let (what, gist) = (self.report.lines().next().unwrap_or_default(), gist(&self.report));
        format!("{what}, same as before ({} times): {gist}", self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_told_whole_until_it_is_known() {
        let mut complaint = Complaint::default();
        let [first, second] =
            ["app could not be loaded\nTraceback\nKeyError: 1", "app could not be loaded\nKeyError: 2"];
        let words = [first, first, first, second, second, first].map(|report| complaint.word(report.to_owned()));
        let again = |times, gist| format!("app could not be loaded, same as before ({times} times): KeyError: {gist}");
        assert_eq!(words, [first, &again(2, 1), &again(3, 1), second, &again(2, 2), first]);
    }
}
