//! The options of `rusgi serve` about starting, renewing and administering processes.

use std::{
    fmt::Display,
    path::{self, Path, PathBuf},
};

use crate::{
    cli::settings::Found,
    config::{
        Admin, Recycling, Supervision,
        admin::{default_socket, parse_address},
        quantity::{parse_count, parse_size},
        supervision::parse_warmup,
    },
};

/// How processes come and go.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Reload and recycling")]
pub(super) struct SupervisionArgs {
    /// How long the application may take to load before a start, or a reload, has failed
    #[arg(long, env = "RUSGI_START_TIMEOUT", value_name = "TIME", default_value = "60s", allow_hyphen_values = true)]
    pub(super) start_timeout: String,
    /// Path that a worker answers to itself before it is ready, with less than 500; may be repeated [default: none]
    ///
    /// In the environment variable a comma separates paths. The host is localhost.
    #[arg(long, env = "RUSGI_WARMUP", value_name = "PATH", value_delimiter = ',')]
    pub(super) warmup: Vec<String>,
    /// File whose touch means a reload, as SIGHUP does; may be repeated [default: none]
    ///
    /// It need not exist yet. In the environment variable a colon separates files.
    #[arg(long, env = "RUSGI_RELOAD_ON_TOUCH", value_name = "FILE", value_delimiter = ':')]
    pub(super) reload_on_touch: Vec<PathBuf>,
    /// Replace a worker after N requests, up to a tenth more [default: never]
    #[arg(long, env = "RUSGI_MAX_REQUESTS", value_name = "N", allow_hyphen_values = true)]
    pub(super) max_requests: Option<String>,
    /// Replace a worker after that long, up to a tenth longer [default: never]
    #[arg(long, env = "RUSGI_MAX_LIFETIME", value_name = "TIME", allow_hyphen_values = true)]
    pub(super) max_lifetime: Option<String>,
    /// Replace a worker that uses more memory than that [default: never]
    #[arg(long, env = "RUSGI_MAX_RSS", value_name = "SIZE", allow_hyphen_values = true)]
    pub(super) max_rss: Option<String>,
    /// Kill a worker that uses more memory than that, and replace it; what it is serving is lost [default: never]
    ///
    /// Memory is looked at four times a second. No less than --max-rss.
    #[arg(long, env = "RUSGI_MAX_RSS_HARD", value_name = "SIZE", allow_hyphen_values = true)]
    pub(super) max_rss_hard: Option<String>,
    /// Unix socket for `rusgi status` and its like, open to its owner alone [default: admin.sock in RUNTIME_DIRECTORY]
    ///
    /// systemd sets RUNTIME_DIRECTORY for a unit with RuntimeDirectory=. Without it there is no such socket.
    #[arg(long, help_heading = "Administration", env = "RUSGI_ADMIN_SOCKET", value_name = "PATH")]
    pub(super) admin_socket: Option<PathBuf>,
    /// HOST:PORT that answers /livez, /readyz and /status, and takes no orders: for probes [default: none]
    ///
    /// Whoever can connect is answered.
    #[arg(long, help_heading = "Administration", env = "RUSGI_ADMIN", value_name = "ADDR")]
    pub(super) admin: Option<String>,
}

/// Checks `args`.
pub(super) fn check(args: &SupervisionArgs, found: &mut Found<'_>) -> Option<Supervision> {
    let start_timeout = found.duration("start_timeout", &args.start_timeout);
    let warmup: Vec<_> = args.warmup.iter().map(|path| found.take("warmup", parse_warmup(path))).collect();
    let reload_on_touch: Vec<_> = args
        .reload_on_touch
        .iter()
        .map(|file| found.take("reload_on_touch", file_to_watch(file, found.is_here)))
        .collect();
    let admin = admin(args, found);
    let recycling = recycling(args, found);
    Some(Supervision {
        start_timeout: start_timeout?,
        warmup: warmup.into_iter().collect::<Option<_>>()?,
        reload_on_touch: reload_on_touch.into_iter().collect::<Option<_>>()?,
        admin: admin?,
        recycling: recycling?,
    })
}

fn admin(args: &SupervisionArgs, found: &mut Found<'_>) -> Option<Admin> {
    let socket = args.admin_socket.as_deref().map(|path| found.take("admin_socket", absolute(path)));
    let address = args.admin.as_deref().map(|text| found.take("admin", parse_address(text)));
    let is_default = socket.is_none();
    Some(Admin { socket: given(socket)?.or_else(default_socket), is_default, address: given(address)? })
}

fn recycling(args: &SupervisionArgs, found: &mut Found<'_>) -> Option<Recycling> {
    let max_requests =
        args.max_requests.as_ref().map(|text| found.take("max_requests", parse_count(text, 1..=MOST_REQUESTS)));
    let max_lifetime = args.max_lifetime.as_ref().map(|text| found.duration("max_lifetime", text));
    let max_rss = args.max_rss.as_ref().map(|text| found.take("max_rss", parse_size(text)));
    let max_rss_hard = args.max_rss_hard.as_ref().map(|text| found.take("max_rss_hard", parse_size(text)));
    if let (Some(Some(soft)), Some(Some(hard))) = (max_rss, max_rss_hard) {
        let fault =
            || format!("{hard} bytes are less than --max-rss, {soft}: no worker would be replaced in time, raise it");
        found.take("max_rss_hard", if hard < soft { Err(fault()) } else { Ok(()) })?;
    }
    Some(Recycling {
        max_requests: given(max_requests)?.map(|count| count as u64),
        max_lifetime: given(max_lifetime)?,
        max_rss: given(max_rss)?.map(|bytes| bytes as u64),
        max_rss_hard: given(max_rss_hard)?.map(|bytes| bytes as u64),
    })
}

/// An option that may be left out, and has to be right where it is given.
fn given<T>(option: Option<Option<T>>) -> Option<Option<T>> {
    option.map_or(Some(None), |value| value.map(Some))
}

fn absolute(path: &Path) -> Result<PathBuf, impl Display + use<>> {
    path::absolute(path).map_err(|error| format!("`{}`: {error}: name a file", path.display()))
}

/// The directory is what is watched, so it has to be there.
fn file_to_watch(path: &Path, is_here: bool) -> Result<PathBuf, String> {
    let path = absolute(path).map_err(|fault| fault.to_string())?;
    let directory = path.parent().filter(|directory| directory.is_dir() || !is_here);
    if directory.is_none() || path.file_name().is_none() {
        return Err(format!("{} is in no directory that exists: create it, or correct the path", path.display()));
    }
    Ok(path)
}

const MOST_REQUESTS: usize = 1 << 40;
