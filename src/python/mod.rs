//! The Python fence: the only module that names pyo3. No Python type leaves it.
//!
//! [`start`] and [`load`] happen once per process, in the forkserver or the worker; a [`Desk`] is one thread's way to
//! call the application, and follows PEP 3333.

mod text;

mod failure;
mod hint;
mod interpreter;
mod loader;
mod process;
mod surroundings;

mod environ;
mod keys;
mod rules;
mod shape;

mod filled;
mod input;

mod error_stream;
mod file_wrapper;
mod reply;
mod start_response;

mod desk;
mod interrupt;
mod module;
mod traceback;

pub use desk::{Desk, Facts};
pub use failure::Failure;
pub use interpreter::{checked_virtualenv, start};
pub use interrupt::{Interrupter, Overdue, Thread};
pub use loader::{Application, load};
pub use module::unpark_on_change;
pub use process::{Fork, attached, detached, finish, fork, freeze, run_signal_handlers, set_switch_interval};

/// How rusgi got its interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The binary links libpython and starts it in the forkserver.
    Embedded,
    /// rusgi is an extension module of a `python` that is already running.
    Extension,
}
