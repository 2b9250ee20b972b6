//! How many connections wait in a listen queue, asked of the kernel.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::fstat,
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with},
};

use crate::net::{
    listener::{Listener, last_errno},
    peer,
};

/// A listen queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Connections that wait to be accepted.
    pub length: u32,
    /// How many may wait before the kernel turns others away.
    pub limit: u32,
}

/// The way to ask about one listener's queue.
#[derive(Debug)]
pub enum Gauge {
    /// TCP: an option of the listening socket tells (`tcp_get_info` in the kernel's `net/ipv4/tcp.c`).
    Tcp,
    /// A Unix socket: sock_diag(7) tells by the socket's inode.
    Unix {
        /// The netlink socket to ask on.
        diagnosis: OwnedFd,
        /// The listening socket's inode.
        inode: u32,
    },
}

impl Gauge {
    /// The way to ask about `listener`.
    ///
    /// # Errors
    /// When the system has no sock_diag, or does not let us use it.
    pub fn of(listener: &Listener) -> io::Result<Self> {
        if !peer::is_unix(listener) {
            return Ok(Self::Tcp);
        }
        let kernel = Some(netlink::SOCK_DIAG);
        let diagnosis = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, kernel)?;
        // The kernel's own inode numbers of sockets have 32 bits.
        let inode = u32::try_from(fstat(listener)?.st_ino).map_err(|_| Errno::OVERFLOW)?;
        Ok(Self::Unix { diagnosis, inode })
    }

    /// The queue of `listener`, for which this gauge was made. Never waits.
    ///
    /// # Errors
    /// When the kernel knows nothing of the socket: it lacks sock_diag for Unix sockets, or the socket belongs to another
    /// network namespace.
    pub fn read(&self, listener: &Listener) -> io::Result<Queue> {
        match self {
            Self::Tcp => tcp_queue(listener.as_fd()),
            Self::Unix { diagnosis, inode } => {
                send(diagnosis, &question(*inode), SendFlags::DONTWAIT)?;
                let mut answer = [0; 256];
                let (_, length) = recv(diagnosis, &mut answer, RecvFlags::DONTWAIT)?;
                parse_answer(answer.get(..length).unwrap_or(&answer))
            }
        }
    }
}

/// For a listening socket `tcpi_unacked` is the queue's length and `tcpi_sacked` its limit.
fn tcp_queue(socket: BorrowedFd<'_>) -> io::Result<Queue> {
    // SAFETY: zero bytes are a valid tcp_info: it holds integers only.
    #[expect(unsafe_code, reason = "a C structure of integers that the kernel fills")]
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    #[expect(unsafe_code, reason = "no safe wrapper knows TCP_INFO")]
    // SAFETY: `info` and `length` live on this frame for the whole call, and the kernel writes no more than `length` bytes.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(last_errno().into());
    }
    Ok(Queue { length: info.tcpi_unacked, limit: info.tcpi_sacked })
}

/// A `nlmsghdr` and a `unix_diag_req` for the one socket with this inode, whatever its cookie (`linux/unix_diag.h`).
fn question(inode: u32) -> Vec<u8> {
    let any = [u8::MAX; 8];
    let [any_state, any_cookie] = [&any[..4], &any];
    let header = [&LENGTH.to_ne_bytes()[..], &BY_FAMILY.to_ne_bytes(), &REQUEST.to_ne_bytes(), &[0; 8]].concat();
    let socket = [&[libc::AF_UNIX as u8, 0, 0, 0][..], any_state, &inode.to_ne_bytes()].concat();
    [&header[..], &socket, &SHOW_QUEUE.to_ne_bytes(), any_cookie].concat()
}

/// The attribute with the queue in the kernel's answer, or the error it answers with.
fn parse_answer(answer: &[u8]) -> io::Result<Queue> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
    let body = answer.get(HEADER..).ok_or_else(malformed)?;
    if kind == Some(ERROR) {
        let code = word(body).ok_or_else(malformed)? as i32;
        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
    }
    let mut attributes = body.get(MESSAGE..).ok_or_else(malformed)?;
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let [low, high, kind_low, kind_high] = *head;
        let length = usize::from(u16::from_ne_bytes([low, high])).saturating_sub(head.len());
        if u16::from_ne_bytes([kind_low, kind_high]) == QUEUE {
            let length = word(rest).ok_or_else(malformed)?;
            let limit = rest.get(4..).and_then(word).ok_or_else(malformed)?;
            return Ok(Queue { length, limit });
        }
        attributes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(malformed())
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Bytes of a `nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of a `nlmsghdr` and a `unix_diag_req`.
const LENGTH: u32 = 40;
/// Bytes of a `unix_diag_msg`.
const MESSAGE: usize = 16;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `UDIAG_SHOW_RQLEN`.
const SHOW_QUEUE: u32 = 0x10;
/// `UNIX_DIAG_RQLEN`.
const QUEUE: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_queue_among_its_attributes() {
        let head = [[52_u32.to_ne_bytes(), [20, 0, 0, 0], [0; 4], [9, 0, 0, 0]].concat(), vec![1; MESSAGE]].concat();
        let other = [&7_u16.to_ne_bytes()[..], &0_u16.to_ne_bytes(), b"abc\0"].concat();
        let queue = [&12_u16.to_ne_bytes()[..], &QUEUE.to_ne_bytes(), &3_u32.to_ne_bytes(), &5_u32.to_ne_bytes()];
        let whole = [head, other, queue.concat()].concat();
        assert_eq!(parse_answer(&whole).unwrap(), Queue { length: 3, limit: 5 });
        for end in 0..whole.len() {
            assert!(parse_answer(&whole[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn an_error_is_the_systems() {
        let refusal = [&36_u32.to_ne_bytes()[..], &ERROR.to_ne_bytes(), &[0; 10], &(-2_i32).to_ne_bytes()].concat();
        assert_eq!(parse_answer(&refusal).unwrap_err().raw_os_error(), Some(2));
    }
}
