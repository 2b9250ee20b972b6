//! `wsgi.file_wrapper`: a file-like object as an iterable of blocks.

use pyo3::{intern, prelude::*, types::PyBytes};

/// The optional file wrapper of PEP 3333.
#[pyclass(frozen, name = "FileWrapper", module = "rusgi")]
pub(super) struct FileWrapper {
    filelike: Py<PyAny>,
    block_size: usize,
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
        let is_end = block
            .cast::<PyBytes>()
            .map_or_else(|_| block.is_truthy().map(|more| !more), |bytes| Ok(bytes.as_bytes().is_empty()))?;
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
