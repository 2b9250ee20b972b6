//! A worker's death costs only what it was doing; another takes its place.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve},
    gate::Gate,
    packet::Packet,
    peer::Peer,
    process,
    reply::End,
};

/// What `tests/apps/process.py` tells about the worker that answered.
fn facts(daemon: &Daemon) -> serde_json::Value {
    daemon.get("/").json()
}

fn pid(facts: &serde_json::Value, key: &str) -> i32 {
    i32::try_from(facts[key].as_i64().unwrap()).unwrap()
}

/// A request that the application holds at the gate; tells which worker has it.
fn hold(daemon: &Daemon, gate: &Gate) -> (Peer, crate::support::gate::Arrival, i32) {
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_arrival();
    let worker = arrival.note.parse().unwrap();
    (peer, arrival, worker)
}

#[test]
fn a_killed_worker_is_replaced() {
    let daemon = Serve::app("process").start();
    for _ in 0..3 {
        let before = pid(&facts(&daemon), "pid");
        process::signal(before, Signal::SIGKILL);
        assert_ne!(pid(&facts(&daemon), "pid"), before);
        daemon.log.await_line(&["died", "SIGKILL", &format!("pid {before}")]);
    }
    assert_eq!(daemon.workers().len(), 1);
}

#[test]
fn a_killed_worker_costs_only_the_requests_in_it() {
    let gate = Gate::new();
    let daemon = Serve::app("process").workers(2).gate(&gate).start();
    let (doomed, _arrival, first) = hold(&daemon, &gate);
    let (lucky, arrival, second) = hold(&daemon, &gate);
    assert_ne!(first, second);
    process::signal(first, Signal::SIGKILL);
    assert!(doomed.reply().expect_reset().is_empty());
    assert_ne!(pid(&facts(&daemon), "pid"), first);
    arrival.open();
    assert_eq!(pid(&lucky.reply().expect(200).json(), "pid"), second);
}

#[test]
fn workers_killed_under_load_cost_no_more_than_the_requests_in_them() {
    let daemon = Serve::app("hello").workers(2).start();
    let is_over = AtomicBool::new(false);
    let failures = AtomicUsize::new(0);
    let load = || {
        while !is_over.load(Ordering::Relaxed) {
            let mut peer = daemon.connect();
            // A worker may die between its accept and the packet.
            let is_sent = peer.try_send(&Packet::get("/").bytes()).is_ok();
            let reply = peer.reply();
            if reply.text() != "Hello, world!\n" {
                assert!(reply.is_empty() && (reply.end() == End::Reset || !is_sent), "{reply:?}");
                failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        // Nothing may fail before the clients have been told to go home.
        let all_replaced = (0..10).all(|_| kill_one_of_two(&daemon));
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        assert!(all_replaced, "a killed worker was not replaced");
    });
    let failures = failures.into_inner();
    // Besides the request at its desk a worker may hold one whose packet was still on its way.
    assert!(failures <= 20, "ten workers of one thread died, {failures} requests failed");
}

/// Kills a worker; tells whether there are two again in time.
fn kill_one_of_two(daemon: &Daemon) -> bool {
    let Some(doomed) = daemon.workers().first().copied() else {
        return false;
    };
    let _ = kill(Pid::from_raw(doomed), Signal::SIGKILL);
    process::has_ended(doomed, DEADLINE) && process::eventually(|| daemon.workers().len() == 2)
}

#[test]
fn requests_that_wait_in_the_listen_queue_survive_a_worker() {
    let gate = Gate::new();
    let daemon = Serve::app("process").gate(&gate).start();
    let (_doomed, _arrival, worker) = hold(&daemon, &gate);
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let mut peer = daemon.connect();
            peer.send(Packet::get("/").bytes());
            peer
        })
        .collect();
    process::signal(worker, Signal::SIGKILL);
    for peer in waiting {
        peer.reply().expect(200);
    }
}

#[test]
fn a_worker_that_segfaults_is_named_with_its_signal() {
    let daemon = Serve::app("fails").start();
    let worker = daemon.workers()[0];
    daemon.ask(&Packet::get("/segfault")).expect_reset();
    daemon.log.await_line(&["died", "SIGSEGV", &format!("pid {worker}")]);
    daemon.get("/well").expect_body("well");
}

#[test]
fn a_worker_told_to_stop_finishes_its_request_and_is_replaced() {
    let gate = Gate::new();
    let daemon = Serve::app("process").gate(&gate).start();
    let (peer, arrival, worker) = hold(&daemon, &gate);
    process::signal(worker, Signal::SIGTERM);
    daemon.log.await_line(&["SIGTERM", "draining"]);
    arrival.open();
    assert_eq!(pid(&peer.reply().expect(200).json(), "pid"), worker);
    assert!(process::eventually(|| pid(&facts(&daemon), "pid") != worker));
    assert_eq!(daemon.log.with(&["ERROR"]), [""; 0]);
}

#[test]
fn a_killed_forkserver_is_replaced_and_its_workers_go_on() {
    let daemon = Serve::app("process").start();
    let worker = pid(&facts(&daemon), "pid");
    let forkserver = daemon.forkserver();
    process::signal(forkserver, Signal::SIGKILL);
    assert!(process::has_ended(forkserver, DEADLINE));
    assert_eq!(pid(&facts(&daemon), "pid"), worker);
    process::signal(worker, Signal::SIGKILL);
    assert_ne!(pid(&facts(&daemon), "pid"), worker);
}

#[test]
fn a_killed_supervisor_takes_everything_along() {
    let daemon = Serve::app("process").workers(2).start();
    daemon.get("/");
    daemon.signal(Signal::SIGKILL);
    daemon.log.await_end();
}

#[test]
fn the_application_is_loaded_by_every_worker_unless_told_otherwise() {
    let daemon = Serve::app("process").start();
    let facts = facts(&daemon);
    assert_eq!(facts["imported_by"], facts["pid"]);
    assert_eq!(facts["frozen"], 0);
}

#[test]
fn preload_loads_the_application_once_and_freezes_it() {
    let gate = Gate::new();
    let daemon = Serve::app("process").workers(2).flag("--preload").gate(&gate).start();
    let forkserver = daemon.forkserver();
    let mut workers = BTreeSet::new();
    let held: Vec<_> = (0..2).map(|_| hold(&daemon, &gate)).collect();
    for (peer, arrival, worker) in held {
        arrival.open();
        let facts = peer.reply().expect(200).json();
        assert_eq!(pid(&facts, "imported_by"), forkserver);
        assert_eq!(pid(&facts, "parent"), forkserver);
        assert!(facts["frozen"].as_i64() > Some(0), "{facts}");
        workers.insert(worker);
    }
    assert_eq!(workers.len(), 2);
    assert_eq!(workers, daemon.workers().into_iter().collect());
}

#[test]
fn a_preloaded_worker_is_replaced_without_loading_again() {
    let daemon = Serve::app("process").flag("--preload").start();
    let before = facts(&daemon);
    process::signal(pid(&before, "pid"), Signal::SIGKILL);
    let after = facts(&daemon);
    assert_ne!(after["pid"], before["pid"]);
    assert_eq!(after["imported_by"], before["imported_by"]);
}

#[test]
fn the_first_thread_is_the_main_thread_of_its_process() {
    let daemon = Serve::app("process").start();
    assert_eq!(facts(&daemon)["main_thread"], true);
}

#[test]
fn applications_may_handle_signals() {
    let daemon = Serve::app("process").start();
    let worker = pid(&facts(&daemon), "pid");
    process::signal(worker, Signal::SIGUSR1);
    let after = facts(&daemon);
    assert_eq!((pid(&after, "pid"), &after["signals"]), (worker, &1.into()));
}

#[test]
fn signals_are_handled_however_many_threads_wait_for_requests() {
    let gate = Gate::new();
    let daemon = Serve::app("signalled").threads(8).gate(&gate).start();
    // Eight desks that have served: most of them wait behind others.
    (0..20).for_each(|_| drop(daemon.get("/")));
    let worker = daemon.workers()[0];
    let has_handled = || {
        process::signal(worker, Signal::SIGUSR1);
        !gate.is_deserted()
    };
    assert!(process::eventually(has_handled));
    gate.await_note("handled").open();
}

#[test]
fn what_a_thread_keeps_to_itself_survives_from_request_to_request() {
    let daemon = Serve::app("process").start();
    for served in 1..=3 {
        assert_eq!(facts(&daemon)["served_by_thread"], served);
    }
}

#[test]
fn supervisor_and_forkserver_have_one_thread_each() {
    let daemon = Serve::app("process").workers(2).start();
    daemon.get("/");
    assert_eq!(process::threads(daemon.pid()), 1);
    assert_eq!(process::threads(daemon.forkserver()), 1);
}

#[test]
fn threads_of_one_worker_serve_at_the_same_time() {
    let gate = Gate::new();
    let daemon = Serve::app("process").threads(3).gate(&gate).start();
    let held: Vec<_> = (0..3).map(|_| hold(&daemon, &gate)).collect();
    let workers: BTreeSet<_> = held.iter().map(|(_, _, worker)| *worker).collect();
    assert_eq!(workers.len(), 1);
    for (peer, arrival, _) in held {
        arrival.open();
        peer.reply().expect(200);
    }
}
