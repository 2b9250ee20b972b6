//! How the processes talk: one message to a datagram, over a pair of Unix sockets.
//!
//! ```text
//! supervisor ── Fork ──▶ forkserver ── Loaded | Failed | Forked (with the worker's channel) | Exited ──▶ supervisor
//! supervisor ── Drain ──▶ worker ── Ready | Failed | Retire | Stopping ──▶ supervisor
//! supervisor ── Listener (with the socket), Inherited, TakeOver ──▶ its successor ── Ready | Failed ──▶ supervisor
//! ```
//!
//! End of file is a message too: without a supervisor a forkserver exits, a worker drains, and a successor takes over.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};
use rustix::{cmsg_space, io::Errno};
use serde::{Deserialize, Serialize};

/// The exit status by which a forkserver or a worker says that its application could not be loaded.
pub const LOAD_FAILED: u8 = 3;

/// The longest report that is passed on, in bytes; of a longer one the middle is left out.
pub const LONGEST_REPORT: usize = 64 * 1024;

/// One end of a channel between two processes; closed when dropped, and never inherited by an executed program.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What one process tells another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// To a forkserver: fork a worker for this slot.
    Fork {
        /// The worker's number, from 1.
        slot: u32,
    },
    /// From a forkserver: the interpreter (and with preload the application) is loaded, workers can be forked.
    Loaded,
    /// From a forkserver or a worker that could not load the application, just before it exits with [`LOAD_FAILED`], and from a
    /// successor that cannot serve.
    Failed {
        /// The traceback and a hint, as an operator is to read it.
        report: String,
    },
    /// From a forkserver: the worker runs; the supervisor's end of its channel comes along.
    Forked {
        /// The worker's number, from 1.
        slot: u32,
        /// The worker's process.
        pid: i32,
    },
    /// From a forkserver: a child of it has ended.
    Exited {
        /// The process that was.
        pid: i32,
        /// The status as `waitpid(2)` gives it.
        status: i32,
    },
    /// From a worker, or a successor of all its workers: the application is loaded and connections are being accepted.
    Ready,
    /// From a worker: it has served enough, and goes on until a replacement is ready and it is told to drain.
    Retire {
        /// Why, as the end of a sentence for operators.
        reason: String,
    },
    /// To a worker: accept no more, finish what is in flight, exit with 0.
    Drain {
        /// Whether nobody accepts after it, so that what waits in the listen queue is still for it.
        is_last: bool,
    },
    /// From a worker: it accepts no more, whether it was asked to or not.
    Stopping,
    /// To a successor: a listening socket, which comes along.
    Listener {
        /// Whether it is one of the admin's, rather than one for requests.
        is_admin: bool,
        /// Device and inode of the Unix socket's file, where that is for the server to remove at its end.
        file: Option<(u64, u64)>,
        /// Whether the socket ends with the server; one that does not say so may have it from systemd.
        #[serde(default)]
        is_ours: bool,
    },
    /// To a successor: these were all sockets.
    Inherited {
        /// How many workers there are.
        workers: usize,
        /// The fewest and the most there may be, where an operator has changed that.
        range: Option<(usize, usize)>,
    },
    /// To a successor that is ready: go on alone.
    TakeOver {
        /// Whether a reload was asked for meanwhile.
        reload: bool,
    },
}

/// A message, with the descriptor that came along.
pub type Received = (Message, Option<OwnedFd>);

impl Channel {
    /// Two ends of a new channel.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for socket in [&one, &other] {
            sockopt::set_socket_send_buffer_size(socket, 2 * LONGEST_MESSAGE)?;
        }
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// Sends `message`, waiting while the peer's queue is full.
    ///
    /// # Errors
    /// `EPIPE` when the peer has closed its end.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        self.write(message, None, SendFlags::empty())
    }

    /// Sends `message` without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the peer's queue is full, `EPIPE` when it has closed its end.
    pub fn try_send(&self, message: &Message) -> io::Result<()> {
        self.write(message, None, SendFlags::DONTWAIT)
    }

    /// Sends `message` with a copy of `descriptor`.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_with_fd(&self, message: &Message, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.write(message, Some(descriptor), SendFlags::empty())
    }

    /// Sends `message` with a copy of `descriptor`, without waiting.
    ///
    /// # Errors
    /// As [`Channel::try_send`].
    pub fn try_send_with_fd(&self, message: &Message, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.write(message, Some(descriptor), SendFlags::DONTWAIT)
    }

    /// Waits for the next message; `None` when the peer has closed its end and everything it sent is read.
    ///
    /// # Errors
    /// When the datagram is no message, or the system refuses the read.
    pub fn recv(&self) -> io::Result<Option<Received>> {
        self.read(RecvFlags::empty())
    }

    /// The next message if one is there; `None` as for [`Channel::recv`].
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none is there, else as [`Channel::recv`].
    pub fn try_recv(&self) -> io::Result<Option<Received>> {
        self.read(RecvFlags::DONTWAIT)
    }

    fn write(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>, flags: SendFlags) -> io::Result<()> {
        let bytes = encode(message)?;
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let flags = flags | SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, flags))?;
        Ok(())
    }

    fn read(&self, flags: RecvFlags) -> io::Result<Option<Received>> {
        let mut bytes = vec![0; LONGEST_MESSAGE];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = self.receive(&mut bytes, &mut control, flags)?;
        let descriptor = control.drain().find_map(first_descriptor);
        if received.bytes == 0 {
            return Ok(None);
        }
        let text = bytes.get(..received.bytes).filter(|_| !received.flags.contains(ReturnFlags::TRUNC));
        let message = serde_json::from_slice(text.unwrap_or_default())?;
        Ok(Some((message, descriptor)))
    }

    fn receive(
        &self,
        bytes: &mut [u8],
        control: &mut RecvAncillaryBuffer<'_>,
        flags: RecvFlags,
    ) -> io::Result<RecvMsg> {
        loop {
            let received =
                recvmsg(&self.socket, &mut [IoSliceMut::new(bytes)], control, flags | RecvFlags::CMSG_CLOEXEC);
            match received {
                // A peer that left messages of ours unread resets the socket once; what it sent is still there.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                received => return Ok(received?),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    /// Takes over an end that came with a message.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl From<Channel> for OwnedFd {
    /// Gives an end away.
    fn from(channel: Channel) -> Self {
        channel.socket
    }
}

fn first_descriptor(message: RecvAncillaryMessage<'_>) -> Option<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }
}

fn encode(message: &Message) -> io::Result<Vec<u8>> {
    let Message::Failed { report } = message else {
        return Ok(serde_json::to_vec(message)?);
    };
    let mut longest = LONGEST_REPORT;
    loop {
        let bytes = serde_json::to_vec(&Message::Failed { report: shorten(report, longest) })?;
        if bytes.len() <= LONGEST_MESSAGE {
            return Ok(bytes);
        }
        // A control character takes six bytes in JSON.
        longest /= 2;
    }
}

/// Leaves out the middle: a traceback begins with where, and ends with what.
fn shorten(report: &str, longest: usize) -> String {
    if report.len() <= longest {
        return report.to_owned();
    }
    let head = char_boundary(report, longest / 4);
    let tail = char_boundary(report, report.len() - longest * 5 / 8);
    let (start, end) = (report.get(..head).unwrap_or_default(), report.get(tail..).unwrap_or_default());
    format!("{start}\n[... {} bytes left out ...]\n{end}", tail - head)
}

/// The last place at or before `index` where a character begins.
fn char_boundary(text: &str, index: usize) -> usize {
    (0..=index).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

/// Room for a report whose every character has to be escaped as `\n` is.
const LONGEST_MESSAGE: usize = 2 * LONGEST_REPORT + 64;

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
    };

    use super::*;

    fn received(channel: &Channel) -> Option<Message> {
        channel.recv().unwrap().map(|(message, _)| message)
    }

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (one, other) = Channel::pair().unwrap();
        let sent = [
            Message::Fork { slot: 7 },
            Message::Loaded,
            Message::Failed { report: "Traceback:\n  \"é\"\n".to_owned() },
            Message::Exited { pid: 12, status: -1 },
            Message::Drain { is_last: true },
        ];
        sent.iter().for_each(|message| one.send(message).unwrap());
        sent.iter().for_each(|message| assert_eq!(received(&other).as_ref(), Some(message)));
    }

    #[test]
    fn an_empty_channel_would_block_and_a_closed_one_is_at_its_end() {
        let (one, other) = Channel::pair().unwrap();
        assert_eq!(other.try_recv().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(one);
        assert!(other.try_recv().unwrap().is_none());
        assert_eq!(other.send(&Message::Ready).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_queue_refuses_rather_than_blocks() {
        let (one, _other) = Channel::pair().unwrap();
        let refused = (0..100_000).find_map(|_| one.try_send(&Message::Drain { is_last: false }).err());
        assert_eq!(refused.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn a_descriptor_comes_along_and_works() {
        let (one, other) = Channel::pair().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        one.send_with_fd(&Message::Forked { slot: 1, pid: 2 }, reader.as_fd()).unwrap();
        drop(reader);
        let (message, descriptor) = other.recv().unwrap().unwrap();
        assert_eq!(message, Message::Forked { slot: 1, pid: 2 });
        writer.write_all(b"through").unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(descriptor.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn descriptors_are_not_inherited_by_programs() {
        let (one, other) = Channel::pair().unwrap();
        one.send_with_fd(&Message::Ready, one.as_fd()).unwrap();
        let (_, descriptor) = other.recv().unwrap().unwrap();
        for socket in [&one.socket, &other.socket, &descriptor.unwrap()] {
            assert!(rustix::io::fcntl_getfd(socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn what_a_peer_said_last_is_heard_although_it_left_a_message_unread() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&Message::Drain { is_last: false }).unwrap();
        other.send(&Message::Failed { report: "why".to_owned() }).unwrap();
        drop(other);
        assert_eq!(received(&one), Some(Message::Failed { report: "why".to_owned() }));
        assert_eq!(received(&one), None);
    }

    #[test]
    fn a_long_report_keeps_its_beginning_and_its_end() {
        for filling in ["x", "\n", "é", "\u{1}"] {
            let (one, other) = Channel::pair().unwrap();
            one.send(&Message::Failed { report: format!("begin{}end", filling.repeat(300_000)) }).unwrap();
            let Some(Message::Failed { report }) = received(&other) else { panic!("no report") };
            assert!(report.starts_with("begin") && report.ends_with("end") && report.contains("bytes left out"));
            assert!(report.len() <= LONGEST_REPORT);
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let (one, other) = Channel::pair().unwrap();
        rustix::net::send(&one, b"{}", SendFlags::empty()).unwrap();
        assert_eq!(other.recv().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
