//! Recycling and scaling: replacements first, one at a time.

use super::*;

impl Play {
    fn wear(&mut self, slot: u32) {
        self.tell(Event::Worn { slot, reason: "it has served 5 requests".to_owned() });
    }
}

const LEAVE: fn(u32) -> Action = |slot| Action::Drain { slot, is_last: false };
const FORK: fn(u32) -> Action = |slot| Action::Fork { generation: 1, slot };

#[test]
fn a_worn_worker_goes_when_its_replacement_is_ready() {
    let mut play = Play::ready(2);
    play.wear(1);
    assert_eq!(play.actions(), [FORK(3)]);
    play.tell(Event::Forked { generation: 1, slot: 3, pid: 103 });
    assert_eq!(play.actions(), []);
    play.tell(Event::Ready { slot: 3 });
    assert_eq!(play.actions(), [LEAVE(1)]);
    play.die(101, CLEAN);
    assert_eq!((play.actions(), play.wait()), (vec![], None));
}

#[test]
fn one_is_replaced_at_a_time() {
    let mut play = Play::ready(3);
    for slot in [1, 2, 3, 1] {
        play.wear(slot);
    }
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        let actions = play.actions();
        assert_eq!(actions, [FORK(new)], "{old}");
        play.tell(Event::Forked { generation: 1, slot: new, pid: pid(1, new) });
        play.tell(Event::Ready { slot: new });
        assert_eq!(play.fleet.next_action(), Some(LEAVE(old)));
    }
    assert_eq!(play.actions(), []);
}

#[test]
fn a_replacement_that_cannot_be_loaded_leaves_the_worn_worker_serving() {
    let mut play = Play::ready(1);
    play.wear(1);
    play.birth();
    play.tell(Event::LoadFailed { generation: 1, report: "ImportError".to_owned() });
    play.die(102, Ending::Code(3));
    assert_eq!(play.actions(), [FORK(2)]);
    play.tell(Event::Forked { generation: 1, slot: 2, pid: 112 });
    play.die(112, Ending::Code(3));
    assert_eq!((play.actions(), play.wait(), play.fleet.over()), (vec![], Some(100), None));
    assert!(play.fleet.is_ready());
}

#[test]
fn a_worn_worker_that_dies_is_the_one_that_is_replaced() {
    let mut play = Play::ready(1);
    play.wear(1);
    play.birth();
    play.die(101, SEGFAULT);
    play.tell(Event::Ready { slot: 2 });
    play.pass(1);
    assert_eq!((play.actions(), play.wait()), (vec![], None));
    assert_eq!(play.fleet.living(), [(2, 102)]);
}

#[test]
fn one_that_is_far_too_large_is_killed_at_once_and_replaced() {
    let mut play = Play::ready(2);
    play.tell(Event::Oversized { slot: 1, reason: "it uses 900 MiB".to_owned() });
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.die(101, KILLED);
    assert_eq!(play.actions(), [FORK(1)]);
    play.tell(Event::Oversized { slot: 7, reason: String::new() });
    assert_eq!((play.actions(), play.fleet.over()), (vec![], None));
}

#[test]
fn one_that_grows_too_large_while_it_loads_discards_its_generation() {
    let mut play = Play::ready(1);
    play.tell(Event::Reload);
    play.actions();
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::Loaded { generation: 2 });
    play.birth();
    play.tell(Event::Oversized { slot: 2, reason: String::new() });
    assert_eq!(play.actions(), [Action::Kill { pid: 202 }]);
    play.die(202, KILLED);
    assert_eq!(play.actions(), [Action::Retire { generation: 2 }]);
    assert!(play.fleet.is_ready());
}

#[test]
fn the_old_are_worn_by_their_age_and_not_all_at_once() {
    let mut play = Play::ready(2);
    play.fleet.plan.recycling.max_lifetime = Some(Duration::from_secs(1000));
    let wait = play.wait().unwrap();
    assert!((1_000_000..=1_100_000).contains(&wait), "{wait}");
    play.pass(1_100_000);
    assert_eq!(play.actions(), [FORK(3)]);
    play.tell(Event::Forked { generation: 1, slot: 3, pid: 103 });
    play.tell(Event::Ready { slot: 3 });
    assert_eq!(play.actions(), [LEAVE(1), FORK(4)]);
}

#[test]
fn a_worker_is_worn_once_and_only_while_it_serves() {
    let mut play = Play::ready(1);
    play.wear(1);
    play.birth();
    play.wear(2);
    play.wear(7);
    play.wear(1);
    assert_eq!(play.actions(), []);
    play.tell(Event::Ready { slot: 2 });
    assert_eq!(play.actions(), [LEAVE(1)]);
    play.wear(1);
    assert_eq!(play.actions(), []);
}

#[test]
fn a_reload_replaces_the_worn_as_well() {
    let mut play = Play::ready(1);
    play.wear(1);
    play.birth();
    play.tell(Event::Reload);
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 2 }]);
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::Loaded { generation: 2 });
    play.birth();
    play.tell(Event::Ready { slot: 3 });
    assert_eq!(play.actions(), [LEAVE(1), Action::Kill { pid: 102 }]);
}

#[test]
fn one_more_and_one_less() {
    let mut play = Play::ready(2);
    play.tell(Event::Scale(Scale::Up));
    assert_eq!(play.actions(), [FORK(3)]);
    play.tell(Event::Forked { generation: 1, slot: 3, pid: 103 });
    play.tell(Event::Ready { slot: 3 });
    play.tell(Event::Scale(Scale::Down));
    assert_eq!(play.actions(), [LEAVE(3)]);
    play.die(103, CLEAN);
    assert_eq!(play.actions(), []);
}

#[test]
fn there_is_never_none() {
    let mut play = Play::ready(1);
    play.tell(Event::Scale(Scale::Down));
    play.tell(Event::Scale(Scale::To(Range::fixed(0))));
    assert_eq!(play.actions(), []);
}

#[test]
fn scaling_down_takes_those_first_that_serve_nobody() {
    let mut play = Play::ready(2);
    play.die(101, SEGFAULT);
    play.birth();
    play.tell(Event::Scale(Scale::To(Range::fixed(1))));
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
    play.die(101, KILLED);
    assert_eq!((play.actions(), play.fleet.living()), (vec![], vec![(2, 102)]));
}

#[test]
fn the_number_of_workers_counts_for_the_next_generation_too() {
    let mut play = Play::ready(1);
    play.tell(Event::Scale(Scale::To(Range::fixed(3))));
    assert_eq!(play.actions(), [FORK(2), FORK(3)]);
    play.tell(Event::Reload);
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 2 }]);
    play.tell(Event::ForkserverStarted { generation: 2, pid: 200 });
    play.tell(Event::Loaded { generation: 2 });
    assert_eq!(play.actions().len(), 3);
}
