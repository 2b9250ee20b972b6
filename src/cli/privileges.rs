//! The options of `rusgi serve` about whom everything runs as.

use clap::builder::BoolishValueParser;

use crate::{
    cli::settings::Found,
    config::{Account, Privileges},
};

/// Whom to run as.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Privileges")]
pub(super) struct PrivilegeArgs {
    /// User, by name or number, that everything runs as once the sockets are bound [default: whoever runs rusgi]
    #[arg(long, env = "RUSGI_USER", value_name = "USER")]
    pub(super) user: Option<String>,
    /// Group, by name or number, that goes with --user [default: the user's own]
    #[arg(long, env = "RUSGI_GROUP", value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// Run the application as root where nothing else is asked for [default: refused outside containers]
    #[arg(long, env = "RUSGI_ALLOW_ROOT", value_parser = BoolishValueParser::new())]
    pub(super) allow_root: bool,
}

/// Looks up whom `args` name.
pub(super) fn check(args: &PrivilegeArgs, found: &mut Found<'_>) -> Option<Privileges> {
    let account = match (&args.user, &args.group) {
        (Some(user), group) => found.take("user", Account::find(user, group.as_deref())).map(Some),
        (None, Some(_)) => found.take("group", Err("goes with a user: name one with --user")),
        (None, None) => Some(None),
    };
    Some(Privileges { account: account?, may_be_root: args.allow_root })
}
