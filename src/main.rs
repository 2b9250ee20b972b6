//! The embedding binary: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Options are text; a path that is not UTF-8 is refused by name further on rather than here by a panic.
    let argv = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    ExitCode::from(rusgi::cli::run(rusgi::Door::Embedded, argv.collect()))
}
