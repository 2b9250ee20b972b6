//! `rusgi man`: the manual pages, one for each subcommand.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::{CommandLine, FAILED, complain};

/// The options of `rusgi man`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory for rusgi.1, rusgi-serve.1 and so on; it has to exist
    directory: PathBuf,
}

/// Writes the pages; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    match clap_mangen::generate_to(CommandLine::command(), &args.directory) {
        Ok(()) => 0,
        Err(error) => {
            complain(&format!("{}: {error}: name a directory that you may write to", args.directory.display()));
            FAILED
        }
    }
}
