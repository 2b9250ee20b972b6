//! Upgrades: another process in place of this one.

use super::*;

const SUCCESSOR: i32 = 900;

impl Play {
    /// An upgrade of a ready fleet whose successor runs.
    fn upgrading(workers: usize) -> Self {
        let mut play = Self::ready(workers);
        play.tell(Event::Upgrade);
        assert_eq!(play.actions(), [Action::StartSuccessor]);
        play.tell(Event::SuccessorStarted { pid: SUCCESSOR });
        assert_eq!(play.actions(), []);
        play
    }

    /// One whose successor has taken over.
    fn handed_over(workers: usize) -> Self {
        let mut play = Self::upgrading(workers);
        play.tell(Event::SuccessorReady);
        assert_eq!(play.actions(), [Action::HandOver { pid: SUCCESSOR }]);
        play.tell(Event::HandedOver);
        play
    }

    fn state(&self) -> Option<&'static str> {
        self.fleet.status(self.now).upgrade.map(|upgrade| upgrade.state)
    }

    fn reason(&self) -> String {
        match self.fleet.upgraded(1) {
            Upgraded::Failed(reason) => reason.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The first worker and its forkserver go.
    fn finish(&mut self) {
        self.die(101, CLEAN);
        assert_eq!(self.actions(), [Action::Retire { generation: 1 }]);
        self.tell(Event::ForkserverEnded { generation: 1, ending: CLEAN });
    }
}

#[test]
fn a_successor_that_is_ready_takes_over_and_we_finish() {
    let mut play = Play::upgrading(1);
    assert_eq!((play.state(), play.fleet.upgraded(1)), (Some("starting"), Upgraded::Pending));
    play.tell(Event::SuccessorReady);
    assert_eq!(play.actions(), [Action::HandOver { pid: SUCCESSOR }]);
    play.tell(Event::HandedOver);
    assert_eq!(play.actions(), [Action::Drain { slot: 1, is_last: false }]);
    assert_eq!((play.state(), play.fleet.upgraded(1)), (Some("done"), Upgraded::By(SUCCESSOR)));
    play.finish();
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn a_successor_that_cannot_be_made_leaves_everything_as_it_was() {
    let mut play = Play::ready(1);
    play.tell(Event::Upgrade);
    play.actions();
    play.tell(Event::SuccessorFailed { report: "no such file".to_owned() });
    assert_eq!((play.actions(), play.reason(), play.wait()), (vec![], "no such file".to_owned(), None));
    assert_eq!((play.fleet.obstacle(), play.fleet.is_ready()), (None, true));
    play.tell(Event::Upgrade);
    assert_eq!((play.actions(), play.fleet.upgraded(2)), (vec![Action::StartSuccessor], Upgraded::Pending));
}

#[test]
fn a_successor_that_fails_is_told_to_stop_and_killed_when_it_does_not() {
    let mut play = Play::upgrading(1);
    play.tell(Event::SuccessorFailed { report: "Traceback\nZeroDivisionError".to_owned() });
    assert_eq!(play.actions(), [Action::Terminate { pid: SUCCESSOR }]);
    assert_eq!((play.state(), play.reason().as_str()), (Some("failed"), "Traceback\nZeroDivisionError"));
    assert!(play.fleet.obstacle().is_some());
    // What the successor's own stop may take, its forced end included.
    assert_eq!(play.wait(), Some(40_000));
    play.pass(40_000);
    assert_eq!(play.actions(), [Action::Kill { pid: SUCCESSOR }]);
    play.tell(Event::SuccessorEnded { ending: KILLED });
    assert_eq!((play.actions(), play.wait(), play.fleet.obstacle()), (vec![], None, None));
    assert_eq!(play.fleet.over(), None);
}

#[test]
fn a_successor_that_dies_or_is_late_has_failed() {
    let mut play = Play::upgrading(1);
    play.tell(Event::SuccessorEnded { ending: SEGFAULT });
    assert_eq!((play.actions(), play.fleet.obstacle()), (vec![], None));
    assert!(play.reason().contains("SIGSEGV"), "{}", play.reason());
    let mut play = Play::upgrading(1);
    assert_eq!(play.wait(), Some(70_000));
    play.pass(70_000);
    assert_eq!(play.actions(), [Action::Terminate { pid: SUCCESSOR }]);
    assert!(play.reason().contains("not ready within 70 s"), "{}", play.reason());
    play.tell(Event::SuccessorReady);
    play.tell(Event::HandedOver);
    assert_eq!((play.actions(), play.fleet.is_ready()), (vec![], true));
}

#[test]
fn an_upgrade_is_refused_while_it_cannot_be() {
    let mut play = Play::loaded(1);
    play.actions();
    play.tell(Event::Upgrade);
    assert_eq!((play.actions(), play.state()), (vec![], None));
    let mut play = Play::upgrading(1);
    play.tell(Event::Upgrade);
    assert_eq!(play.actions(), []);
    let mut play = Play::handed_over(1);
    play.actions();
    play.tell(Event::Upgrade);
    assert_eq!(play.actions(), []);
    assert!(play.fleet.obstacle().is_some_and(|why| why.contains("stopping")));
}

#[test]
fn a_stop_during_an_upgrade_stops_both_and_waits_for_both() {
    let mut play = Play::upgrading(1);
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Terminate { pid: SUCCESSOR }, Action::Drain { slot: 1, is_last: true }]);
    play.finish();
    assert_eq!(play.fleet.over(), None);
    play.tell(Event::SuccessorEnded { ending: CLEAN });
    assert_eq!(play.fleet.over(), Some(Exit::Stopped));
}

#[test]
fn a_stop_at_once_kills_a_successor_that_has_not_taken_over() {
    let mut play = Play::upgrading(1);
    play.tell(Event::Stop(Stop::AtOnce));
    assert!(play.actions().contains(&Action::Kill { pid: SUCCESSOR }));
    let mut play = Play::handed_over(1);
    play.tell(Event::Stop(Stop::AtOnce));
    assert!(!play.actions().contains(&Action::Kill { pid: SUCCESSOR }));
}

#[test]
fn the_first_word_to_stop_after_a_hand_over_cuts_nothing() {
    let mut play = Play::handed_over(1);
    play.actions();
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!((play.actions(), play.wait()), (vec![], Some(25_000)));
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.actions(), [Action::Kill { pid: 101 }]);
}

#[test]
fn a_reload_goes_on_beside_an_upgrade_and_is_not_forgotten() {
    let mut play = Play::upgrading(1);
    play.tell(Event::Reload);
    assert_eq!(play.actions(), [Action::StartForkserver { generation: 2 }]);
    assert!(play.fleet.owes_reload());
    play.tell(Event::SuccessorReady);
    play.tell(Event::HandedOver);
    assert_eq!(play.fleet.outcome(2), None);
    assert!(play.fleet.farewell().contains("900"));
}

#[test]
fn a_reload_that_ends_before_a_hand_over_is_not_undone_by_it() {
    let mut play = Play::upgrading(1);
    assert!(!play.fleet.owes_reload());
    for generation in [2, 3] {
        play.tell(Event::Reload);
        assert_eq!(play.actions(), [Action::StartForkserver { generation }]);
        play.tell(Event::ForkserverStarted { generation, pid: pid(generation, 0) });
        play.tell(Event::Loaded { generation });
        play.birth();
        play.tell(Event::Ready { slot: generation });
        assert!(!play.fleet.is_reloading() && play.fleet.owes_reload());
        play.actions();
    }
    // The next one would be of the same age as what is served.
    play.tell(Event::SuccessorEnded { ending: SEGFAULT });
    play.tell(Event::Upgrade);
    assert!(!play.fleet.owes_reload());
}

#[test]
fn a_successor_that_is_sent_away_is_handed_nothing() {
    let mut play = Play::upgrading(1);
    play.tell(Event::SuccessorReady);
    play.pass(70_000);
    assert_eq!(play.actions(), [Action::Terminate { pid: SUCCESSOR }]);
}

#[test]
fn the_successor_goes_on_with_as_many_workers() {
    let mut play = Play::ready(2);
    assert_eq!(play.fleet.strength(), (2, None));
    play.tell(Event::Scale(Scale::Up));
    assert_eq!(play.fleet.strength(), (3, Some(Range::fixed(3))));
    let mut next = Play::new(2);
    next.fleet.inherit(play.fleet.strength(), next.now);
    assert_eq!(next.fleet.status(next.now).wanted, 3);
    assert_eq!(next.fleet.strength(), play.fleet.strength());
    // Nobody has changed it, so the command line counts.
    next = Play::new(2);
    next.fleet.inherit((5, None), next.now);
    assert_eq!(next.fleet.strength(), (2, None));
}

#[test]
fn a_first_start_that_fails_says_why_for_whoever_waits_for_it() {
    let mut play = Play::loaded(1);
    play.birth();
    assert_eq!(play.fleet.last_words(), None);
    play.tell(Event::LoadFailed { generation: 1, report: "Traceback".to_owned() });
    assert_eq!(play.fleet.last_words(), Some("Traceback"));
}
