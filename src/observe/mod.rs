//! What operators see of the processes.

pub mod logging;

mod line;
mod stderr;
mod utc;
