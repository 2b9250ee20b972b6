//! Whoever may not connect is closed upon before a byte is read; everybody else notices nothing.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
};

use nix::unistd::Uid;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt};

use crate::support::{
    daemon::{Daemon, Serve},
    http,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
    systemd::Systemd,
};

/// A peer of `address` that comes from `source`.
fn peer_from(source: &str, address: &str) -> Peer {
    let [source, address] = [&format!("{source}:0"), address].map(|text| text.parse::<SocketAddr>().unwrap());
    let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &source).unwrap();
    connect(&socket, &address).unwrap();
    Peer::of_tcp(TcpStream::from(socket))
}

/// Whether a request from `source` is served; if not, not a byte has come back.
fn is_served(daemon: &Daemon, source: &str) -> bool {
    let mut peer = peer_from(source, daemon.address());
    // It may have been closed upon already.
    let _ = peer.try_send(&Packet::get("/").bytes());
    let reply = peer.reply();
    if reply.is_empty() {
        return false;
    }
    reply.expect(200);
    true
}

#[test]
fn a_tcp_peer_outside_the_networks_is_closed_upon() {
    let allowed = "192.0.2.0/24,127.0.0.2";
    let daemon =
        Serve::app("hello").on_tcp().option("--allow-from", allowed).option("--allow-from", "127.1.0.0/16").start();
    for (source, wanted) in [("127.0.0.1", false), ("127.0.0.2", true), ("127.1.2.3", true), ("127.2.0.1", false)] {
        assert_eq!(is_served(&daemon, source), wanted, "{source}");
    }
    daemon.log.await_line(&["turned away", "--allow-from", "peer=127.0.0.1:"]);
}

#[test]
fn those_that_are_turned_away_are_counted_and_cost_one_line() {
    let daemon = Serve::app("hello").on_tcp().option("--allow-from", "127.0.0.2").start();
    for _ in 0..200 {
        assert!(!is_served(&daemon, "127.0.0.1"));
    }
    assert!(is_served(&daemon, "127.0.0.2"));
    let lines = daemon.log.with(&["turned away"]);
    assert!(lines.len() < 20, "{lines:?}");
    assert!(lines[0].contains("0 more"), "{lines:?}");
}

#[test]
fn an_ipv6_peer_is_let_in_by_its_own_networks() {
    let serve = |network: &str| {
        Serve::app("hello").on(&format!("[::1]:{}", process::free_port())).option("--allow-from", network).start()
    };
    for (network, wanted) in [("::1", true), ("fd00::/8", false), ("::/0", true), ("0.0.0.0/0", false)] {
        assert_eq!(is_served(&serve(network), "[::1]"), wanted, "{network}");
    }
}

#[test]
fn an_ipv4_peer_on_a_socket_for_both_is_known_by_its_own_address() {
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_ipv6_v6only(&socket, false).unwrap();
    bind(&socket, &"[::]:0".parse::<SocketAddr>().unwrap()).unwrap();
    listen(&socket, 16).unwrap();
    let port = TcpListener::from(socket.try_clone().unwrap()).local_addr();
    let address = format!("127.0.0.1:{}", port.unwrap().port());
    let systemd = Systemd::new();
    let serve = systemd.pass("hello", &[("web", socket.as_fd())]).activated_on(&address);
    let daemon = serve.option("--allow-from", "127.0.0.2/32").start();
    assert!(is_served(&daemon, "127.0.0.2"));
    assert!(!is_served(&daemon, "127.0.0.1"));
}

#[test]
fn a_unix_peer_is_let_in_by_its_user() {
    // Whoever runs rusgi may always ask it.
    let daemon = Serve::app("hello").option("--allow-user", "12345,nobody").start();
    daemon.get("/");
    if !Uid::effective().is_root() {
        eprintln!("a_unix_peer_is_let_in_by_its_user: half tested, only root can be two users");
        return;
    }
    let daemon = |users: &str| Serve::app("hello").option("--user", "nobody").option("--allow-user", users).start();
    let (stranger, friend) = (daemon("www-data"), daemon("www-data,root"));
    let mut peer = stranger.connect();
    let _ = peer.try_send(&Packet::get("/").bytes());
    assert!(peer.reply().is_empty());
    stranger.log.await_line(&["turned away", "--allow-user", "uid 0"]);
    friend.get("/");
}

#[test]
fn nginx_is_let_in_and_its_neighbour_is_not() {
    let daemon = Serve::app("hello").on_tcp().option("--allow-from", "127.0.0.1").start();
    let nginx = Nginx::start("tcp.conf", &daemon);
    for _ in 0..20 {
        assert!(!is_served(&daemon, "127.0.0.9"));
        http::get(nginx.connect(), "/").expect(200);
    }
    daemon.stop();
}

#[test]
fn a_peer_that_knocks_for_ever_keeps_nobody_out() {
    let daemon = Serve::app("hello").on_tcp().option("--allow-from", "127.0.0.2").start();
    let address = daemon.address().to_owned();
    std::thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            for _ in 0..2_000 {
                drop(peer_from("127.0.0.1", &address));
            }
        });
        while !knocking.is_finished() {
            assert!(is_served(&daemon, "127.0.0.2"));
        }
    });
}

#[test]
fn a_mistake_in_either_list_is_named() {
    for (option, value) in
        [("--allow-from", "10.0.0.1/8"), ("--allow-from", "example.org"), ("--allow-user", "no-such-user-here")]
    {
        let stopped = Serve::app("hello").option(option, value).fail().expect(78);
        stopped.expect_log(option).expect_log(value);
    }
}

#[test]
fn an_open_port_is_warned_of_unless_it_is_guarded() {
    let open = || Serve::app("hello").on("0.0.0.0:0");
    let daemon = open().start();
    daemon.log.await_line(&["WARN", "knows no authentication", "--allow-from"]);
    let guarded = open().option("--allow-from", "127.0.0.1").start();
    assert!(guarded.log.with(&["WARN"]).is_empty());
}
