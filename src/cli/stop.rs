//! `rusgi stop`: finish what is in flight, and stop.

use crate::cli::client::{AdminArgs, order};

/// The options of `rusgi stop`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks for a graceful stop; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    order(&args.admin, "/stop")
}
