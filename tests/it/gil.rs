//! What operators can see and set of CPython's one lock.

use crate::support::{daemon::Serve, http, peer::Peer, process};

#[test]
fn the_switch_interval_is_the_operators_or_the_applications_or_suits_the_threads() {
    let interval = |serve: Serve| serve.start().get("/").text();
    assert_eq!(interval(Serve::app("gil")), "0.005");
    assert_eq!(interval(Serve::app("gil").threads(2)), "0.001");
    assert_eq!(interval(Serve::app("gil").threads(2).env("SWITCH_INTERVAL", "0.003")), "0.003");
    assert_eq!(interval(Serve::app("gil").option("--switch-interval", "2ms")), "0.002");
    assert_eq!(interval(Serve::app("gil").flag("--preload").option("--switch-interval", "2ms")), "0.002");
    Serve::app("gil").option("--switch-interval", "0").fail().expect(78).expect_log("switch-interval");
}

#[test]
fn what_is_waited_for_the_gil_is_counted() {
    let serve = Serve::app("gil").workers(1).option("--switch-interval", "20ms");
    let admin = serve.scratch().join("admin.sock");
    let daemon = serve.option("--admin-socket", admin.as_os_str()).start();
    let waited = || {
        let mut peer = Peer::unix(&admin);
        peer.send(http::request("GET", "/status"));
        peer.reply().expect(200).json()["gil_wait"].as_f64().unwrap()
    };
    daemon.get("/");
    let before = waited();
    daemon.get("/compute");
    // A thread that computes gives way after the interval, once it has got hold of the GIL between two requests.
    let has_waited = || {
        daemon.get("/");
        waited() >= before + 0.015
    };
    assert!(process::eventually(has_waited), "{before} {}", waited());
}
