//! The response of one request, from `start_response` to its last byte.

use std::{
    mem,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, Once},
};

use pyo3::{prelude::*, types::PyBytes};
use rusgi_proto::{HeadError, ResponseHead};
use smallvec::SmallVec;

use crate::{
    python::reply::transmission::keep,
    request::Framing,
    response::{Exchange, Gone, Patience},
};

mod transmission;

/// nginx's default `uwsgi_buffer_size` where a page of memory has 4 KiB.
const NGINX_BUFFER: usize = 4096;

/// A body's chunks, held so that no other thread can free them while they are sent.
pub(super) type Chunks<'py> = SmallVec<[Bound<'py, PyBytes>; 8]>;

/// The response of PEP 3333.
///
/// ```text
///            start_response            first non-empty chunk, write(), or the end
///   Idle ───────────────────▶ Set ──────────────────────────────────────────────▶ Sent
///                             │ ▲
///                             └─┘ start_response with exc_info
/// ```
///
/// No method holds the lock while it waits or calls Python.
pub(super) struct Reply {
    exchange: Arc<dyn Exchange>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// `None` only while it is being filled or sent.
    head: Option<ResponseHead>,
    /// The body's length as the head gives it.
    announced: Option<u64>,
    /// Whether bytes of a body may be sent: not to HEAD, not with 204 or 304.
    takes_body: bool,
    is_head_request: bool,
    has_request_body: bool,
    /// Whether `start_response` has been called, successfully or not.
    was_called: bool,
    /// Why no more can be sent.
    lost: Option<Gone>,
    /// Empty chunks so far.
    empty: u32,
    /// Bytes of the body that have been sent.
    sent: u64,
    /// Whether the application has produced more than its own Content-Length.
    is_overrun: bool,
}

/// Why there is no new head.
pub(super) enum Unset<E> {
    /// The last one has gone out, or may be replaced by an error page only.
    Refused,
    /// The new one was not fit to be sent.
    Unfit(E),
}

/// How far a response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// `start_response` has not been called.
    Idle,
    /// There is a head, which can still be replaced.
    Set,
    /// The head has gone out.
    Sent,
}

impl Reply {
    pub(super) fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self { exchange, state: Mutex::new(State::new(Some(ResponseHead::new()), Framing::default())) }
    }

    /// Prepares for the next request.
    pub(super) fn reset(&self, framing: Framing) {
        let mut state = self.state();
        *state = State::new(state.head.take(), framing);
    }

    pub(super) fn stage(&self) -> Stage {
        self.state().stage
    }

    /// Why no more can be sent, once it has been tried.
    pub(super) fn lost(&self) -> Option<Gone> {
        self.state().lost
    }

    /// Takes note of an empty chunk. Nothing is sent for it, so the peer is looked after now and then.
    ///
    /// # Errors
    /// [`Gone`] when the peer has left.
    pub(super) fn pass_over_empty(&self) -> Result<(), Gone> {
        let count = {
            let mut state = self.state();
            state.empty = state.empty.wrapping_add(1);
            state.empty
        };
        if count.is_multiple_of(128) && self.exchange.is_peer_gone() { Err(Gone::Closed) } else { Ok(()) }
    }

    /// Whether the application has tried to send more than its Content-Length.
    pub(super) fn is_overrun(&self) -> bool {
        self.state().is_overrun
    }

    /// Sets the head, or replaces it where `is_error_page`; `fill` gets an empty one to write into.
    ///
    /// # Errors
    /// [`Unset`]: the head is as it was, but for one that turned out unfit, after which there is none.
    pub(super) fn set<E>(
        &self,
        is_error_page: bool,
        fill: impl FnOnce(&mut ResponseHead) -> Result<(), E>,
    ) -> Result<(), Unset<E>> {
        let mut head = {
            let mut state = self.state();
            let was_called = mem::replace(&mut state.was_called, true);
            let is_late = if is_error_page { state.stage == Stage::Sent } else { was_called };
            if is_late {
                return Err(Unset::Refused);
            }
            state.head.take().unwrap_or_default()
        };
        head.clear();
        let filled = fill(&mut head);
        let mut state = self.state();
        state.stage = if filled.is_ok() { Stage::Set } else { Stage::Idle };
        state.head = Some(head);
        filled.map_err(Unset::Unfit)
    }

    /// Sends one chunk, before it the head; returns when the kernel has taken both.
    ///
    /// # Errors
    /// [`Gone`] when the peer has left.
    pub(super) fn write(&self, py: Python<'_>, chunk: &Bound<'_, PyBytes>) -> Result<(), Gone> {
        self.send(py, std::slice::from_ref(chunk), None, Patience::Full)
    }

    /// Sends the whole body, before it the head; what the peer does not take at once is left to the lobby.
    ///
    /// # Errors
    /// [`Gone`] when the peer has left.
    pub(super) fn write_all(&self, py: Python<'_>, chunks: &Chunks<'_>) -> Result<(), Gone> {
        let length = chunks.iter().map(|chunk| chunk.as_bytes().len() as u64).sum();
        self.send(py, chunks, Some(length), Patience::Brief)
    }

    /// Sends the head of a body that is known to be one chunk of `length` bytes, with that chunk.
    pub(super) fn write_only(&self, py: Python<'_>, chunk: &Bound<'_, PyBytes>) -> Result<(), Gone> {
        self.send(py, std::slice::from_ref(chunk), Some(chunk.as_bytes().len() as u64), Patience::Full)
    }

    /// Sends up to `size` bytes of a file from `offset` on, before it the head; what the peer does not take at once is left
    /// to the lobby.
    ///
    /// # Errors
    /// [`Gone`] when the peer has left.
    pub(super) fn write_file(&self, py: Python<'_>, file: OwnedFd, offset: u64, size: u64) -> Result<(), Gone> {
        self.send(py, &[], Some(size), Patience::Full)?;
        let count = self.state().clip_length(size);
        let unsent = py.detach(|| self.transmit_file(file, offset, count))?;
        self.state().sent -= unsent;
        Ok(())
    }

    /// Whether the body has been shorter, or longer, than its Content-Length; says so once.
    pub(super) fn fault(&self) -> Option<String> {
        let state = self.state();
        let announced = state.announced?;
        if state.is_overrun {
            return Some(format!("the body is longer than its Content-Length of {announced}: the rest was not sent"));
        }
        (state.takes_body && state.sent < announced).then(|| {
            format!("the body ended after {} of the {announced} bytes that its Content-Length announces", state.sent)
        })
    }

    /// Whether `fault` leaves the peer with less than it was promised.
    pub(super) fn is_short(&self) -> bool {
        let state = self.state();
        state.takes_body && state.announced.is_some_and(|announced| state.sent < announced)
    }

    /// Whether every byte that the head announces has been sent.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.stage == Stage::Sent && state.announced.is_some_and(|announced| state.sent >= announced)
    }

    /// Whether the peer has everything it was promised: all announced bytes, or a head that none may follow.
    pub(super) fn is_complete(&self) -> bool {
        self.is_full() || self.state().is_head_only()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    fn send(
        &self,
        py: Python<'_>,
        chunks: &[Bound<'_, PyBytes>],
        length: Option<u64>,
        patience: Patience,
    ) -> Result<(), Gone> {
        let head;
        let mut parts = SmallVec::<[&[u8]; 9]>::new();
        parts.push(&[]);
        {
            let mut state = self.state();
            if state.stage == Stage::Set && state.has_request_body {
                drop(state);
                if self.exchange.is_body_coming() {
                    py.detach(|| self.exchange.seal_body());
                }
                state = self.state();
            }
            head = state.take_head(length);
            state.clip(chunks, &mut parts);
        }
        if let (Some(head), Some(first)) = (&head, parts.first_mut()) {
            *first = head.as_bytes();
        }
        let sent = self.transmit(py, &parts, patience, |skip| keep(head.as_ref(), chunks, &parts, skip));
        drop(parts);
        let mut state = self.state();
        state.lost = sent.err().or(state.lost);
        if head.is_some() {
            state.head = head;
        }
        sent
    }
}

impl State {
    fn new(head: Option<ResponseHead>, framing: Framing) -> Self {
        Self {
            stage: Stage::Idle,
            head,
            announced: None,
            takes_body: true,
            is_head_request: framing.is_head,
            has_request_body: framing.content_length > 0,
            was_called: false,
            lost: None,
            empty: 0,
            sent: 0,
            is_overrun: false,
        }
    }

    fn is_head_only(&self) -> bool {
        self.stage == Stage::Sent && !self.takes_body
    }

    /// The head, finished, the first time it is asked for. `length` is the body's, where it is known.
    fn take_head(&mut self, length: Option<u64>) -> Option<ResponseHead> {
        if self.stage != Stage::Set {
            return None;
        }
        self.stage = Stage::Sent;
        let mut head = self.head.take()?;
        // An application may leave out the body for HEAD: its length then says nothing about GET's.
        head.finish(length.filter(|length| !self.is_head_request || *length > 0));
        self.announced = head.content_length();
        warn_of_size(head.as_bytes().len());
        self.takes_body = !self.is_head_request && head.allows_body();
        Some(head)
    }

    /// How many of `length` more bytes may be sent; they count as sent.
    fn clip_length(&mut self, length: u64) -> u64 {
        if !self.takes_body {
            return 0;
        }
        let room = self.announced.map_or(u64::MAX, |announced| announced.saturating_sub(self.sent));
        let fits = length.min(room);
        self.sent += fits;
        fits
    }

    /// Adds as much of `chunks` to `parts` as may be sent.
    fn clip<'c>(&mut self, chunks: &'c [Bound<'_, PyBytes>], parts: &mut SmallVec<[&'c [u8]; 9]>) {
        if !self.takes_body {
            return;
        }
        for chunk in chunks {
            let bytes = chunk.as_bytes();
            let fits = self.clip_length(bytes.len() as u64);
            let fits = bytes.get(..usize::try_from(fits).unwrap_or(usize::MAX)).unwrap_or(bytes);
            self.is_overrun |= fits.len() < bytes.len();
            parts.push(fits);
        }
    }
}

/// Says once in a worker that nginx's buffer for a response head must be larger than it is by default.
fn warn_of_size(length: usize) {
    static WARNED: Once = Once::new();
    if length > NGINX_BUFFER {
        WARNED.call_once(|| {
            tracing::warn!(
                "response head of {length} bytes: nginx answers 502 above its uwsgi_buffer_size, one page of memory unless set; \
                 set `uwsgi_buffer_size 16k`"
            );
        });
    }
}

/// Whether a header that the head refuses is one that real applications send and mean nothing by.
pub(super) fn is_harmless(error: &HeadError) -> bool {
    let HeadError::HopByHop { name } = error else {
        return false;
    };
    name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive")
}
