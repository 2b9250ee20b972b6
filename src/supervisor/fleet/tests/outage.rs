//! When nobody serves: what is a moment's matter, and what is not.

use super::*;

fn is_down(play: &Play) -> bool {
    matches!(play.fleet.situation(play.now), Situation::Down(_))
}

/// Worker 1 is started and dies.
fn die_again(play: &mut Play, ending: Ending) {
    while !play.actions().contains(&Action::Fork { generation: 1, slot: 1 }) {
        play.pass(100);
    }
    play.tell(Event::Forked { generation: 1, slot: 1, pid: 101 });
    play.die(101, ending);
}

#[test]
fn a_first_start_is_no_outage() {
    let mut play = Play::loaded(1);
    play.birth();
    play.pass(30_000);
    assert_eq!(play.fleet.situation(play.now), Situation::Starting);
    play.tell(Event::Ready { slot: 1 });
    assert_eq!(play.fleet.situation(play.now), Situation::Serving);
}

#[test]
fn a_death_or_two_are_waited_for() {
    let mut play = Play::ready(1);
    play.die(101, Ending::Signal(9));
    die_again(&mut play, Ending::Signal(9));
    play.pass(30_000);
    assert_eq!(play.fleet.situation(play.now), Situation::Serving);
}

#[test]
fn deaths_in_a_row_are_an_outage_until_one_is_ready() {
    let mut play = Play::ready(1);
    play.die(101, Ending::Signal(11));
    die_again(&mut play, Ending::Code(3));
    die_again(&mut play, Ending::Signal(11));
    assert!(!is_down(&play));
    play.pass(1000);
    let Situation::Down(Down { cause, is_unloadable, .. }) = play.fleet.situation(play.now) else {
        panic!("{:?}", play.fleet.situation(play.now))
    };
    assert_eq!((cause, is_unloadable), ("worker 1 died: SIGSEGV", false));
    assert_eq!(play.actions(), [Action::Fork { generation: 1, slot: 1 }]);
    play.tell(Event::Forked { generation: 1, slot: 1, pid: 101 });
    assert!(is_down(&play));
    play.tell(Event::Ready { slot: 1 });
    assert_eq!(play.fleet.situation(play.now), Situation::Serving);
}

#[test]
fn the_reason_why_it_cannot_be_loaded_says_more_than_the_exit_code() {
    let mut play = Play::ready(1);
    play.die(101, Ending::Signal(9));
    for _ in 0..3 {
        let report = "Traceback\n  File\nImportError: no\n\n".to_owned();
        play.tell(Event::LoadFailed { generation: 1, report });
        die_again(&mut play, Ending::Code(i32::from(LOAD_FAILED)));
    }
    play.pass(1000);
    let Situation::Down(down) = play.fleet.situation(play.now) else { panic!("not down") };
    assert_eq!((down.cause, down.is_unloadable), ("ImportError: no", true));
    assert!(down.retry_in < Duration::from_secs(10));
}

#[test]
fn a_fleet_is_down_exactly_when_it_was_ready_and_is_not() {
    let mut play = Play::loaded(1);
    let state = |play: &Play| (play.fleet.state(), play.fleet.is_ready());
    assert_eq!(state(&play), ("starting", false));
    play.birth();
    play.tell(Event::Ready { slot: 1 });
    assert_eq!(state(&play), ("ready", true));
    play.die(101, SEGFAULT);
    assert_eq!(state(&play), ("down", false));
    assert!(play.fleet.standing().text.starts_with("down: no worker serves (worker 1 died: SIGSEGV); 0 of 1"));
    // Whatever is being loaded, nobody serves.
    play.tell(Event::Reload);
    assert_eq!(state(&play), ("down", false));
    play.pass(2500);
    let outage = play.fleet.status(play.now).outage.unwrap();
    assert_eq!((outage.lasted, &*outage.reason), (2.5, "worker 1 died: SIGSEGV"));
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!((state(&play), play.fleet.status(play.now).outage), (("stopping", false), None));
}

#[test]
fn whoever_we_have_killed_is_not_said_to_be_killed_by_others() {
    let cause = |play: &Play| play.fleet.status(play.now).outage.unwrap().reason;
    let mut play = Play::ready(1);
    play.tell(Event::HungUp { slot: 1 });
    play.pass(5_000);
    play.die(101, KILLED);
    assert_eq!(cause(&play), "worker 1 died: SIGKILL, because it did not end by itself");
    play.tell(Event::ForkserverHungUp { generation: 1 });
    play.pass(5_000);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    assert_eq!(cause(&play), "forkserver g1 died: SIGKILL, because it did not end by itself");
    play.pass(100);
    play.tell(Event::ForkserverStarted { generation: 1, pid: 11 });
    play.pass(60_000);
    play.tell(Event::ForkserverEnded { generation: 1, ending: KILLED });
    assert_eq!(cause(&play), "forkserver g1 died: SIGKILL, because it has not loaded within --start-timeout");
}

#[test]
fn one_that_serves_is_enough() {
    let mut play = Play::ready(2);
    play.die(101, Ending::Signal(9));
    die_again(&mut play, Ending::Signal(9));
    die_again(&mut play, Ending::Signal(9));
    play.pass(5000);
    assert_eq!(play.fleet.situation(play.now), Situation::Serving);
    play.tell(Event::Stop(Stop::Gracefully));
    assert_eq!(play.fleet.situation(play.now), Situation::Stopping);
}

#[test]
fn workers_that_drain_have_their_last_call_before_the_queue_is_closed() {
    let mut play = Play::ready(1);
    play.tell(Event::Stop(Stop::Gracefully));
    play.pass(1000);
    assert_eq!(play.fleet.situation(play.now), Situation::Stopping);
    play.pass(1000);
    assert_eq!(play.fleet.situation(play.now), Situation::Closing);
    let mut play = Play::ready(1);
    play.tell(Event::Stop(Stop::AtOnce));
    assert_eq!(play.fleet.situation(play.now), Situation::Stopping);
    play.die(101, KILLED);
    assert_eq!(play.fleet.situation(play.now), Situation::Closing);
}
