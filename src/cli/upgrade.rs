//! `rusgi upgrade`: put a new executable in the place of the running one.

use crate::cli::order::{OrderArgs, Outcome};

/// The options of `rusgi upgrade`.
#[derive(Debug, clap::Args)]
#[command(
    about = "Put a new executable of rusgi in the place of the running one",
    long_about = "Put a new executable of rusgi in the place of the running one, without closing its sockets.\n\n\
        The command that rusgi was started by is run again, by the same path, beside the rusgi that serves. Once all its\n\
        workers are ready the old one finishes what it has and exits; if that never comes to be, the old one goes on."
)]
pub(super) struct Args {
    #[command(flatten)]
    order: OrderArgs,
    /// Wait until the new one serves; if it does not come up, print why and exit with 1
    #[arg(long)]
    wait: bool,
}

/// Asks for an upgrade; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    args.order.give(if args.wait { "/upgrade?wait" } else { "/upgrade" }, args.wait, tell)
}

fn tell(outcome: &Outcome) -> String {
    let took = outcome.time();
    match outcome.status {
        200 => format!("upgraded in {took}: pid {} serves", outcome.facts["pid"]),
        202 => "upgrade begun: a new rusgi is to serve once it is ready; rusgi status tells how it fares".to_owned(),
        500 => {
            let survival = outcome.survival_of("the old rusgi");
            format!("the upgrade failed after {took}; {survival}:\n{}", outcome.text)
        }
        _ => format!("no upgrade: {}", outcome.text),
    }
}
