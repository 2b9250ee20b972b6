//! Who is turned away at once: before a byte is read, and without a word.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::net::{SocketAddrAny, sockopt::socket_peercred};

use crate::{config::Admission, net::peer};

/// The rule for the peers of one listener.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    admission: Admission,
    is_unix: bool,
}

impl Guard {
    /// The rule for a listener, if there is one.
    pub(super) fn new(admission: &Admission, is_unix: bool) -> Option<Self> {
        let is_needed = if is_unix { admission.users.is_some() } else { admission.networks.is_some() };
        is_needed.then(|| Self { admission: admission.clone(), is_unix })
    }

    /// Whether the peer that has just connected is let in; what cannot be found out is not.
    pub(super) fn admits(&self, socket: &OwnedFd, address: Option<SocketAddrAny>) -> bool {
        let is_admitted = if self.is_unix {
            socket_peercred(socket).is_ok_and(|peer| self.admission.admits_user(peer.uid.as_raw()))
        } else {
            let address = address.and_then(|address| SocketAddr::try_from(address).ok());
            address.is_some_and(|address| self.admission.admits_address(address.ip()))
        };
        if !is_admitted {
            self.complain(socket);
        }
        is_admitted
    }

    /// Says so once a second at most: whoever knocks decides how often.
    fn complain(&self, socket: &OwnedFd) {
        static SAID: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
        let mut said = SAID.lock().unwrap_or_else(|poison| poison.into_inner());
        let unsaid = match &mut *said {
            Some((last, unsaid)) if last.elapsed() < PAUSE => {
                *unsaid += 1;
                return;
            }
            Some((_, unsaid)) => *unsaid,
            None => 0,
        };
        *said = Some((Instant::now(), 0));
        drop(said);
        let option = if self.is_unix { "--allow-user" } else { "--allow-from" };
        let peer = peer::name(socket);
        tracing::warn!(%peer, "turned away: not in {option} ({unsaid} more since this was last said)");
    }
}

const PAUSE: Duration = Duration::from_secs(1);
