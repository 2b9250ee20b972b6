//! `rusgi scale`: have more or fewer workers.

use crate::cli::client::{AdminArgs, order};

/// The options of `rusgi scale`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// How many workers there are to be
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

/// Asks for that many workers; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    order(&args.admin, &format!("/scale?workers={}", args.workers))
}
