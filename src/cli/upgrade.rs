//! `rusgi upgrade`: put a new executable in the place of the running one.

use crate::cli::{
    FAILED,
    client::{self, AdminArgs, PATIENCE},
    complain, say,
};

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
    admin: AdminArgs,
    /// Wait until the new one serves; if it does not come up, print why and exit with 1
    #[arg(long)]
    wait: bool,
}

/// Asks for an upgrade; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let (target, patience) = if args.wait { ("/upgrade?wait", None) } else { ("/upgrade", Some(PATIENCE)) };
    match client::ask(&args.admin, "POST", target, patience) {
        Ok(answer) if answer.status == 200 => say(&format!("upgraded: {}", answer.body)),
        Ok(answer) if answer.status == 202 => say(&format!("upgrade begun: {}", answer.body)),
        Ok(answer) => {
            complain(&format!("the upgrade failed, the old rusgi goes on serving:\n{}", answer.body.trim_end()));
            return FAILED;
        }
        Err(error) => return error.report(),
    }
    0
}
