//! What operators see of the processes.

pub mod clock;
pub mod logging;
pub mod scoreboard;

mod line;
mod stderr;
mod utc;
