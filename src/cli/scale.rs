//! `rusgi scale`: have more or fewer workers.

use crate::{
    cli::order::{OrderArgs, Outcome},
    config::Range,
};

/// The options of `rusgi scale`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: OrderArgs,
    /// How many workers there are to be: N, or as many from MIN to MAX as the load demands
    #[arg(value_name = "N|MIN..MAX")]
    workers: Range,
}

/// Asks for that many workers; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    args.order.give(&format!("/scale?workers={}", args.workers), false, tell)
}

fn tell(outcome: &Outcome) -> String {
    let (least, most) = (&outcome.facts["least"], &outcome.facts["most"]);
    match outcome.status {
        200..300 if least == most => format!("scaling to {least} worker{}", if *least == 1 { "" } else { "s" }),
        200..300 => format!("scaling to {least}..{most} workers, as the load demands"),
        _ => format!("nothing is scaled: {}", outcome.text),
    }
}
