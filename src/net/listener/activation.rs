//! Sockets that somebody else has opened for us: systemd, by a `.socket` unit or for an earlier supervisor that had them kept, or the
//! rusgi that this one replaces.
//!
//! The protocol of systemd is `sd_listen_fds(3)`: descriptors from 3 on, counted by `LISTEN_FDS`, named by `LISTEN_FDNAMES`, meant for `LISTEN_PID`.

use std::{
    env, fs, io,
    mem::ManuallyDrop,
    net::SocketAddr,
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::fs::FileTypeExt,
    },
    path::Path,
    process,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, FdFlags, fcntl_setfd},
    net::{SocketAddrAny, SocketAddrUnix, SocketType, getsockname, sockopt},
};
use thiserror::Error;
use tracing::warn;

use crate::net::listener::{Listener, set_accepted_options, unix::SocketFile};

/// A listening socket that systemd has passed to this process.
#[derive(Debug)]
pub struct Passed {
    /// The socket; its file belongs to systemd and is never removed.
    pub listener: Listener,
    /// What `LISTEN_FDNAMES` calls it; of a `.socket` unit `FileDescriptorName=`, else the unit's name.
    pub name: String,
}

/// Why the sockets that systemd has passed cannot be used.
#[derive(Debug, Error)]
pub enum PassedError {
    /// `LISTEN_FDS` is no number of descriptors.
    #[error("LISTEN_FDS={0}: not a number of descriptors; leave it to systemd")]
    Count(String),
    /// The descriptor is closed.
    #[error("descriptor {number} ({name}): not open; pass it on in whatever stands between systemd and rusgi")]
    Closed {
        /// The descriptor's number.
        number: RawFd,
        /// Its name.
        name: String,
    },
    /// The descriptor is something else than a listening stream socket.
    #[error("descriptor {number} ({name}): not a listening stream socket; use ListenStream= and Accept=no in its unit")]
    NotListening {
        /// The descriptor's number.
        number: RawFd,
        /// Its name.
        name: String,
    },
    /// The socket is there and cannot be made ours.
    #[error("descriptor {number} ({name}): {source}; use ListenStream= with a path or an internet address")]
    Refused {
        /// The descriptor's number.
        number: RawFd,
        /// Its name.
        name: String,
        /// What the system said.
        source: Errno,
    },
}

/// The sockets that systemd has passed to this process; from a second call on there are none.
///
/// They become non-blocking, and no program that is executed later inherits them.
///
/// # Errors
/// [`PassedError`] about the first that cannot be used.
pub fn passed() -> Result<Vec<Passed>, PassedError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let variable = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let names = announced(process::id(), variable)?;
    (FIRST..).zip(names).map(|(number, name)| take(number, name)).collect()
}

/// Takes over a listening socket from another process; `file` is what that one may remove until [`Listener::own_file`] is called here,
/// and `is_ours` whether nobody keeps the socket once that one and we have ended.
///
/// # Errors
/// When it is no listening stream socket.
pub fn adopt(socket: OwnedFd, file: Option<(u64, u64)>, is_ours: bool) -> io::Result<Listener> {
    let address = describe(&socket)?.ok_or(Errno::NOTSOCK)?;
    let path = address.strip_prefix("unix:").map(Path::new);
    let file = path.zip(file).map(|(path, identity)| SocketFile::of_another(path, identity));
    Ok(Listener { socket, address, file, guard: None, is_ours })
}

/// The name under which systemd keeps the socket that listens on `address`, so that [`Passed::was_kept`] knows it again.
pub fn name_of_kept(address: &str) -> String {
    // A colon separates names.
    let plain: String = address.chars().map(|c| if c.is_ascii_graphic() && c != ':' { c } else { '-' }).collect();
    format!("{KEPT}{plain}")
}

impl Passed {
    /// Whether it comes from an earlier supervisor rather than from a `.socket` unit.
    pub fn was_kept(&self) -> bool {
        self.name.starts_with(KEPT)
    }

    /// Whether peers can still find it: a Unix socket is lost with its file.
    pub fn is_reachable(&self) -> bool {
        let file = self.listener.address().strip_prefix("unix:").map(Path::new);
        let is_socket = |file| fs::symlink_metadata(file).is_ok_and(|metadata| metadata.file_type().is_socket());
        file.is_none_or(is_socket)
    }
}

/// The names of the descriptors that the environment announces to the process `pid`, in the descriptors' order.
fn announced(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, PassedError> {
    let (Some(meant), Some(count)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
        return Ok(Vec::new());
    };
    if meant.parse() != Ok(pid) {
        warn!("LISTEN_PID={meant}: the sockets that systemd passes are meant for another process; start rusgi by exec");
        return Ok(Vec::new());
    }
    let number = count.parse::<u16>().map_err(|_| PassedError::Count(count))?;
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').filter(|name| !name.is_empty()).chain(std::iter::repeat("unknown"));
    Ok(names.take(usize::from(number)).map(String::from).collect())
}

fn take(number: RawFd, name: String) -> Result<Passed, PassedError> {
    #[expect(unsafe_code, reason = "systemd passes descriptors as numbers")]
    // SAFETY: a number that nobody owns is not closed here: it stays in the `ManuallyDrop` until it proves to be a listening
    // socket, of which this process has opened none yet; `passed` sees to it that each number is taken once.
    let socket = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    match describe(&socket) {
        Ok(Some(address)) => {
            let socket = ManuallyDrop::into_inner(socket);
            Ok(Passed { listener: Listener { socket, address, file: None, guard: None, is_ours: false }, name })
        }
        Ok(None) | Err(Errno::NOTSOCK) => Err(PassedError::NotListening { number, name }),
        Err(Errno::BADF) => Err(PassedError::Closed { number, name }),
        Err(source) => Err(PassedError::Refused { number, name, source }),
    }
}

/// Makes a listening stream socket ours and returns its address; `None` when it is something else.
fn describe(socket: &OwnedFd) -> rustix::io::Result<Option<String>> {
    if !sockopt::socket_acceptconn(socket)? || sockopt::socket_type(socket)? != SocketType::STREAM {
        return Ok(None);
    }
    fcntl_setfd(socket, FdFlags::CLOEXEC)?;
    fcntl_setfl(socket, fcntl_getfl(socket)? | OFlags::NONBLOCK)?;
    let bound = getsockname(socket)?;
    if let Ok(address) = SocketAddr::try_from(bound.clone()) {
        set_accepted_options(socket)?;
        return Ok(Some(address.to_string()));
    }
    unix_address(bound).map(Some)
}

fn unix_address(bound: SocketAddrAny) -> rustix::io::Result<String> {
    let bound = SocketAddrUnix::try_from(bound)?;
    let path = bound.path().map(|path| format!("unix:{}", path.to_string_lossy()));
    let named = || bound.abstract_name().map(|name| format!("unix-abstract:{}", String::from_utf8_lossy(name)));
    path.or_else(named).ok_or(Errno::AFNOSUPPORT)
}

/// `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;
/// No unit's name begins like this.
const KEPT: &str = "kept-by-rusgi=";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(variables: &[(&str, &str)]) -> Option<Vec<String>> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        announced(7, variable).ok()
    }

    #[test]
    fn nothing_is_announced_without_both_variables_or_to_another_process() {
        assert_eq!(names(&[]), Some(vec![]));
        assert_eq!(names(&[("LISTEN_FDS", "1")]), Some(vec![]));
        assert_eq!(names(&[("LISTEN_PID", "7")]), Some(vec![]));
        assert_eq!(names(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "1")]), Some(vec![]));
        assert_eq!(names(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "0")]), Some(vec![]));
    }

    #[test]
    fn names_stand_in_the_order_of_the_descriptors() {
        let two = [("LISTEN_PID", "7"), ("LISTEN_FDS", "2")];
        assert_eq!(names(&two).unwrap(), ["unknown", "unknown"]);
        assert_eq!(names(&[two[0], two[1], ("LISTEN_FDNAMES", "web:admin")]).unwrap(), ["web", "admin"]);
        assert_eq!(names(&[two[0], two[1], ("LISTEN_FDNAMES", "web")]).unwrap(), ["web", "unknown"]);
    }

    #[test]
    fn a_count_that_is_no_number_is_refused() {
        for wrong in ["", "x", "-1", "70000"] {
            assert_eq!(names(&[("LISTEN_PID", "7"), ("LISTEN_FDS", wrong)]), None, "{wrong}");
        }
    }

    #[test]
    fn the_name_of_a_kept_socket_has_no_colon() {
        assert_eq!(name_of_kept("unix:/run/a.sock"), "kept-by-rusgi=unix-/run/a.sock");
        assert_eq!(name_of_kept("[::1]:80"), "kept-by-rusgi=[--1]-80");
    }
}
