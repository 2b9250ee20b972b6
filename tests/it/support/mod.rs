//! The language of the tests: what one says to a daemon, to nginx and to the operating system.

use std::time::Duration;

pub(crate) mod browser;
pub(crate) mod crowd;
pub(crate) mod daemon;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod nginx;
pub(crate) mod packet;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod reply;
pub(crate) mod scratch;
pub(crate) mod site;
pub(crate) mod systemd;

/// How long anything that must happen may take before the test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// How many a test makes of something: what the environment variable `name` says, else `usual`, few enough for every day.
pub(crate) fn how_many(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: write a number")))
}

/// The file or folder at `path` inside the repository.
pub(crate) fn in_repository(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
