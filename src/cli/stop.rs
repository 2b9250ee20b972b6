//! `rusgi stop`: finish what is in flight, and stop.

use crate::cli::order::{OrderArgs, Outcome};

/// The options of `rusgi stop`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: OrderArgs,
}

/// Asks for a graceful stop; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    args.order.give("/stop", false, tell)
}

fn tell(outcome: &Outcome) -> String {
    match outcome.status {
        200..300 if outcome.text == "stopping at once" => {
            "stopping at once: what was still in flight is cut".to_owned()
        }
        200..300 => "stopping: requests in flight are finished first".to_owned(),
        _ => format!("nothing is stopped: {}", outcome.text),
    }
}
