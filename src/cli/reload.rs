//! `rusgi reload`: load new code beside the old, and let it serve once it is ready.

use crate::cli::{
    FAILED,
    client::{self, AdminArgs, PATIENCE},
    complain, say,
};

/// The options of `rusgi reload`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Wait until the new code serves; if it cannot be loaded, print why and exit with 1
    #[arg(long)]
    wait: bool,
}

/// Asks for a reload; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let (target, patience) = if args.wait { ("/reload?wait", None) } else { ("/reload", Some(PATIENCE)) };
    match client::ask(&args.admin, "POST", target, patience) {
        Ok(answer) if answer.status == 200 => say(&format!("reloaded: {}", answer.body)),
        Ok(answer) if answer.status == 202 => say(&format!("reload begun: {}", answer.body)),
        Ok(answer) => {
            complain(&format!("the reload failed, the old code goes on serving:\n{}", answer.body.trim_end()));
            return FAILED;
        }
        Err(error) => return error.report(),
    }
    0
}
