//! `rusgi scale`: have more or fewer workers.

use crate::{
    cli::client::{AdminArgs, order},
    config::Range,
};

/// The options of `rusgi scale`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// How many workers there are to be: N, or as many from MIN to MAX as the load demands
    #[arg(value_name = "N|MIN..MAX")]
    workers: Range,
}

/// Asks for that many workers; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    order(&args.admin, &format!("/scale?workers={}", args.workers))
}
