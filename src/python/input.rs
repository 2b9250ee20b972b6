//! `wsgi.input`: the request body, read from the socket as the application asks for it.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, TryLockError},
};

use pyo3::{
    PyErr,
    exceptions::{PyConnectionResetError, PyOSError, PyTimeoutError},
    intern,
    prelude::*,
    types::{PyBytes, PyList},
};

use crate::{python::filled::filled, request::BodyError, response::Exchange, room::Room};

/// How far `readline` reads ahead of the line it looks for.
const AHEAD: usize = 8 * 1024;

/// A read up to this size is tried with the GIL first: what is there is copied sooner than the GIL is let go and taken again.
const AT_ONCE: usize = 64 * 1024;

/// A read up to this size lands in the `bytes` object itself; a larger one is believed only as its bytes arrive.
const DIRECT: u64 = 4 * 1024 * 1024;

/// The input stream of PEP 3333. It ends at CONTENT_LENGTH, and a body that stops before that raises OSError.
#[pyclass(frozen, name = "Input", module = "rusgi")]
pub(super) struct Input {
    exchange: Arc<dyn Exchange>,
    /// Bytes that `readline` has read beyond the last line it returned.
    ahead: Mutex<Vec<u8>>,
    /// One call at a time: two threads that read at once would tear the body apart.
    turn: Mutex<()>,
}

impl Input {
    pub(super) fn new(exchange: Arc<dyn Exchange>) -> Self {
        Self { exchange, ahead: Mutex::default(), turn: Mutex::default() }
    }

    /// Prepares for the next request.
    pub(super) fn reset(&self) {
        self.ahead().clear();
    }

    /// Waits for this thread's turn, without the GIL where another thread is at it.
    fn turn(&self, py: Python<'_>) -> MutexGuard<'_, ()> {
        loop {
            match self.turn.try_lock() {
                Ok(turn) => return turn,
                Err(TryLockError::Poisoned(poison)) => return poison.into_inner(),
                Err(TryLockError::WouldBlock) => py.detach(|| drop(self.turn.lock())),
            }
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Vec<u8>> {
        self.ahead.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Bytes that can still be read.
    fn left(&self) -> u64 {
        self.exchange.body_left().saturating_add(self.ahead().len() as u64)
    }

    /// `size` as PEP 3333 and `io` mean it: none, `None` and negative are everything.
    fn wanted(&self, size: Option<i64>) -> u64 {
        let left = self.left();
        size.and_then(|size| u64::try_from(size).ok()).map_or(left, |size| size.min(left))
    }

    /// Fills `room` from what was read ahead, then from the exchange.
    fn fill(&self, py: Python<'_>, room: &mut Room<'_>) -> PyResult<()> {
        {
            let mut ahead = self.ahead();
            let count = room.push(&ahead);
            ahead.drain(..count);
        }
        self.fill_on(py, room)
    }

    /// Fills `room` from the exchange, without the GIL where that may wait or takes long.
    fn fill_on(&self, py: Python<'_>, room: &mut Room<'_>) -> PyResult<()> {
        let is_tried = room.left() <= AT_ONCE;
        if is_tried && self.exchange.read_body(room).map_err(raise)? {
            return Ok(());
        }
        py.detach(|| {
            if is_tried {
                self.exchange.await_body()?;
            }
            while !self.exchange.read_body(room)? {
                self.exchange.await_body()?;
            }
            Ok(())
        })
        .map_err(raise)
    }

    /// Reads into memory that grows only as bytes arrive, whatever CONTENT_LENGTH has announced.
    fn read_grown<'py>(&self, py: Python<'py>, wanted: u64) -> PyResult<Bound<'py, PyBytes>> {
        let pieces = PyList::empty(py);
        let mut left = wanted;
        while left > 0 {
            let piece = filled(py, usize::try_from(left.min(DIRECT)).unwrap_or_default(), |room| self.fill(py, room))?;
            if piece.as_bytes().is_empty() {
                break;
            }
            left -= piece.as_bytes().len() as u64;
            pieces.append(piece)?;
        }
        Ok(PyBytes::new(py, b"").call_method1(intern!(py, "join"), (pieces,))?.cast_into()?)
    }

    /// Where the line at hand ends, `limit` at the latest; `None` while that is not known. The first `searched` bytes hold no newline.
    fn line_end(&self, searched: usize, limit: usize) -> Option<usize> {
        let ahead = self.ahead();
        let reach = ahead.get(..limit).unwrap_or(&ahead);
        let unseen = reach.get(searched..).unwrap_or_default();
        let newline = unseen.iter().position(|byte| *byte == b'\n').map(|at| searched + at + 1);
        newline.or_else(|| (ahead.len() >= limit).then_some(limit))
    }

    /// Reads on behind the bytes read ahead; 0 when there are no more.
    fn read_ahead(&self, py: Python<'_>) -> PyResult<usize> {
        let piece = usize::try_from(self.exchange.body_left()).unwrap_or(AHEAD).min(AHEAD);
        let more = filled(py, piece, |room| self.fill_on(py, room))?;
        self.ahead().extend_from_slice(more.as_bytes());
        Ok(more.as_bytes().len())
    }
}

#[pymethods]
impl Input {
    /// Up to `size` bytes; fewer only at the end of the body.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let _turn = self.turn(py);
        let wanted = self.wanted(size);
        if wanted > DIRECT {
            return self.read_grown(py, wanted);
        }
        // Every byte asked for has been announced: a shorter body raises.
        filled(py, usize::try_from(wanted).unwrap_or_default(), |room| self.fill(py, room))
    }

    /// One line with its newline, at most `size` bytes of it; `b""` at the end of the body.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let _turn = self.turn(py);
        let limit = usize::try_from(self.wanted(size)).unwrap_or(usize::MAX);
        let mut searched = 0;
        let end = loop {
            if let Some(end) = self.line_end(searched, limit) {
                break end;
            }
            searched = self.ahead().len();
            if self.read_ahead(py)? == 0 {
                break searched;
            }
        };
        let mut ahead = self.ahead();
        let rest = ahead.split_off(end);
        let line = mem::replace(&mut *ahead, rest);
        drop(ahead);
        Ok(PyBytes::new(py, &line))
    }

    /// All lines, or as many as are needed to reach `hint` bytes.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let enough = hint.filter(|hint| *hint > 0).and_then(|hint| usize::try_from(hint).ok()).unwrap_or(usize::MAX);
        let mut total = 0;
        while total < enough {
            let line = self.readline(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.readline(py, None)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }
}

/// Each way a body can fail, as the OSError that says it.
fn raise(error: BodyError) -> PyErr {
    let text = error.to_string();
    match error {
        BodyError::Closed { .. } => PyConnectionResetError::new_err(text),
        BodyError::Stalled { .. } => PyTimeoutError::new_err(text),
        BodyError::Sealed { .. } | BodyError::Over | BodyError::Socket(_) => PyOSError::new_err(text),
    }
}
