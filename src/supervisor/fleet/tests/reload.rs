//! Reloads: a new generation beside the old one.

use super::*;

impl Play {
    /// A reload of a ready fleet whose second generation has loaded and been given its workers.
    fn reloading(workers: usize) -> Self {
        let mut play = Self::ready(workers);
        play.tell(Event::Reload);
        play.start(2);
        play.birth();
        play
    }

    /// The forkserver of `generation` is asked for, runs and loads.
    fn start(&mut self, generation: u32) {
        assert_eq!(self.actions(), [Action::StartForkserver { generation }]);
        self.tell(Event::ForkserverStarted { generation, pid: pid(generation, 0) });
        self.tell(Event::Loaded { generation });
    }

    fn failure(&self) -> Option<(u32, String)> {
        let status = self.fleet.status(self.now);
        status.degraded.map(|degraded| (degraded.generation, degraded.reason))
    }

    fn generation(&self) -> u32 {
        self.fleet.status(self.now).generation
    }
}

const LEAVE: fn(u32) -> Action = |slot| Action::Drain { slot, is_last: false };

#[test]
fn the_old_generation_goes_on_until_every_worker_of_the_new_one_is_ready() {
    let mut play = Play::reloading(2);
    play.tell(Event::Ready { slot: 3 });
    assert_eq!((play.actions(), play.generation()), (vec![], 1));
    play.tell(Event::Ready { slot: 4 });
    assert_eq!((play.actions(), play.generation()), (vec![LEAVE(1), LEAVE(2)], 2));
    play.die(101, CLEAN);
    assert_eq!(play.actions(), []);
    play.die(102, CLEAN);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!((play.actions(), play.wait(), play.fleet.over()), (vec![], None, None));
}

#[test]
fn requests_of_the_old_generation_have_the_time_a_stop_gives_them() {
    let mut play = Play::reloading(1);
    play.tell(Event::Ready { slot: 2 });
    assert_eq!((play.actions(), play.wait()), (vec![LEAVE(1)], Some(25_000)));
    play.pass(25_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
}

#[test]
fn a_generation_that_cannot_be_loaded_is_discarded() {
    let mut play = Play::ready(1);
    play.tell(Event::Reload);
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 2 }]);
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::LoadFailed { generation: 2, report: "SyntaxError".to_owned() });
    assert_eq!(play.failure(), Some((2, "SyntaxError".to_owned())));
    assert_eq!(play.actions(), [Action::Kill { pid: 200 }]);
    play.tell(Event::ForkserverEnded { generation: 2, ending: Ending::Code(3) });
    assert_eq!((play.actions(), play.wait(), play.generation()), (vec![], None, 1));
}

#[test]
fn one_worker_that_fails_discards_its_whole_generation() {
    for is_reported in [true, false] {
        let mut play = Play::reloading(2);
        play.tell(Event::Ready { slot: 3 });
        if is_reported {
            play.tell(Event::LoadFailed { generation: 2, report: "ImportError".to_owned() });
            assert_eq!(play.actions(), [LEAVE(3), Action::Kill { pid: 204 }]);
            assert_eq!(play.failure(), Some((2, "ImportError".to_owned())));
        } else {
            play.die(204, SEGFAULT);
            assert_eq!(play.actions(), [LEAVE(3)]);
            assert_eq!(play.failure(), Some((2, "worker 4 (pid 204) died: SIGSEGV".to_owned())));
        }
        play.die(204, KILLED);
        play.die(203, CLEAN);
        assert_eq!(play.actions(), [Action::Retire { generation: 2 }]);
        assert_eq!(play.generation(), 1);
    }
}

#[test]
fn a_generation_that_hangs_is_discarded_when_its_time_is_up() {
    let mut play = Play::ready(1);
    play.tell(Event::Reload);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    assert_eq!(play.wait(), Some(60_000));
    play.pass(60_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 200 }]);
    assert!(play.failure().unwrap().1.contains("--start-timeout"));
    let mut play = Play::reloading(1);
    play.pass(60_000);
    assert_eq!(play.actions(), [Action::Kill { pid: 202 }]);
    play.die(202, KILLED);
    assert_eq!(play.actions(), [Action::Retire { generation: 2 }]);
}

#[test]
fn a_forkserver_that_dies_or_cannot_be_forked_discards_its_generation() {
    let mut play = Play::ready(1);
    play.tell(Event::Reload);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::ForkserverEnded { generation: 2, ending: SEGFAULT });
    assert_eq!(play.failure().unwrap().1, "forkserver g2 (pid 200) died: SIGSEGV");
    play.tell(Event::Reload);
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 3 }]);
    play.tell(Event::ForkserverRefused { generation: 3, error: io::Error::from(io::ErrorKind::OutOfMemory) });
    assert_eq!(play.failure().unwrap().0, 3);
    assert_eq!((play.actions(), play.generation()), (vec![], 1));
}

#[test]
fn the_next_good_generation_ends_the_degradation() {
    let mut play = Play::ready(1);
    play.tell(Event::Reload);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::ForkserverEnded { generation: 2, ending: SEGFAULT });
    play.tell(Event::Reload);
    play.start(3);
    play.birth();
    assert!(play.failure().is_some());
    play.tell(Event::Ready { slot: 2 });
    assert_eq!((play.failure(), play.generation()), (None, 3));
}

#[test]
fn reloads_asked_for_during_a_reload_are_one_more_reload() {
    let mut play = Play::reloading(1);
    for _ in 0..5 {
        play.tell(Event::Reload);
    }
    assert_eq!(play.actions(), []);
    play.tell(Event::Ready { slot: 2 });
    assert_eq!(play.actions(), [LEAVE(1), Action::StartForkserver { generation: 3 }]);
    play.tell(Event::ForkserverStarted { generation: 3, pid: 300 });
    play.tell(Event::Loaded { generation: 3 });
    play.birth();
    play.tell(Event::Ready { slot: 3 });
    assert_eq!(play.actions(), [LEAVE(2)]);
}

#[test]
fn a_reload_waits_for_the_first_worker() {
    let mut play = Play::loaded(1);
    play.birth();
    play.tell(Event::Reload);
    assert_eq!(play.actions(), []);
    play.tell(Event::Ready { slot: 1 });
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 2 }]);
}

#[test]
fn a_reload_helps_a_fleet_whose_workers_keep_dying() {
    let mut play = Play::ready(1);
    play.die(101, SEGFAULT);
    play.birth();
    play.die(101, SEGFAULT);
    play.tell(Event::Reload);
    play.start(2);
    play.birth();
    play.tell(Event::Ready { slot: 2 });
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
    assert_eq!(play.generation(), 2);
}

#[test]
fn workers_that_die_during_a_reload_are_replaced_in_their_own_generation() {
    let mut play = Play::reloading(1);
    play.die(101, SEGFAULT);
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
    play.tell(Event::Forked { generation: 1, slot: 1, pid: 111 });
    play.tell(Event::Ready { slot: 2 });
    assert_eq!(play.actions(), [Action::Kill { pid: 111 }]);
    play.die(111, KILLED);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
}

#[test]
fn a_dead_forkserver_of_a_generation_that_leaves_is_not_replaced() {
    let mut play = Play::reloading(1);
    play.tell(Event::Ready { slot: 2 });
    play.actions();
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    play.pass(1);
    assert_eq!(play.actions(), []);
    play.die(101, CLEAN);
    assert_eq!((play.actions(), play.wait()), (vec![], None));
}

#[test]
fn a_stop_during_a_reload_stops_both_generations() {
    let mut play = Play::reloading(1);
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Drain { slot: 1, is_last: true }, Action::Kill { pid: 202 }]);
    assert_eq!(play.fleet.outcome(2), None);
    play.die(202, KILLED);
    play.die(101, CLEAN);
    assert_eq!(play.actions(), [Action::Retire { generation: 2 }, Action::Retire { generation: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 2, ending: CLEAN });
    assert_eq!(play.fleet.over(), None);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn nothing_is_reloaded_while_stopping() {
    let mut play = Play::ready(1);
    play.tell(Event::Stop(Stop::Gracefully));
    play.actions();
    play.tell(Event::Reload);
    assert_eq!(play.actions(), []);
}

#[test]
fn a_worker_forked_for_another_generation_does_not_take_a_place() {
    let mut play = Play::ready(1);
    play.tell(Event::Reload);
    play.start(2);
    assert_eq!(play.actions(), [Action::Fork { generation: 2, slot: 2 }]);
    play.tell(Event::Forked { generation: 1, slot: 2, pid: 999 });
    assert_eq!(play.actions(), [Action::Kill { pid: 999 }]);
    play.tell(Event::Forked { generation: 2, slot: 2, pid: 202 });
    assert_eq!(play.fleet.slot_of(202), Some(2));
}

#[test]
fn reloads_wait_when_too_many_generations_have_not_finished() {
    let mut play = Play::ready(1);
    for generation in 2..=8 {
        play.tell(Event::Reload);
        play.start(generation);
        play.birth();
        play.tell(Event::Ready { slot: generation });
        play.actions();
    }
    play.tell(Event::Reload);
    assert_eq!(play.actions(), []);
    play.die(101, CLEAN);
    assert_eq!(play.actions(), [Action::Retire { generation: 1 }]);
    play.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 9 }]);
}
