//! systemd as a service sees it: a socket to notify, sockets passed at the start, a store for descriptors.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixDatagram, UnixListener},
    },
    thread,
    time::Instant,
};

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg, sockopt,
    },
};

use super::{
    DEADLINE,
    daemon::{Serve, executable, python},
    in_repository,
    scratch::Scratch,
};

/// A service manager for one service after another.
pub(crate) struct Systemd {
    socket: UnixDatagram,
    scratch: Scratch,
}

/// What a service has told.
#[derive(Debug)]
pub(crate) struct Told {
    /// The datagram.
    pub(crate) state: String,
    /// The process that told it.
    pub(crate) by: i32,
    /// What came along.
    pub(crate) descriptor: Option<OwnedFd>,
    /// When it came.
    pub(crate) at: Instant,
}

impl Systemd {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let socket = UnixDatagram::bind(scratch.join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        sockopt::set_socket_passcred(&socket, true).unwrap();
        Self { socket, scratch }
    }

    /// Starts `serve` as a service that notifies.
    pub(crate) fn manage(&self, serve: Serve) -> Serve {
        serve.env("NOTIFY_SOCKET", self.scratch.join("notify"))
    }

    /// A service that notifies and gets `sockets`, each with a name.
    pub(crate) fn pass(&self, target: &str, sockets: &[(&str, BorrowedFd<'_>)]) -> Serve {
        let script = in_repository("tests/it/support/pass_sockets.py");
        let serve = Serve::run_by(python().to_str().unwrap(), &script, target);
        let giver = serve.scratch().join("giver");
        let listener = UnixListener::bind(&giver).unwrap();
        let names = sockets.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(":");
        let sockets: Vec<_> = sockets.iter().map(|(_, socket)| socket.try_clone_to_owned().unwrap()).collect();
        thread::spawn(move || give(&listener, &names, &sockets));
        let apps = in_repository("tests/apps");
        self.manage(serve).env("GIVER", giver).env("DAEMON", executable()).option("--pythonpath", apps).workers(1)
    }

    /// Waits for the next thing told.
    pub(crate) fn next(&self) -> Told {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let read = read.unwrap_or_else(|error| panic!("nothing more is told: {error}"));
        let (mut by, mut descriptor) = (0, None);
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptor = descriptors.next(),
                RecvAncillaryMessage::ScmCredentials(sender) => by = sender.pid.as_raw_nonzero().get(),
                _ => {}
            }
        }
        let state = String::from_utf8_lossy(&bytes[..read.bytes]).into_owned();
        Told { state, by, descriptor, at: Instant::now() }
    }

    /// Waits until a line is told that begins like this.
    pub(crate) fn await_line(&self, line: &str) -> Told {
        loop {
            let told = self.next();
            if told.has(line) {
                return told;
            }
        }
    }

    /// Waits until a line is told that begins like this, hearing `main` alone (`NotifyAccess=main`) until that names another process;
    /// returns who is heard then.
    pub(crate) fn await_line_of_main(&self, line: &str, mut main: i32) -> i32 {
        loop {
            let told = self.next();
            assert_eq!(told.by, main, "told by another than the main process: {told:?}");
            let named = told.state.lines().find_map(|line| line.strip_prefix("MAINPID="));
            main = named.map_or(main, |pid| pid.parse().unwrap());
            if told.has(line) {
                return main;
            }
        }
    }

    /// All that was told and not asked for yet.
    pub(crate) fn rest(&self) -> Vec<Told> {
        std::iter::from_fn(|| self.has_more().then(|| self.next())).collect()
    }

    fn has_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }
}

impl Told {
    /// Whether it holds a line that begins like this.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.state.lines().any(|told| told.starts_with(line))
    }
}

/// Waits for whoever becomes the daemon, and gives it the sockets.
fn give(listener: &UnixListener, names: &str, sockets: &[OwnedFd]) {
    let (stream, _) = listener.accept().unwrap();
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
    sendmsg(&stream, &[IoSlice::new(names.as_bytes())], &mut control, SendFlags::empty()).unwrap();
}
