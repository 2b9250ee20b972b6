//! The wheel's door: `rusgi._rusgi`, an extension module inside the user's own `python`.

use pyo3::prelude::*;

/// rusgi's native half; the command line is its only entry.
#[pymodule(gil_used = false)]
mod _rusgi {
    use pyo3::prelude::*;

    /// Runs the `rusgi` command line with `argv` (program name first) and returns its exit code.
    #[pyfunction]
    fn main(argv: Vec<String>) -> u8 {
        rusgi::cli::run(rusgi::Door::Extension, argv)
    }
}
