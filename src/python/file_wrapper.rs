//! `wsgi.file_wrapper`: a file-like object as an iterable of blocks, and a real file as something the kernel can send.
#![expect(unsafe_code, reason = "a descriptor that Python owns is borrowed to duplicate it")]

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use pyo3::{intern, prelude::*, types::PyBytes};
use rustix::fs::{FileType, fstat};

/// The optional file wrapper of PEP 3333.
#[pyclass(frozen, name = "FileWrapper", module = "rusgi")]
pub(super) struct FileWrapper {
    filelike: Py<PyAny>,
    block_size: usize,
}

/// A regular file, and the piece of it that is to be sent.
#[derive(Debug)]
pub(super) struct RealFile {
    /// A descriptor of our own.
    pub(super) file: OwnedFd,
    /// Where Python's file object stands.
    pub(super) offset: u64,
    /// Bytes from there to the end.
    pub(super) size: u64,
}

impl FileWrapper {
    /// What the kernel can send of it; `None` for anything but Python's own binary file objects over a regular file, because
    /// any other may make other bytes out of what it reads.
    pub(super) fn real_file(&self, py: Python<'_>) -> Option<RealFile> {
        let filelike = self.filelike.bind(py);
        if !is_plain(filelike).unwrap_or(false) {
            return None;
        }
        let offset: u64 = filelike.call_method0(intern!(py, "tell")).ok()?.extract().ok()?;
        let descriptor: RawFd =
            filelike.call_method0(intern!(py, "fileno")).ok()?.extract().ok().filter(|fd| *fd >= 0)?;
        // SAFETY: attached, so no other thread closes the file object between fileno() and the duplication.
        let file = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned().ok()?;
        let status =
            fstat(&file).ok().filter(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile)?;
        // The files of procfs say that they are empty, and are not.
        let size = u64::try_from(status.st_size).ok().filter(|size| *size > 0)?.saturating_sub(offset);
        Some(RealFile { file, offset, size })
    }
}

/// Whether this is what `open(…, "rb")` returns.
fn is_plain(filelike: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = filelike.py();
    let io = py.import(intern!(py, "io"))?;
    let is_a = |object: &Bound<'_, PyAny>, name: &str| Ok::<_, PyErr>(object.get_type().is(&io.getattr(name)?));
    if is_a(filelike, "BufferedReader")? || is_a(filelike, "BufferedRandom")? {
        return is_a(&filelike.getattr(intern!(py, "raw"))?, "FileIO");
    }
    is_a(filelike, "FileIO")
}

#[pymethods]
impl FileWrapper {
    /// Wraps anything with `read(size)`; sending begins at its current position.
    #[new]
    #[pyo3(signature = (filelike, block_size=65_536))]
    fn new(filelike: Py<PyAny>, block_size: usize) -> Self {
        Self { filelike, block_size: block_size.max(1) }
    }

    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.filelike.bind(py).call_method1(intern!(py, "read"), (self.block_size,))?;
        let is_end = match block.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes().is_empty(),
            Err(_) => !block.is_truthy()?,
        };
        Ok((!is_end).then_some(block))
    }

    /// Closes the file, if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}
