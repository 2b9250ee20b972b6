//! Bytes to and from Python's `str`, the latin-1 way of PEP 3333.
#![expect(unsafe_code, reason = "a str is filled in place: no safe call makes one from latin-1 bytes without decoding")]

use std::borrow::Cow;

use pyo3::{
    PyErr, ffi,
    prelude::*,
    types::{PyString, string::PyStringData},
};

/// A `str` whose code points are these bytes.
///
/// # Errors
/// MemoryError.
pub(super) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let length = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(ffi::Py_ssize_t::MAX);
    if bytes.is_empty() || !bytes.is_ascii() {
        // SAFETY: pointer and length describe `bytes`; the result is a new reference to a str, or null with an exception set.
        return unsafe {
            let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length, std::ptr::null());
            Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
        };
    }
    // SAFETY: a non-empty ASCII str made with maxchar 127 is compact and ours alone until it is returned; it holds `length` bytes.
    unsafe {
        let text = ffi::PyUnicode_New(length, 127);
        if text.is_null() {
            return Err(PyErr::fetch(py));
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyUnicode_DATA(text).cast(), bytes.len());
        Ok(Bound::from_owned_ptr(py, text).cast_into_unchecked())
    }
}

/// The bytes of a `str` that latin-1 can hold; `None` for any other.
#[inline]
pub(super) fn as_latin1<'a>(text: &'a Bound<'_, PyString>) -> Option<Cow<'a, [u8]>> {
    // SAFETY: the str is ready and immutable, and lives as long as the borrow of `text`.
    let data = unsafe { text.data() };
    match data {
        Ok(PyStringData::Ucs1(bytes)) => Some(Cow::Borrowed(bytes)),
        // CPython keeps a str in the narrowest form, but a subclass made by C code need not.
        Ok(PyStringData::Ucs2(units)) => units.iter().map(|unit| u8::try_from(*unit).ok()).collect(),
        Ok(PyStringData::Ucs4(units)) => units.iter().map(|unit| u8::try_from(*unit).ok()).collect(),
        Err(_) => None,
    }
}
