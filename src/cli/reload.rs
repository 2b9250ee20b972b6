//! `rusgi reload`: load new code beside the old, and let it serve once it is ready.

use crate::cli::order::{OrderArgs, Outcome};

/// The options of `rusgi reload`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: OrderArgs,
    /// Wait until the new code serves; if it cannot be loaded, print why and exit with 1
    #[arg(long)]
    wait: bool,
}

/// Asks for a reload; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    args.order.give(if args.wait { "/reload?wait" } else { "/reload" }, args.wait, tell)
}

fn tell(outcome: &Outcome) -> String {
    let (generation, took) = (&outcome.facts["generation"], outcome.time());
    match outcome.status {
        200 => format!("reloaded in {took}: generation {generation} serves"),
        202 => format!(
            "reload begun: generation {generation} is to serve once it is ready; rusgi status tells how it fares"
        ),
        500 => {
            let survival = outcome.survival_of("the old code");
            format!("the reload failed after {took}; {survival}:\n{}", outcome.text)
        }
        _ => format!("no reload: {}", outcome.text),
    }
}
