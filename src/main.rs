//! The embedding binary: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rusgi::cli::run(rusgi::Door::Embedded, std::env::args().collect()))
}
