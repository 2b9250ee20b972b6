//! Who is at the other end of a socket, for a log line.

use std::{fmt, os::fd::AsFd};

use rustix::net::{AddressFamily, getpeername, getsockname, sockopt::socket_peercred};

/// Names the peer: `127.0.0.1:51234`, or for a Unix socket the process and user that connected.
pub fn name(socket: impl AsFd) -> impl fmt::Display {
    if !is_unix(&socket) {
        return match getpeername(&socket) {
            Ok(Some(address)) => {
                std::net::SocketAddr::try_from(address).map_or_else(|_| unknown(), |address| address.to_string())
            }
            _ => unknown(),
        };
    }
    socket_peercred(&socket).map_or_else(
        |_| unknown(),
        |peer| format!("unix peer (pid {}, uid {})", peer.pid.as_raw_nonzero(), peer.uid.as_raw()),
    )
}

/// Whether this is a Unix socket, where `SO_LINGER` does not reset the peer.
pub fn is_unix(socket: impl AsFd) -> bool {
    getsockname(socket).is_ok_and(|address| address.address_family() == AddressFamily::UNIX)
}

fn unknown() -> String {
    String::from("unknown peer")
}
