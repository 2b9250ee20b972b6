//! The fleet under a simulated clock: whole lives in microseconds.

mod outage;
mod recycling;
mod reload;
mod scaling;
mod upgrade;

use std::io;

use super::*;
use crate::{
    channel::LOAD_FAILED,
    config::{Range, Recycling},
    supervisor::ending::Ending,
};

/// A fleet, and the time it is told.
struct Play {
    fleet: Fleet,
    now: Instant,
}

impl Play {
    /// A fleet of that many workers, as it is created.
    fn new(workers: usize) -> Self {
        let now = Instant::now();
        let stop_timeout = Duration::from_secs(25);
        let plan = Plan {
            workers,
            range: Range::fixed(workers),
            scale_down_after: Duration::from_secs(30),
            threads: 1,
            start_timeout: Duration::from_secs(60),
            stop_timeout,
            leave_timeout: stop_timeout,
            recycling: Recycling::default(),
            obstacle: None,
            application: "app:application".to_owned(),
        };
        Self::of(plan, now)
    }

    /// A fleet as planned.
    fn of(plan: Plan, now: Instant) -> Self {
        Self { fleet: Fleet::new(plan, now), now }
    }

    /// One whose forkserver, pid 100, has loaded.
    fn loaded(workers: usize) -> Self {
        let mut play = Self::new(workers);
        assert_eq!(play.actions(), [Action::StartForkserver { generation: 1 }]);
        play.tell(Event::ForkserverStarted { generation: 1, pid: 100 });
        play.tell(Event::Loaded { generation: 1 });
        play
    }

    /// One whose workers, pids 101 and up, are ready.
    fn ready(workers: usize) -> Self {
        let mut play = Self::loaded(workers);
        play.birth();
        for slot in 1..=u32::try_from(workers).unwrap() {
            play.tell(Event::Ready { slot });
        }
        assert_eq!(play.actions(), []);
        play
    }

    /// Answers every Fork by a worker whose pid is its generation's hundred and its slot.
    fn birth(&mut self) {
        for action in self.actions() {
            let Action::Fork { generation, slot } = action else { panic!("{action:?}") };
            self.tell(Event::Forked { generation, slot, pid: pid(generation, slot) });
        }
    }

    fn tell(&mut self, event: Event) {
        self.fleet.apply(event, self.now);
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.tell(Event::Tick);
    }

    fn die(&mut self, pid: i32, ending: Ending) {
        self.tell(Event::Ended { pid, ending });
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.fleet.next_action()).collect()
    }

    /// Milliseconds until the fleet wants to be woken.
    fn wait(&self) -> Option<u128> {
        self.fleet.deadline().map(|at| at.saturating_duration_since(self.now).as_millis())
    }
}

/// Workers of the first generation are 101 and up, those of the second 201 and up.
fn pid(generation: u32, slot: u32) -> i32 {
    i32::try_from(100 * generation + slot).unwrap()
}

const SEGFAULT: Ending = Ending::Signal(libc::SIGSEGV);
const KILLED: Ending = Ending::Signal(libc::SIGKILL);
const CLEAN: Ending = Ending::Code(0);

#[test]
fn workers_are_asked_for_once_the_forkserver_has_loaded() {
    let mut play = Play::loaded(2);
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }, Action::Fork { generation: 1, slot: 2 }]);
    play.pass(60_000);
    assert_eq!(play.actions(), []);
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_alone() {
    let mut play = Play::ready(2);
    play.die(102, KILLED);
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 2 }]);
    assert_eq!(play.fleet.over(), None);
}

#[test]
fn one_that_dies_again_and_again_waits_longer_each_time() {
    let mut play = Play::ready(1);
    for pause in [0, 100, 200, 400, 800] {
        play.die(101, SEGFAULT);
        if pause > 0 {
            assert_eq!((play.actions(), play.wait()), (vec![], Some(pause)));
            play.pass(u64::try_from(pause).unwrap());
        }
        play.birth();
    }
    assert_eq!(play.fleet.over(), None);
}

#[test]
fn five_deaths_before_anybody_was_ready_end_the_start() {
    let mut play = Play::loaded(1);
    for _ in 0..5 {
        assert_eq!(play.fleet.over(), None);
        play.pass(10_000);
        play.birth();
        play.die(101, SEGFAULT);
    }
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!(play.fleet.over(), Some(Exit::CrashLoop));
}

#[test]
fn after_one_was_ready_starting_is_never_given_up() {
    let mut play = Play::ready(1);
    for _ in 0..50 {
        play.die(101, Ending::Code(i32::from(LOAD_FAILED)));
        play.pass(10_000);
        play.birth();
    }
    assert_eq!(play.fleet.over(), None);
}

#[test]
fn an_application_that_a_worker_cannot_load_ends_the_start() {
    let mut play = Play::loaded(2);
    play.birth();
    play.tell(Event::LoadFailed { generation: 1, report: "Traceback".to_owned() });
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }, Action::Kill { pid: 102 }]);
    play.tell(Event::LoadFailed { generation: 1, report: "Traceback".to_owned() });
    play.die(101, Ending::Code(3));
    assert_eq!(play.actions(), []);
    play.die(102, KILLED);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!(play.fleet.over(), Some(Exit::NotLoaded));
}

#[test]
fn an_application_that_the_forkserver_cannot_load_ends_the_start() {
    for report in [Some("Traceback".to_owned()), None] {
        let mut play = Play::new(1);
        play.actions();
        play.tell(Event::ForkserverStarted { generation: 1, pid: 100 });
        report.into_iter().for_each(|report| play.tell(Event::LoadFailed { generation: 1, report }));
        play.tell(Event::ForkserverEnded { generation: 1, ending: Ending::Code(3) });
        assert_eq!(play.fleet.over(), Some(Exit::NotLoaded));
    }
}

#[test]
fn a_forkserver_that_crashes_while_it_loads_is_tried_five_times() {
    let mut play = Play::new(1);
    for _ in 0..5 {
        play.pass(10_000);
        assert_eq!(play.actions(), [Action::StartForkserver { generation: 1 }]);
        play.tell(Event::ForkserverStarted { generation: 1, pid: 100 });
        play.tell(Event::ForkserverEnded { generation: 1, ending: SEGFAULT });
    }
    assert_eq!(play.fleet.over(), Some(Exit::CrashLoop));
}

#[test]
fn a_forkserver_that_cannot_be_started_first_thing_is_the_end() {
    let mut play = Play::new(1);
    play.actions();
    play.tell(Event::ForkserverRefused { generation: 1, error: io::Error::from(io::ErrorKind::OutOfMemory) });
    assert_eq!(play.fleet.over(), Some(Exit::Refused));
}

#[test]
fn a_dead_forkserver_is_followed_by_another_while_workers_go_on() {
    let mut play = Play::ready(2);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 1 }]);
    play.tell(Event::ForkserverStarted { generation: 1, pid: 200 });
    play.die(101, SEGFAULT);
    assert_eq!(play.actions(), []);
    play.tell(Event::Loaded { generation: 1 });
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
}

#[test]
fn a_request_that_died_with_its_forkserver_is_made_again() {
    let mut play = Play::loaded(1);
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 1 }]);
    play.tell(Event::ForkserverStarted { generation: 1, pid: 200 });
    play.tell(Event::Loaded { generation: 1 });
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
}

#[test]
fn a_request_that_could_not_be_made_is_made_a_little_later() {
    let mut play = Play::loaded(1);
    play.actions();
    play.tell(Event::RequestLost { slot: 1 });
    assert_eq!((play.actions(), play.wait()), (vec![], Some(100)));
    play.pass(100);
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
}

#[test]
fn a_stop_drains_the_ready_and_ends_when_all_have_ended() {
    let mut play = Play::ready(2);
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Drain { slot: 1, is_last: true }, Action::Drain { slot: 2, is_last: true }]);
    assert_eq!(play.wait(), Some(25_000));
    play.tell(Event::Stopping { slot: 1 });
    play.tell(Event::HungUp { slot: 1 });
    play.die(101, CLEAN);
    play.pass(20_000);
    assert_eq!(play.actions(), []);
    play.die(102, CLEAN);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn what_has_not_finished_in_time_is_killed_once() {
    let mut play = Play::ready(2);
    play.tell(Event::Stop(Stop::Gracefully));
    play.die(101, CLEAN);
    play.actions();
    play.pass(24_999);
    assert_eq!(play.actions(), []);
    play.pass(1);
    assert_eq!(play.actions(), [Action::Kill { pid: 102 }]);
    play.pass(1);
    assert_eq!(play.actions(), []);
    play.die(102, KILLED);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn a_second_signal_kills_what_is_left() {
    let mut play = Play::ready(1);
    play.tell(Event::Stop(Stop::Gracefully));
    play.actions();
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), []);
}

#[test]
fn a_stop_at_once_waits_for_nobody() {
    let mut play = Play::ready(1);
    play.tell(Event::Stop(Stop::AtOnce));
    assert_eq!(play.actions(), [Action::Drain { slot: 1, is_last: true }, Action::Kill { pid: 101 }]);
}

#[test]
fn a_forkserver_that_is_still_loading_is_killed_by_a_stop() {
    let mut play = Play::new(1);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 1, pid: 100 });
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Kill { pid: 100 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn workers_that_are_still_loading_are_killed_by_a_stop() {
    let mut play = Play::loaded(1);
    play.birth();
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
}

#[test]
fn a_worker_born_into_a_stop_is_killed() {
    let mut play = Play::loaded(1);
    play.actions();
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), []);
    play.tell(Event::Forked { generation: 1, slot: 1, pid: 101 });
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.die(101, KILLED);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
}

#[test]
fn a_stop_while_a_forkserver_waits_for_its_next_start_is_immediate() {
    let mut play = Play::ready(1);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    play.actions();
    play.tell(Event::ForkserverRefused { generation: 1, error: io::Error::from(io::ErrorKind::OutOfMemory) });
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Drain { slot: 1, is_last: true }]);
    play.die(101, CLEAN);
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn what_does_not_end_although_it_was_killed_is_left_behind() {
    let mut play = Play::ready(1);
    play.tell(Event::Stop(Stop::AtOnce));
    play.actions();
    play.pass(5_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 100 }]);
    play.pass(5_000);
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn a_worker_that_stops_by_itself_is_replaced_at_once_and_killed_when_it_takes_too_long() {
    let mut play = Play::ready(2);
    play.tell(Event::Stopping { slot: 1 });
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 3 }]);
    play.tell(Event::Forked { generation: 1, slot: 3, pid: 103 });
    play.tell(Event::Ready { slot: 3 });
    play.pass(24_999);
    assert_eq!(play.actions(), []);
    play.pass(1);
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.die(101, KILLED);
    assert_eq!((play.actions(), play.wait()), (vec![], None));
}

#[test]
fn a_first_start_that_hangs_is_given_up() {
    let mut play = Play::new(1);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 1, pid: 100 });
    assert_eq!(play.wait(), Some(60_000));
    play.pass(60_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 100 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    assert_eq!(play.fleet.over(), Some(Exit::NotLoaded));
    let mut play = Play::loaded(2);
    play.birth();
    play.pass(60_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }, Action::Kill { pid: 102 }]);
    play.die(101, KILLED);
    play.die(102, KILLED);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
}

#[test]
fn a_replacement_that_hangs_is_killed_and_tried_again() {
    let mut play = Play::ready(1);
    play.die(101, SEGFAULT);
    play.birth();
    play.pass(60_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.die(101, KILLED);
    play.pass(10_000);
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
}

#[test]
fn a_worker_that_has_lost_its_channel_is_killed_after_a_grace() {
    let mut play = Play::ready(1);
    play.tell(Event::HungUp { slot: 1 });
    assert_eq!(play.wait(), Some(5_000));
    play.pass(5_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.pass(5_000);
    assert_eq!(play.actions(), []);
}

#[test]
fn the_end_of_a_stranger_changes_nothing() {
    let mut play = Play::ready(1);
    for ending in [Ending::Code(3), Ending::Code(4), SEGFAULT] {
        play.die(4711, ending);
    }
    assert_eq!((play.actions(), play.wait(), play.fleet.over()), (vec![], None, None));
}
