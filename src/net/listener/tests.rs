//! Real sockets in directories of their own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::PathBuf,
    thread,
};

use super::*;
use crate::config::{Admission, Owner};

/// A directory of its own for each test, removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rusgi-listener-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("app.sock")
    }

    fn bind(&self) -> Result<Listener, BindError> {
        self.bind_as(0o660, None)
    }

    fn bind_as(&self, socket_mode: u32, socket_owner: Option<Owner>) -> Result<Listener, BindError> {
        let address = Address::Unix(self.socket());
        let addresses = vec![address.clone()];
        Listener::bind(
            &address,
            &Listen {
                addresses,
                is_default: false,
                socket_mode,
                socket_owner,
                backlog: 16,
                admission: Admission::default(),
            },
        )
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn bind_tcp_at(address: &str) -> Result<Listener, BindError> {
    let address = Address::Tcp(address.parse().unwrap());
    let addresses = vec![address.clone()];
    Listener::bind(
        &address,
        &Listen {
            addresses,
            is_default: false,
            socket_mode: 0o660,
            socket_owner: None,
            backlog: 16,
            admission: Admission::default(),
        },
    )
}

#[test]
fn a_unix_socket_has_its_mode_and_takes_connections() {
    let directory = Directory::new("mode");
    let owner = Owner { user: Some(nix::unistd::getuid().as_raw()), group: None };
    let listener = directory.bind_as(0o606, Some(owner)).unwrap();
    let mode = fs::metadata(directory.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o606);
    assert_eq!(listener.address(), format!("unix:{}", directory.socket().display()));
    UnixStream::connect(directory.socket()).unwrap();
}

#[test]
fn a_listener_neither_blocks_nor_is_inherited() {
    let listener = bind_tcp_at("127.0.0.1:0").unwrap();
    let again = rustix::net::accept(&listener).unwrap_err();
    assert_eq!(again, Errno::AGAIN);
    assert!(rustix::io::fcntl_getfd(&listener).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn a_dead_socket_is_replaced() {
    let directory = Directory::new("dead");
    drop(UnixListener::bind(directory.socket()).unwrap());
    directory.bind().unwrap();
}

#[test]
fn a_live_socket_is_refused_and_goes_on_living() {
    let directory = Directory::new("live");
    let _other = UnixListener::bind(directory.socket()).unwrap();
    assert!(matches!(directory.bind(), Err(BindError::Live { .. })));
    UnixStream::connect(directory.socket()).unwrap();
}

#[test]
fn a_live_socket_with_a_full_queue_or_another_type_is_refused_too() {
    let directory = Directory::new("full");
    let listener = directory.bind().unwrap();
    listen(&listener, 0).unwrap();
    let _waiting = UnixStream::connect(directory.socket()).unwrap();
    assert!(matches!(directory.bind(), Err(BindError::Live { .. })));
    let other = Directory::new("datagram");
    let _datagram = UnixDatagram::bind(other.socket()).unwrap();
    assert!(matches!(other.bind(), Err(BindError::Live { .. })));
}

#[test]
fn anything_but_a_socket_is_refused_and_left_alone() {
    let directory = Directory::new("file");
    fs::write(directory.socket(), "precious").unwrap();
    assert!(matches!(directory.bind(), Err(BindError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(directory.socket()).unwrap(), "precious");
    fs::remove_file(directory.socket()).unwrap();
    std::os::unix::fs::symlink("/nowhere", directory.socket()).unwrap();
    assert!(matches!(directory.bind(), Err(BindError::NotASocket { .. })));
}

#[test]
fn the_file_is_removed_once_and_only_if_it_is_ours() {
    let directory = Directory::new("remove");
    let mut listener = directory.bind().unwrap();
    listener.try_clone().unwrap().remove_file().unwrap();
    assert!(directory.socket().exists());
    listener.remove_file().unwrap();
    assert!(!directory.socket().exists());
    let mut ours = directory.bind().unwrap();
    fs::rename(directory.socket(), directory.0.join("moved")).unwrap();
    let _theirs = UnixListener::bind(directory.socket()).unwrap();
    ours.remove_file().unwrap();
    assert!(directory.socket().exists());
}

#[test]
fn a_missing_directory_is_explained() {
    let directory = Directory::new("missing");
    fs::remove_dir(&directory.0).unwrap();
    let message = directory.bind().unwrap_err().to_string();
    assert!(message.contains("cannot bind (No such file or directory") && message.contains("create the directory"));
}

#[test]
fn of_servers_that_start_at_once_one_gets_the_path_and_keeps_it() {
    let directory = Directory::new("rivals");
    drop(UnixListener::bind(directory.socket()).unwrap());
    let won: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = (0..8).map(|_| scope.spawn(|| directory.bind().ok())).collect();
        starting.into_iter().filter_map(|rival| rival.join().unwrap()).collect()
    });
    assert_eq!(won.len(), 1);
    UnixStream::connect(directory.socket()).unwrap();
}

#[test]
fn tcp_reports_the_port_it_got_and_defers_accepting() {
    let listener = bind_tcp_at("127.0.0.1:0").unwrap();
    let _peer = TcpStream::connect(listener.address()).unwrap();
    assert!(sockopt::tcp_nodelay(&listener).unwrap());
    assert_eq!(rustix::net::accept(&listener).unwrap_err(), Errno::AGAIN);
}

#[test]
fn a_taken_port_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let message = bind_tcp_at(&taken.local_addr().unwrap().to_string()).unwrap_err().to_string();
    assert!(message.contains("stop the server that listens there"), "{message}");
}

#[test]
fn the_kernel_tells_how_many_wait_to_be_accepted() {
    let directory = Directory::new("queue");
    let unix = directory.bind().unwrap();
    let tcp = bind_tcp_at("127.0.0.1:0").unwrap();
    let length = |listener: &Listener| queue::Gauge::of(listener).unwrap().read(listener).unwrap();
    for listener in [&unix, &tcp] {
        assert_eq!(length(listener), queue::Queue { length: 0, limit: 16 });
    }
    let waiting = [(); 3].map(|()| UnixStream::connect(directory.socket()).unwrap());
    assert_eq!(length(&unix).length, 3);
    drop(waiting);
    // Whoever has gone is in the queue until somebody accepts.
    assert_eq!(length(&unix).length, 3);
    // A connection counts from its first byte, or after a second: see defer_accept.
    let mut peer = TcpStream::connect(tcp.address()).unwrap();
    io::Write::write_all(&mut peer, b"x").unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while length(&tcp).length == 0 && std::time::Instant::now() < give_up {
        thread::yield_now();
    }
    assert_eq!(length(&tcp).length, 1);
}

#[test]
fn a_socket_that_the_kernel_does_not_know_cannot_be_measured() {
    let directory = Directory::new("unmeasured");
    let listener = directory.bind().unwrap();
    let gauge = match queue::Gauge::of(&listener).unwrap() {
        queue::Gauge::Unix { diagnosis, .. } => queue::Gauge::Unix { diagnosis, inode: 1 },
        tcp => tcp,
    };
    assert_eq!(gauge.read(&listener).unwrap_err().kind(), io::ErrorKind::NotFound);
}
