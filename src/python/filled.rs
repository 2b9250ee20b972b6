//! `bytes` objects that are filled in place.
#![expect(unsafe_code, reason = "the bytes of a new object are not cleared before a peer's are read into them")]

use std::{ptr, slice};

use pyo3::{ffi, prelude::*, types::PyBytes};

use crate::room::Room;

/// A `bytes` object of what `fill` writes, at most `len` bytes.
///
/// # Errors
/// Those of `fill`, and MemoryError.
pub(super) fn filled<'py>(
    py: Python<'py>,
    len: usize,
    fill: impl FnOnce(&mut Room<'_>) -> PyResult<()>,
) -> PyResult<Bound<'py, PyBytes>> {
    let size = ffi::Py_ssize_t::try_from(len).unwrap_or(ffi::Py_ssize_t::MAX);
    // SAFETY: the result is a new reference to a bytes object, or null with an exception set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(ptr::null(), size))? };
    // SAFETY: the object was made with `len` bytes, and nobody else sees it before it is returned.
    let mut room = Room::new(unsafe { slice::from_raw_parts_mut(ffi::PyBytes_AsString(object.as_ptr()).cast(), len) });
    let start = room.start();
    fill(&mut room)?;
    // A room over other memory would tell nothing about this.
    let written = if room.start() == start { room.filled() } else { 0 };
    if written == len {
        // SAFETY: it is a bytes object, of which `Room` has counted every byte as written.
        return Ok(unsafe { object.cast_into_unchecked() });
    }
    // SAFETY: the object has `len` bytes, and `Room` has counted the first `written` of them as written.
    Ok(PyBytes::new(py, unsafe { slice::from_raw_parts(ffi::PyBytes_AsString(object.as_ptr()).cast(), written) }))
}
