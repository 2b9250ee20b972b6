//! A peer that is slow, or says nothing at all, never keeps the others waiting.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    daemon::{Daemon, Serve, executable},
    gate::{Arrival, Gate},
    in_repository, load,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
    scratch::Scratch,
};

/// Far less than any timeout that one stalled peer could cost another.
const PROMPT: Duration = Duration::from_secs(4);

/// Fifty peers that have each sent `bytes` and stay.
fn stalled(daemon: &Daemon, bytes: &[u8]) -> Vec<Peer> {
    let stall = || {
        let mut peer = daemon.connect();
        peer.send(bytes);
        peer
    };
    std::iter::repeat_with(stall).take(50).collect()
}

fn expect_prompt_answers(daemon: &Daemon) {
    let start = Instant::now();
    for _ in 0..20 {
        daemon.get("/one").expect_body("one chunk");
    }
    assert!(start.elapsed() < PROMPT, "twenty requests took {:?}", start.elapsed());
}

#[test]
fn fifty_peers_that_say_nothing_hold_up_nobody() {
    for daemon in [Serve::app("respond").start(), Serve::app("respond").on_tcp().start()] {
        let silent = stalled(&daemon, b"");
        expect_prompt_answers(&daemon);
        assert!(silent.iter().all(Peer::is_waiting));
    }
}

#[test]
fn fifty_peers_with_half_a_header_hold_up_nobody() {
    for daemon in [Serve::app("respond").start(), Serve::app("respond").on_tcp().start()] {
        let stuck = stalled(&daemon, b"\0\x20");
        expect_prompt_answers(&daemon);
        assert!(stuck.iter().all(Peer::is_waiting));
    }
}

#[test]
fn fifty_peers_with_half_their_vars_hold_up_nobody() {
    let daemon = Serve::app("respond").start();
    let head = Packet::get("/one").head();
    let stuck = stalled(&daemon, &head[..head.len() / 2]);
    expect_prompt_answers(&daemon);
    assert!(stuck.iter().all(Peer::is_waiting));
}

#[test]
fn fifty_peers_with_half_a_body_hold_up_nobody() {
    let daemon = Serve::app("respond").start();
    let packet = Packet::post("/one", "a body of which half is missing").bytes();
    let stuck = stalled(&daemon, &packet[..packet.len() - 15]);
    expect_prompt_answers(&daemon);
    assert!(stuck.iter().all(Peer::is_waiting));
}

#[test]
fn a_body_that_comes_byte_by_byte_without_a_pause_holds_up_nobody() {
    const LENGTH: usize = 250_000;
    let daemon = Serve::app("respond").start();
    let (sent, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut peer = daemon.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            peer.send(Packet::post("/one", vec![b'x'; LENGTH]).head());
            while sent.fetch_add(1, Ordering::Relaxed) < LENGTH - 1 && !is_over.load(Ordering::Relaxed) {
                peer.send("x");
            }
        });
        while sent.load(Ordering::Relaxed) < 100 {
            thread::yield_now();
        }
        daemon.get("/one").expect_body("one chunk");
        is_over.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < LENGTH / 2, "{sent} of {LENGTH} bytes had come before another request was served");
}

#[test]
fn fifty_slow_readers_hold_up_nobody() {
    let daemon = Serve::app("respond").start();
    let slow = stalled(&daemon, &Packet::get("/large").bytes());
    expect_prompt_answers(&daemon);
    drop(slow);
}

/// Has each of `peers` send another byte of `bytes` every second until `is_over`.
fn dribble(peers: &mut [Peer], bytes: &[u8], is_over: &AtomicBool) {
    for byte in bytes.chunks(1) {
        for peer in &mut *peers {
            peer.send(byte);
        }
        // The pace is what the peers are about.
        (0..20).filter(|_| !is_over.load(Ordering::Relaxed)).for_each(|_| thread::sleep(Duration::from_millis(50)));
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn fifty_peers_that_dribble_and_fifty_stalled_bodies_change_nothing_for_others() {
    let daemon = Serve::app("hello").workers(2).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let visit = || load::during(200, || nginx.connect(), || thread::sleep(Duration::from_millis(2500)));
    let alone = visit().expect_no_failure();
    let packet = Packet::post("/", "a body of which half is missing").bytes();
    let _stalled = stalled(&daemon, &packet[..packet.len() - 15]);
    let mut dribbling = stalled(&daemon, &packet[..1]);
    let is_over = AtomicBool::new(false);
    let beside = thread::scope(|scope| {
        scope.spawn(|| dribble(&mut dribbling, &packet[1..], &is_over));
        let report = visit();
        is_over.store(true, Ordering::Relaxed);
        report
    });
    eprintln!("alone:  {alone}\nbeside: {beside}");
    let beside = beside.expect_no_failure();
    let most = 2 * alone.percentile(50) + Duration::from_millis(5);
    assert!(beside.percentile(50) < most, "alone {alone}, beside slow peers {beside}");
    assert!(beside.worst < PROMPT, "{beside}");
}

#[test]
fn peers_that_wait_cost_no_cpu() {
    let daemon = Serve::app("respond").start();
    let (whole, half) = (Packet::get("/large").bytes(), Packet::post("/one", "a body").bytes());
    let kinds = [&b""[..], b"\0", b"\0\x20\0", b"\0\xff\0\0half", &half[..half.len() - 3], &whole];
    let _waiting: Vec<_> = kinds.iter().flat_map(|bytes| stalled(&daemon, bytes)).collect();
    daemon.get("/one");
    let processes = [vec![daemon.pid(), daemon.forkserver()], daemon.workers()].concat();
    let used = || processes.iter().map(|pid| process::ticks(*pid)).sum::<u64>();
    let before = used();
    // Long enough that a loop which never rests cannot hide.
    thread::sleep(Duration::from_millis(500));
    let spent = used() - before;
    assert!(spent <= 5, "{spent} hundredths of a second of CPU in half a second");
}

#[test]
fn a_stalled_peer_is_served_once_it_goes_on() {
    let daemon = Serve::app("respond").start();
    let bytes = Packet::get("/one").bytes();
    let (first, second) = bytes.split_at(30);
    let mut peers = stalled(&daemon, first);
    daemon.get("/one");
    for peer in &mut peers {
        peer.send(second);
    }
    for peer in peers {
        peer.reply().expect(200).expect_body("one chunk");
    }
}

#[test]
fn half_a_header_and_then_silence_ends_in_408_and_one_line() {
    let daemon = Serve::app("respond").option("--head-timeout", "300ms").start();
    let mut peer = daemon.connect();
    peer.send(b"\0\x20");
    peer.reply().expect(408);
    let line = daemon.log.await_line(&["WARN", "peer"]);
    daemon.get("/one");
    daemon.stop();
    assert!(line.contains("offset 2"), "{line}");
}

#[test]
fn half_the_vars_and_then_silence_end_in_408() {
    let daemon = Serve::app("respond").on_tcp().option("--head-timeout", "300ms").start();
    let head = Packet::get("/one").head();
    let mut peer = daemon.connect();
    peer.send(&head[..head.len() / 2]);
    peer.reply().expect(408);
    daemon.log.await_line(&["WARN", "peer"]);
}

#[test]
fn a_peer_that_never_says_anything_is_let_go() {
    for serve in [Serve::app("respond"), Serve::app("respond").on_tcp()] {
        let daemon = serve.option("--head-timeout", "300ms").start();
        let silent = daemon.connect();
        let reply = silent.reply();
        assert!(reply.is_empty() || reply.code() == 408, "{reply:?}");
        daemon.get("/one");
    }
}

#[test]
fn what_waits_is_served_while_a_thread_is_free() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").threads(2).gate(&gate).start();
    let mut busy = daemon.connect();
    busy.send(Packet::get("/gated").bytes());
    let held = gate.await_note("called");
    let head = Packet::get("/one").head();
    let (first, second) = head.split_at(30);
    let mut slow = daemon.connect();
    slow.send_in_pieces(first, 30, Duration::from_millis(50)).send(second);
    slow.reply().expect(200).expect_body("one chunk");
    held.open();
    busy.reply().expect(200).expect_body("let through");
}

#[test]
fn requests_that_become_complete_together_are_served_together() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").workers(1).threads(8).gate(&gate).start();
    let bytes = Packet::get("/gated").bytes();
    let (first, second) = bytes.split_at(30);
    let mut peers: Vec<_> = stalled(&daemon, first).into_iter().take(8).collect();
    daemon.get("/one");
    for peer in &mut peers {
        peer.send(second);
    }
    let held: Vec<_> = peers.iter().map(|_| gate.await_note("called")).collect();
    held.into_iter().for_each(Arrival::open);
    for peer in peers {
        peer.reply().expect(200).expect_body("let through");
    }
}

#[test]
fn running_out_of_descriptors_is_named_and_survived() {
    let scratch = Scratch::new();
    let text = format!("ulimit -n 40\nexec {:?} \"$@\"\n", executable());
    let script = scratch.write("few-descriptors", &text);
    let daemon =
        Serve::run_by("sh", &script, "hello").option("--pythonpath", in_repository("tests/apps")).workers(1).start();
    let silent = stalled(&daemon, b"\0");
    daemon.log.await_line(&["ERROR", "accept"]);
    drop(silent);
    daemon.get("/").expect_body("Hello, world!\n");
    assert_eq!(daemon.log.with(&["died"]), [""; 0]);
}
