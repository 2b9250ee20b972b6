//! Listening sockets: bound once by the supervisor, inherited by every worker.

pub mod activation;
pub mod queue;

mod guard;
mod unix;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, accept_with, acceptfrom_with, bind, getsockname, listen, socket_with,
        sockopt,
    },
};
use thiserror::Error;

use crate::{
    config::{Address, Admission, Listen},
    net::listener::{
        guard::Guard,
        unix::{SocketFile, bind_unix},
    },
};

/// A bound, listening, non-blocking socket; no executed program inherits it.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: String,
    file: Option<SocketFile>,
    guard: Option<Guard>,
    /// Whether nobody keeps the socket once this server has ended.
    is_ours: bool,
}

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    /// Something answers at the path.
    #[error("{address}: another server is listening there; stop it, or choose another path")]
    Live {
        /// The address as it is printed.
        address: String,
    },
    /// The path holds something that is not a socket.
    #[error("{address}: the path exists and is not a socket; it is left alone, move it away or choose another path")]
    NotASocket {
        /// The address as it is printed.
        address: String,
    },
    /// The path holds a socket that could not be asked whether anybody is there.
    #[error("{address}: cannot find out whether the socket there is in use ({source}); remove it if it is not")]
    Unknown {
        /// The address as it is printed.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A system call failed.
    #[error("{address}: cannot {action} ({source}); {}", remedy(.source))]
    Refused {
        /// The address as it is printed.
        address: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Listener {
    /// Binds `address` and listens; a dead Unix socket at its path is replaced, anything else there is left alone.
    ///
    /// Mode and owner of the socket's file are set before the first connection can be made.
    ///
    /// # Errors
    /// [`BindError`], and then nothing is left behind.
    pub fn bind(address: &Address, listen: &Listen) -> Result<Self, BindError> {
        match address {
            Address::Unix(path) => bind_unix(path, &address.to_string(), listen),
            Address::Tcp(tcp) => bind_tcp(*tcp, listen),
        }
    }

    /// The same listener, letting in nobody but those of `admission`.
    #[must_use]
    pub fn guarded(self, admission: &Admission) -> Self {
        let is_unix = self.address.starts_with("unix");
        Self { guard: Guard::new(admission, is_unix), ..self }
    }

    /// The next connection from the listen queue, non-blocking; whoever is not let in is passed over.
    ///
    /// # Errors
    /// As accept4(2).
    pub fn accept(&self) -> rustix::io::Result<OwnedFd> {
        let Some(guard) = &self.guard else {
            return accept_with(&self.socket, FLAGS);
        };
        for _ in 0..MOST_PASSED_OVER {
            let (socket, address) = acceptfrom_with(&self.socket, FLAGS)?;
            if guard.admits(&socket, address) {
                return Ok(socket);
            }
        }
        // The other listeners have their turn, too.
        Err(Errno::AGAIN)
    }

    /// The address as an operator writes it, with the port the kernel chose if it was to choose.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A second handle on the same socket; which file to remove stays with the first.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (address, guard) = (self.address.clone(), self.guard.clone());
        Ok(Self { socket: self.socket.try_clone()?, address, file: None, guard, is_ours: self.is_ours })
    }

    /// Removes the Unix socket's file, unless another server has put its own in its place; for the supervisor, at exit.
    ///
    /// # Errors
    /// When the directory does not let us.
    pub fn remove_file(&mut self) -> io::Result<()> {
        self.file.take_if(|file| file.is_ours).map_or(Ok(()), SocketFile::remove)
    }

    /// Device and inode of the file that is ours to remove.
    pub fn file(&self) -> Option<(u64, u64)> {
        self.file.as_ref().filter(|file| file.is_ours).map(SocketFile::identity)
    }

    /// Makes the file of a socket that was inherited ours to remove.
    pub fn own_file(&mut self) {
        self.file.iter_mut().for_each(|file| file.is_ours = true);
    }

    /// Lets the Unix socket's file be for good: the socket outlives this process elsewhere.
    pub fn leave_file(&mut self) {
        self.file = None;
        self.is_ours = false;
    }

    /// Whether the socket ends with this server: whoever waits then will not be served.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        self.address.parse::<Address>().is_ok_and(|address| address.is_local())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind_tcp(tcp: SocketAddr, settings: &Listen) -> Result<Listener, BindError> {
    let address = tcp.to_string();
    let refused = |action| move |errno: Errno| refusal(&tcp.to_string(), action, errno);
    let family = if tcp.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None).map_err(refused("make a socket"))?;
    set_tcp_options(&socket, tcp).map_err(refused("set the socket's options"))?;
    bind(&socket, &tcp).map_err(refused("bind"))?;
    listen(&socket, settings.backlog).map_err(refused("listen"))?;
    let bound = getsockname(&socket).ok().and_then(|bound| SocketAddr::try_from(bound).ok());
    let address = bound.map_or(address, |bound| bound.to_string());
    Ok(Listener { socket, address, file: None, guard: None, is_ours: true })
}

fn set_tcp_options(socket: &OwnedFd, address: SocketAddr) -> rustix::io::Result<()> {
    // A restart must not wait for the connections of its predecessor to leave TIME-WAIT.
    sockopt::set_socket_reuseaddr(socket, true)?;
    if address.is_ipv6() {
        // As nginx does: [::] and 0.0.0.0 are two addresses.
        sockopt::set_ipv6_v6only(socket, true)?;
    }
    set_accepted_options(socket)
}

/// Sets what accepted TCP sockets inherit, or when they are accepted.
fn set_accepted_options(socket: &OwnedFd) -> rustix::io::Result<()> {
    // The head must not wait for an acknowledgement.
    sockopt::set_tcp_nodelay(socket, true)?;
    defer_accept(socket)
}

/// Lets the kernel hold a connection back for up to a second until there is something to read from it.
fn defer_accept(socket: &OwnedFd) -> rustix::io::Result<()> {
    let seconds: libc::c_int = 1;
    let length = size_of_val(&seconds) as libc::socklen_t;
    #[expect(unsafe_code, reason = "no safe wrapper knows TCP_DEFER_ACCEPT")]
    // SAFETY: `seconds` lives on this frame for the whole call and `length` is its size; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn refusal(address: &str, action: &'static str, errno: Errno) -> BindError {
    BindError::Refused { address: address.to_owned(), action, source: errno.into() }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "stop the server that listens there, or choose another address",
        io::ErrorKind::AddrNotAvailable => "use an address of this machine",
        io::ErrorKind::NotFound => "create the directory first, with systemd by RuntimeDirectory=",
        io::ErrorKind::PermissionDenied => "run as a user who may, or choose another address, mode or owner",
        io::ErrorKind::ReadOnlyFilesystem => "choose a directory that can be written, such as /run/NAME",
        _ => "choose another address",
    }
}

/// Connections that are turned away in one go.
const MOST_PASSED_OVER: usize = 64;
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

#[cfg(test)]
mod tests;
