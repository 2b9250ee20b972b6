//! `rusgi completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{CommandLine, say};

/// The options of `rusgi completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the shell's completions; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut CommandLine::command(), "rusgi", &mut script);
    say(&String::from_utf8_lossy(&script));
    0
}
