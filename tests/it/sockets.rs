//! Sockets: which are opened, for whom, over what, and what is left of them.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
};

use nix::sys::signal::Signal;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};

use crate::support::{
    daemon::{Serve, executable},
    gate::Gate,
    in_repository,
    packet::Packet,
    peer::Peer,
    process,
    scratch::Scratch,
};

#[test]
fn a_bare_absolute_path_is_a_unix_socket() {
    let scratch = Scratch::new();
    let path = scratch.join("bare.sock");
    let daemon = Serve::app("hello").option("--socket", &path).start();
    daemon.get("/");
    Peer::unix(&path).ask(&Packet::get("/")).expect(200);
    daemon.stop();
    assert!(!path.exists());
}

#[test]
fn several_sockets_of_every_kind_are_served_at_once() {
    let scratch = Scratch::new();
    let path = scratch.join("second.sock");
    let ports = [process::free_port(), process::free_port()];
    let daemon = Serve::app("hello")
        .option("--socket", format!("unix:{}", path.display()))
        .option("--socket", format!("127.0.0.1:{}", ports[0]))
        .option("--socket", format!(":{}", ports[1]))
        .start();
    for _ in 0..3 {
        daemon.get("/");
        Peer::unix(&path).ask(&Packet::get("/")).expect(200);
        for port in ports {
            Peer::tcp(&format!("127.0.0.1:{port}")).ask(&Packet::get("/")).expect(200);
        }
    }
    assert_eq!(daemon.log.with(&["listening on"]).len(), 4);
}

#[test]
fn a_port_alone_means_the_loopback_interface() {
    let port = process::free_port();
    let daemon = Serve::app("hello").on(&format!(":{port}")).start();
    Peer::tcp(&format!("127.0.0.1:{port}")).ask(&Packet::get("/")).expect(200);
    assert_eq!(listening_addresses(port), ["0100007F"]);
    assert_eq!(daemon.log.with(&["WARN"]), [""; 0]);
}

#[test]
fn a_port_open_to_the_world_comes_with_a_warning() {
    let port = process::free_port();
    let daemon = Serve::app("hello").on(&format!("0.0.0.0:{port}")).start();
    Peer::tcp(&format!("127.0.0.1:{port}")).ask(&Packet::get("/")).expect(200);
    daemon.log.await_line(&["WARN", &port.to_string()]);
}

#[test]
fn a_dead_socket_is_replaced() {
    let scratch = Scratch::new();
    let path = scratch.join("dead.sock");
    drop(UnixListener::bind(&path).unwrap());
    let daemon = Serve::app("hello").on(&format!("unix:{}", path.display())).start();
    daemon.get("/");
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let scratch = Scratch::new();
    let address = format!("unix:{}", scratch.join("killed.sock").display());
    let first = Serve::app("hello").on(&address).start();
    first.signal(Signal::SIGKILL);
    let socket = first.socket();
    first.wait();
    assert!(socket.exists());
    let second = Serve::app("hello").on(&address).start();
    second.get("/");
}

#[test]
fn a_live_socket_is_never_stolen() {
    let scratch = Scratch::new();
    let address = format!("unix:{}", scratch.join("live.sock").display());
    let first = Serve::app("hello").on(&address).start();
    let stopped = Serve::app("hello").on(&address).fail().expect(1);
    assert!(stopped.log.contains("live.sock"), "{}", stopped.log);
    first.get("/");
    first.stop();
    assert!(!Path::new(&address["unix:".len()..]).exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.write("precious", "data");
    Serve::app("hello").on(&format!("unix:{}", path.display())).fail().expect(1).expect_log("precious");
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn a_socket_that_somebody_else_put_there_since_is_left_alone() {
    let scratch = Scratch::new();
    let daemon = Serve::app("hello").on(&format!("unix:{}", scratch.join("taken.sock").display())).start();
    let path = daemon.socket();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    daemon.stop();
    assert!(path.exists());
}

#[test]
fn a_port_in_use_is_refused_with_its_name() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    Serve::app("hello").on(&address).fail().expect(1).expect_log(&address);
}

#[test]
fn one_refused_socket_leaves_none_behind() {
    let scratch = Scratch::new();
    let path = scratch.join("first.sock");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    Serve::app("hello").option("--socket", &path).on(&taken).fail().expect(1);
    assert!(!path.exists());
}

#[test]
fn a_socket_in_a_missing_folder_is_refused_with_its_name() {
    Serve::app("hello").on("unix:/nonexistent/folder/app.sock").fail().expect(1).expect_log("/nonexistent/folder");
}

#[test]
fn the_socket_is_for_owner_and_group_unless_told_otherwise() {
    let daemon = Serve::app("hello").start();
    let metadata = fs::metadata(daemon.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
}

#[test]
fn socket_mode_sets_the_permissions() {
    let daemon = Serve::app("hello").option("--socket-mode", "606").start();
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777, 0o606);
}

#[test]
fn socket_owner_sets_user_and_group() {
    let is_root = nix::unistd::geteuid().is_root();
    // Only root can give a file away, so anybody else gives it to themselves.
    let (user, group) =
        if is_root { (65_534, 65_533) } else { (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) };
    let daemon = Serve::app("hello").option("--socket-owner", format!("{user}:{group}")).start();
    let metadata = fs::metadata(daemon.socket()).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (user, group));
}

#[test]
fn nobody_can_connect_before_mode_and_owner_are_set() {
    let scratch = Scratch::new();
    let trace = scratch.join("trace");
    let text = format!("exec strace -D -f -qq -o {} {:?} \"$@\"\n", trace.display(), executable());
    let script = scratch.write("traced", &text);
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let serve = Serve::run_by("sh", &script, "hello").option("--pythonpath", in_repository("tests/apps")).workers(1);
    let daemon = serve.option("--socket-mode", "600").option("--socket-owner", format!("{user}:{group}")).start();
    let socket = daemon.socket().display().to_string();
    daemon.stop();
    let trace = fs::read_to_string(trace).unwrap();
    let lines: Vec<_> = trace.lines().collect();
    let place = |call: &str, of: &str| {
        let found = lines.iter().position(|line| line.contains(call) && line.contains(of));
        found.unwrap_or_else(|| panic!("no {call} of {of} in:\n{trace}"))
    };
    let bound = place("bind(", &socket);
    // The same descriptor that was bound.
    let listening = place("listen(", &lines[bound].split(['(', ',']).nth(1).map(|fd| format!("({fd},")).unwrap());
    for call in ["chown", "chmod"] {
        let set = place(call, &socket);
        assert!(bound < set && set < listening, "{call} is call {set}, bind {bound}, listen {listening}");
    }
}

#[test]
fn backlog_bounds_the_listen_queue() {
    assert!((1..=3).contains(&queue_length(Serve::app("respond").option("--backlog", "1"))));
    assert!((9..=11).contains(&queue_length(Serve::app("respond").option("--backlog", "9"))));
}

#[test]
fn the_listen_queue_is_long_unless_told_otherwise() {
    let ceiling: usize = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    assert!(queue_length(Serve::app("respond")) >= ceiling.min(500));
}

/// How many peers, up to 500, can wait while the only thread is busy.
fn queue_length(serve: Serve) -> usize {
    let gate = Gate::new();
    let daemon = serve.gate(&gate).start();
    let mut busy = daemon.connect();
    busy.send(Packet::get("/gated").bytes());
    let _held = gate.await_note("called");
    let address = SocketAddrUnix::new(daemon.socket()).unwrap();
    let try_connect = || {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => Some(socket),
            Err(Errno::AGAIN) => None,
            Err(error) => panic!("{error}"),
        }
    };
    std::iter::repeat_with(try_connect).take(500).map_while(|socket| socket).collect::<Vec<_>>().len()
}

/// The local addresses, in the kernel's spelling, on which anybody listens at `port`.
fn listening_addresses(port: u16) -> Vec<String> {
    let listed = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets = listed.iter().flat_map(|text| text.lines());
    sockets
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (address, local_port) = fields.get(1)?.split_once(':')?;
            let listens = fields.get(3) == Some(&"0A");
            (listens && local_port == format!("{port:04X}")).then(|| String::from(address))
        })
        .collect()
}

#[test]
fn a_stopped_daemon_frees_its_port() {
    let address = format!("127.0.0.1:{}", process::free_port());
    for _ in 0..3 {
        let daemon = Serve::app("hello").on(&address).start();
        daemon.get("/");
        daemon.stop();
        let target: SocketAddr = address.parse().unwrap();
        assert!(TcpStream::connect(target).is_err());
    }
}
