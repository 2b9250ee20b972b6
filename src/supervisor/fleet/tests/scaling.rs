//! Scaling by load: up within a second, down after a quiet time, and never at a request's expense.

use super::*;

impl Play {
    /// A ready fleet of `workers` that may be as few as `least` and as many as `most`.
    fn open(workers: usize, least: usize, most: usize) -> Self {
        let mut play = Self::ready(workers);
        play.fleet.plan.range = Range { least, most };
        play
    }

    /// That many looks, ten a second, at workers of which those are busy that `is_busy`; returns what is done because of them.
    fn watch(&mut self, looks: usize, is_busy: impl Fn(u32) -> bool, waiting: u64) -> Vec<Action> {
        (0..looks).for_each(|_| self.look(&is_busy, waiting));
        self.actions()
    }

    fn look(&mut self, is_busy: impl Fn(u32) -> bool, waiting: u64) {
        self.now += Duration::from_millis(100);
        let living = self.fleet.living().into_iter();
        let busy = living.map(|(slot, _)| (slot, usize::from(is_busy(slot)))).collect();
        self.tell(Event::Demand(Demand { busy, waiting }));
    }

    /// Those that were asked for run and are ready.
    fn grow(&mut self, slots: impl IntoIterator<Item = u32>) {
        for slot in slots {
            self.tell(Event::Forked { generation: 1, slot, pid: pid(1, slot) });
            self.tell(Event::Ready { slot });
        }
        assert_eq!(self.actions(), []);
    }

    fn wanted(&self) -> usize {
        self.fleet.status(self.now).wanted
    }
}

const LEAVE: fn(u32) -> Action = |slot| Action::Drain { slot, is_last: false };
const FORK: fn(u32) -> Action = |slot| Action::Fork { generation: 1, slot };
const ALL: fn(u32) -> bool = |_| true;
const NONE: fn(u32) -> bool = |_| false;
/// Looks in a minute.
const MINUTE: usize = 600;

#[test]
fn a_second_of_busy_desks_makes_one_more() {
    let mut play = Play::open(1, 1, 4);
    assert_eq!(play.watch(9, ALL, 0), []);
    assert_eq!(play.watch(1, ALL, 0), [FORK(2)]);
}

#[test]
fn a_queue_makes_one_more_sooner() {
    let mut play = Play::open(1, 1, 4);
    assert_eq!(play.watch(2, NONE, 1), []);
    assert_eq!(play.watch(1, NONE, 0), []);
    assert_eq!(play.watch(2, NONE, 5), []);
    assert_eq!(play.watch(1, NONE, 1), [FORK(2)]);
}

#[test]
fn the_next_step_waits_until_the_last_one_serves() {
    let mut play = Play::open(1, 1, 4);
    assert_eq!(play.watch(10, ALL, 3), [FORK(2)]);
    assert_eq!(play.watch(MINUTE / 4, ALL, 3), []);
    play.grow([2]);
    assert_eq!(play.watch(2, ALL, 3), []);
    assert_eq!(play.watch(1, ALL, 3), [FORK(3)]);
}

#[test]
fn many_workers_grow_by_a_quarter() {
    let mut play = Play::open(8, 8, 11);
    assert_eq!(play.watch(10, ALL, 0), [FORK(9), FORK(10)]);
    play.grow([9, 10]);
    assert_eq!(play.watch(10, ALL, 0), [FORK(11)]);
    play.grow([11]);
    assert_eq!(play.watch(MINUTE, ALL, 7), []);
}

#[test]
fn a_fixed_number_is_not_looked_at_and_stays() {
    let mut play = Play::ready(2);
    assert_eq!(play.fleet.next_look(false), None);
    assert_eq!((play.watch(MINUTE, ALL, 9), play.watch(MINUTE, NONE, 0)), (vec![], vec![]));
    assert!(Play::open(2, 1, 4).fleet.next_look(false).is_some());
}

#[test]
fn nobody_looks_while_nothing_happens_and_there_are_the_fewest() {
    let mut play = Play::open(1, 1, 2);
    assert_eq!(play.fleet.next_look(true), None);
    assert_eq!(play.watch(9, ALL, 0), []);
    // What was seen before a long rest counts no more.
    play.pass(60_000);
    assert_eq!(play.watch(9, ALL, 0), []);
    assert_eq!(play.watch(1, ALL, 0), [FORK(2)]);
    assert!(play.fleet.next_look(true).is_some());
}

#[test]
fn one_less_after_each_quiet_time_until_there_are_the_fewest() {
    let mut play = Play::open(3, 1, 3);
    for (slot, wanted) in [(3, 2), (2, 1)] {
        // Half a minute, and the second that is looked back on.
        assert_eq!(play.watch(308, NONE, 0), [], "{wanted}");
        assert_eq!((play.watch(2, NONE, 0), play.wanted()), (vec![LEAVE(slot)], wanted));
        play.die(pid(1, slot), CLEAN);
    }
    assert_eq!((play.watch(MINUTE, NONE, 0), play.wanted()), (vec![], 1));
}

#[test]
fn a_moment_of_work_begins_the_quiet_time_anew() {
    let mut play = Play::open(2, 1, 3);
    for _ in 0..4 {
        assert_eq!(play.watch(250, NONE, 0), []);
        assert_eq!(play.watch(6, ALL, 0), []);
    }
    assert_eq!(play.wanted(), 2);
}

#[test]
fn what_is_neither_much_nor_little_changes_nothing() {
    let mut play = Play::open(3, 1, 6);
    assert_eq!(play.watch(3 * MINUTE, |slot| slot <= 2, 0), []);
}

#[test]
fn bursts_shorter_than_a_second_change_nothing() {
    let mut play = Play::open(1, 1, 4);
    for _ in 0..50 {
        assert_eq!((play.watch(5, ALL, 0), play.watch(5, NONE, 0)), (vec![], vec![]));
    }
}

#[test]
fn whoever_has_nothing_to_do_goes_first() {
    let mut play = Play::open(4, 1, 4);
    assert_eq!(play.watch(311, |slot| slot != 2, 0), []);
    assert_eq!(play.watch(311, |slot| slot == 4, 0), [LEAVE(3)]);
}

#[test]
fn one_too_many_is_not_killed_while_it_serves() {
    let mut play = Play::ready(2);
    play.tell(Event::Scale(Scale::Down));
    assert_eq!(play.actions(), [LEAVE(2)]);
    assert!(play.fleet.next_look(false).is_some());
    assert_eq!(play.watch(3 * MINUTE, ALL, 0), []);
    // Its request has ended, and it does not.
    assert_eq!(play.watch(49, NONE, 0), []);
    assert_eq!(play.watch(2, NONE, 0), [Action::Kill { pid: 102 }]);
    play.die(102, KILLED);
    assert_eq!(play.fleet.next_look(false), None);
}

#[test]
fn one_of_an_old_generation_has_as_long_as_ever() {
    let mut play = Play::open(1, 1, 2);
    play.tell(Event::Reload);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::Loaded { generation: 2 });
    play.birth();
    play.tell(Event::Ready { slot: 2 });
    assert_eq!(play.actions(), [LEAVE(1)]);
    assert_eq!(play.watch(251, |slot| slot == 1, 0), [Action::Kill { pid: 101 }]);
}

#[test]
fn the_number_stays_while_a_generation_is_on_trial() {
    let mut play = Play::open(2, 1, 4);
    play.tell(Event::Reload);
    play.actions();
    assert_eq!(play.watch(MINUTE / 2, ALL, 5), []);
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::Loaded { generation: 2 });
    play.birth();
    play.tell(Event::Ready { slot: 3 });
    play.tell(Event::Ready { slot: 4 });
    assert_eq!(play.actions(), [LEAVE(1), LEAVE(2)]);
    assert_eq!(play.watch(10, ALL, 0), [Action::Fork { generation: 2, slot: 5 }]);
}

#[test]
fn what_cannot_be_loaded_any_more_is_given_up_when_it_is_quiet() {
    let mut play = Play::open(1, 1, 4);
    assert_eq!(play.watch(10, ALL, 0), [FORK(2)]);
    for _ in 0..5 {
        play.tell(Event::Forked { generation: 1, slot: 2, pid: 102 });
        play.die(102, Ending::Code(3));
        play.pass(10_000);
        assert_eq!(play.actions(), [FORK(2)]);
    }
    play.tell(Event::Forked { generation: 1, slot: 2, pid: 102 });
    play.die(102, Ending::Code(3));
    play.watch(320, NONE, 0);
    assert_eq!((play.wanted(), play.fleet.living()), (1, vec![(1, 101)]));
}

#[test]
fn a_worn_worker_goes_first_and_its_replacement_is_not_needed() {
    let mut play = Play::open(2, 1, 2);
    play.tell(Event::Worn { slot: 1, reason: "it has served 5 requests".to_owned() });
    assert_eq!(play.actions(), [FORK(3)]);
    play.tell(Event::Forked { generation: 1, slot: 3, pid: 103 });
    assert_eq!(play.watch(311, NONE, 0), [Action::Kill { pid: 103 }]);
    play.die(103, KILLED);
    play.actions();
    assert_eq!(play.wanted(), 1);
    assert!(play.fleet.is_ready());
}

#[test]
fn an_operator_fixes_the_number_or_moves_the_range() {
    let mut play = Play::open(2, 1, 4);
    play.tell(Event::Scale(Scale::To(Range::fixed(3))));
    assert_eq!(play.actions(), [FORK(3)]);
    play.grow([3]);
    assert_eq!(play.watch(MINUTE, NONE, 0), []);
    play.tell(Event::Scale(Scale::To(Range { least: 5, most: 6 })));
    assert_eq!(play.actions(), [FORK(4), FORK(5)]);
    play.grow([4, 5]);
    assert_eq!((play.watch(10, ALL, 0), play.wanted()), (vec![FORK(6)], 6));
    play.grow([6]);
    play.tell(Event::Scale(Scale::To(Range { least: 1, most: 8 })));
    assert_eq!((play.actions(), play.wanted()), (vec![], 6));
}

#[test]
fn one_more_and_one_less_stay_within_the_range() {
    let mut play = Play::open(2, 2, 3);
    play.tell(Event::Scale(Scale::Down));
    assert_eq!(play.actions(), []);
    play.tell(Event::Scale(Scale::Up));
    assert_eq!(play.actions(), [FORK(3)]);
    play.tell(Event::Scale(Scale::Up));
    play.grow([3]);
    // It is one more for as long as any other.
    assert_eq!((play.watch(309, NONE, 0), play.watch(2, NONE, 0)), (vec![], vec![LEAVE(3)]));
}

#[test]
fn a_fleet_that_starts_or_stops_is_not_scaled() {
    let mut play = Play::loaded(2);
    play.fleet.plan.range = Range { least: 1, most: 4 };
    play.birth();
    assert_eq!(play.fleet.next_look(false), None);
    assert_eq!(play.watch(20, ALL, 5), []);
    play.tell(Event::Ready { slot: 1 });
    play.tell(Event::Ready { slot: 2 });
    play.tell(Event::Stop(Stop::Gracefully));
    play.actions();
    assert_eq!((play.fleet.next_look(false), play.watch(20, ALL, 5)), (None, vec![]));
}
