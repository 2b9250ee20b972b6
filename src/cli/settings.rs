//! From flags as typed to settings as meant; everything that is wrong is found in one go.

use std::{
    fmt::Display,
    path::{self, Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, parser::ValueSource};

use crate::{
    cli::{
        privileges,
        serve::{AppArgs, Args, LimitArgs, ListenArgs, LogArgs, WorkerArgs},
        supervision,
    },
    config::{
        Account, Address, Admission, App, Config, Limits, Listen, Log, Mount, Owner, Problem, Range, Target, Workers,
        admission::{parse_network, parse_user},
        machine, owner,
        quantity::{parse_count, parse_duration, parse_limit, parse_size},
    },
};

/// Checks `args`; `sources` tells which came from the environment.
///
/// # Errors
/// Everything that is wrong, each thing named as the operator spelled it.
pub(super) fn check(args: &Args, sources: Option<&ArgMatches>) -> Result<Config, Vec<Problem>> {
    check_with(args, Found { sources, is_here: true, problems: Vec::new() })
}

/// Checks `args` for another machine, whose directories need not exist here.
///
/// # Errors
/// As [`check`].
pub(super) fn check_elsewhere(args: &Args, sources: Option<&ArgMatches>) -> Result<Config, Vec<Problem>> {
    check_with(args, Found { sources, is_here: false, problems: Vec::new() })
}

fn check_with(args: &Args, mut found: Found<'_>) -> Result<Config, Vec<Problem>> {
    // Every part is checked before the first one that is missing ends the conversion.
    let (app, listen) = (app(&args.app, &mut found), listen(&args.listen, &mut found));
    let (workers, limits) = (workers(&args.workers, &mut found), limits(&args.limits, &mut found));
    let (log, supervision) = (log(&args.log, &mut found), supervision::check(&args.supervision, &mut found));
    let privileges = privileges::check(&args.privileges, &mut found);
    let whole = app.zip(listen).zip(workers.zip(limits)).zip(log.zip(supervision).zip(privileges));
    let config = whole.map(|(((app, listen), (workers, limits)), ((log, supervision), privileges))| Config {
        app: run_by(privileges.account.as_ref(), app),
        listen: owned_by(privileges.account.as_ref(), listen),
        workers,
        supervision,
        privileges,
        limits,
        log,
    });
    config.ok_or(found.problems)
}

/// The application's environment is its user's.
fn run_by(account: Option<&Account>, app: App) -> App {
    App { user: account.and_then(|account| account.known.clone()), ..app }
}

/// Whoever serves a socket owns its file, unless told otherwise.
fn owned_by(account: Option<&Account>, listen: Listen) -> Listen {
    Listen { socket_owner: listen.socket_owner.or_else(|| account.map(Owner::from)), ..listen }
}

/// What is wrong so far.
pub(super) struct Found<'a> {
    sources: Option<&'a ArgMatches>,
    /// Whether the settings are for this machine, so that what they name has to be on it.
    pub(super) is_here: bool,
    problems: Vec<Problem>,
}

impl Found<'_> {
    /// The value, or nothing and a problem with the option `id`.
    pub(super) fn take<T, E: Display>(&mut self, id: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|fault| self.problems.push(Problem::new(self.spelled(id), fault))).ok()
    }

    /// The option as it was given: a flag, or an environment variable.
    fn spelled(&self, id: &str) -> String {
        match self.sources.and_then(|sources| sources.value_source(id)) {
            Some(ValueSource::EnvVariable) => format!("RUSGI_{}", id.to_ascii_uppercase()),
            _ if id == "target" => "TARGET".to_owned(),
            _ => format!("--{}", id.replace('_', "-")),
        }
    }

    /// Whether nobody has chosen the option's value.
    fn is_default(&self, id: &str) -> bool {
        self.sources.and_then(|sources| sources.value_source(id)) == Some(ValueSource::DefaultValue)
    }

    pub(super) fn duration(&mut self, id: &str, text: &str) -> Option<Duration> {
        self.take(id, parse_duration(text))
    }

    /// A directory that is there, made absolute from `base`.
    fn directory(&mut self, id: &str, base: &Path, path: &Path) -> Option<PathBuf> {
        let path = base.join(path);
        let fault = || format!("{} is not a directory: create it, or correct the path", path.display());
        let checked = if path.is_dir() || !self.is_here { Ok(()) } else { Err(fault()) };
        self.take(id, checked).map(|()| path)
    }
}

fn app(args: &AppArgs, found: &mut Found<'_>) -> Option<App> {
    let here =
        path::absolute(".").map_err(|error| format!("the working directory cannot be read ({error}): enter another"));
    let here = found.take("chdir", here)?;
    let chdir = args.chdir.as_ref().map(|directory| found.directory("chdir", &here, directory));
    // Relative paths mean what they would if one had changed to the directory by hand.
    let base = chdir.clone().flatten().unwrap_or(here);
    let target = found.take("target", args.target.parse()).map(|target: Target| target.found_in(&base));
    let mounts = mounts(&args.mount, found);
    let pythonpath: Vec<_> = args.pythonpath.iter().map(|entry| entry_of(entry, &base, found)).collect();
    let virtualenv = args.virtualenv.as_ref().map(|directory| found.directory("virtualenv", &base, directory));
    Some(App {
        target: target?,
        mounts: mounts?.into_iter().map(|mount| mount.found_in(&base)).collect(),
        chdir: chdir.map_or(Some(None), |chdir| chdir.map(Some))?,
        pythonpath: pythonpath.into_iter().collect::<Option<_>>()?,
        virtualenv: virtualenv.map_or(Some(None), |virtualenv| virtualenv.map(Some))?,
        user: None,
        preload: args.preload,
    })
}

fn mounts(texts: &[String], found: &mut Found<'_>) -> Option<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::with_capacity(texts.len());
    let before = found.problems.len();
    for mount in texts.iter().filter_map(|text| found.take("mount", text.parse::<Mount>())).collect::<Vec<_>>() {
        if mounts.iter().any(|other| other.prefix == mount.prefix) {
            found.take("mount", Err::<(), _>(format!("{} is mounted twice: remove one of the two", mount.prefix)));
        }
        mounts.push(mount);
    }
    (found.problems.len() == before).then_some(mounts)
}

/// Python imports from archives too, so an entry only has to exist.
fn entry_of(entry: &Path, base: &Path, found: &mut Found<'_>) -> Option<PathBuf> {
    let entry = base.join(entry);
    let fault = || format!("{} does not exist: create it, or correct the path", entry.display());
    let checked = if entry.exists() || !found.is_here { Ok(()) } else { Err(fault()) };
    found.take("pythonpath", checked).map(|()| entry)
}

fn listen(args: &ListenArgs, found: &mut Found<'_>) -> Option<Listen> {
    let addresses = addresses(&args.socket, found);
    let socket_mode = found.take("socket_mode", owner::parse_mode(&args.socket_mode));
    let socket_owner = args.socket_owner.as_ref().map(|text| found.take("socket_owner", text.parse()));
    let backlog = match &args.backlog {
        Some(text) => {
            found.take("backlog", parse_count(text, 1..=LONGEST_QUEUE)).and_then(|count| count.try_into().ok())
        }
        None => Some(machine::somaxconn().min(DEFAULT_QUEUE)),
    };
    let admission = admission(args, found);
    Some(Listen {
        addresses: addresses?,
        is_default: found.is_default("socket"),
        socket_mode: socket_mode?,
        socket_owner: socket_owner.map_or(Some(None), |owner| owner.map(Some))?,
        backlog: backlog?,
        admission: admission?,
    })
}

fn admission(args: &ListenArgs, found: &mut Found<'_>) -> Option<Admission> {
    let networks = listed("allow_from", &args.allow_from, parse_network, found);
    let users = listed("allow_user", &args.allow_user, parse_user, found);
    Some(Admission { networks: networks?, users: users? })
}

/// Every entry of a list read by `parse`; a list that was not given is none.
fn listed<T, E: Display>(
    id: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
    found: &mut Found<'_>,
) -> Option<Option<Vec<T>>> {
    let entries: Vec<_> = texts.iter().map(|text| found.take(id, parse(text.trim()))).collect();
    let entries = entries.into_iter().collect::<Option<Vec<_>>>()?;
    Some((!entries.is_empty()).then_some(entries))
}

fn addresses(texts: &[String], found: &mut Found<'_>) -> Option<Vec<Address>> {
    let mut addresses = Vec::with_capacity(texts.len());
    let before = found.problems.len();
    for text in texts {
        let twice = || format!("{text} is given twice: remove one of the two");
        match found.take("socket", text.parse::<Address>()) {
            Some(address) if address.is_definite() && addresses.contains(&address) => {
                found.take("socket", Err::<(), _>(twice()));
            }
            address => addresses.extend(address),
        }
    }
    (found.problems.len() == before).then_some(addresses)
}

fn workers(args: &WorkerArgs, found: &mut Found<'_>) -> Option<Workers> {
    let range = match &args.workers {
        Some(text) => found.take("workers", text.parse()),
        None => Some(Range::fixed(machine::cpus())),
    };
    let scale_down_after = found.duration("scale_down_after", &args.scale_down_after);
    let threads = found.take("threads", parse_count(&args.threads, 1..=MOST_THREADS));
    let switch_interval = args.switch_interval.as_ref().map(|text| found.duration("switch_interval", text));
    let stop_timeout = found.duration("stop_timeout", &args.stop_timeout);
    let request_timeout = found.take("request_timeout", parse_limit(&args.request_timeout));
    let queue_timeout = found.take("queue_timeout", parse_limit(&args.queue_timeout));
    let timeout_grace = found.duration("timeout_grace", &args.timeout_grace);
    Some(Workers {
        range: range?,
        scale_down_after: scale_down_after?,
        threads: threads?,
        switch_interval: switch_interval.map_or(Some(None), |interval| interval.map(Some))?,
        stop_timeout: stop_timeout?,
        request_timeout: request_timeout?,
        queue_timeout: queue_timeout?,
        timeout_grace: timeout_grace?,
    })
}

fn limits(args: &LimitArgs, found: &mut Found<'_>) -> Option<Limits> {
    let body_buffer = found.take("body_buffer", parse_size(&args.body_buffer));
    let max_body = args.max_body.as_ref().map(|text| found.take("max_body", parse_size(text)));
    let body_timeout = found.duration("body_timeout", &args.body_timeout);
    let head_timeout = found.duration("head_timeout", &args.head_timeout);
    let write_timeout = found.duration("write_timeout", &args.write_timeout);
    Some(Limits {
        body_buffer: body_buffer?,
        max_body: max_body.map_or(Some(None), |size| size.map(|size| Some(size as u64)))?,
        body_timeout: body_timeout?,
        head_timeout: head_timeout?,
        write_timeout: write_timeout?,
    })
}

fn log(args: &LogArgs, found: &mut Found<'_>) -> Option<Log> {
    let level = found.take("log_level", args.log_level.parse());
    let format = found.take("log_format", args.log_format.parse());
    Some(Log { level: level?, format: format? })
}

const MOST_THREADS: usize = 1024;
const DEFAULT_QUEUE: i32 = 4096;
const LONGEST_QUEUE: usize = 65_535;

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::{
        cli::{Command, CommandLine},
        config::{Format, Level, Owner},
    };

    fn checked(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let argv = ["rusgi", "serve"].into_iter().chain(arguments.iter().copied());
        let matches = CommandLine::command().try_get_matches_from(argv).unwrap();
        let CommandLine { command: Command::Serve(args) } = CommandLine::from_arg_matches(&matches).unwrap() else {
            panic!("{arguments:?} do not serve")
        };
        let config = check(&args, matches.subcommand_matches("serve"));
        config.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_target_alone_gets_the_defaults() {
        let config = checked(&["app"]).unwrap();
        assert_eq!(config.app.target.to_string(), "app:application");
        assert_eq!((config.app.chdir, config.app.virtualenv, config.app.preload), (None, None, false));
        assert_eq!(config.listen.addresses, ["127.0.0.1:3031".parse().unwrap()]);
        assert!(config.listen.is_default);
        assert_eq!((config.listen.socket_mode, config.listen.socket_owner), (0o660, None));
        assert!((1..=4096).contains(&config.listen.backlog));
        assert!(config.workers.range.is_fixed() && config.workers.range.least >= 1);
        assert_eq!(config.workers.scale_down_after.as_secs(), 30);
        assert_eq!((config.workers.threads, config.workers.stop_timeout), (1, Duration::from_secs(25)));
        let patience = (config.workers.request_timeout, config.workers.timeout_grace.as_secs());
        assert_eq!(patience, (Some(Duration::from_secs(55)), 5));
        assert_eq!(config.workers.queue_timeout, Some(Duration::from_secs(10)));
        let limits = (config.limits.body_buffer, config.limits.body_timeout.as_secs());
        assert_eq!(limits, (262_144, 30));
        let timeouts = (config.limits.head_timeout.as_secs(), config.limits.write_timeout.as_secs());
        assert_eq!(timeouts, (10, 60));
        assert_eq!(config.log, Log { level: Level::Info, format: Format::Text });
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let config = checked(&[
            "app.py:make()",
            "--chdir=/usr",
            "--pythonpath=lib",
            "--pythonpath=/etc",
            "--virtualenv=share",
            "--preload",
            "--socket=unix:/run/x.sock",
            "--socket=:99",
            "--socket-mode=666",
            "--socket-owner=0:0",
            "--backlog=64",
            "--workers=3..6",
            "--scale-down-after=5m",
            "--allow-from=10.0.0.0/8,::1",
            "--allow-user=root",
            "--allow-user=33",
            "--threads=4",
            "--stop-timeout=1m",
            "--request-timeout=0",
            "--queue-timeout=1500ms",
            "--timeout-grace=2",
            "--user=root",
            "--group=5",
            "--allow-root",
            "--log-format=json",
        ])
        .unwrap();
        assert_eq!(config.app.target.to_string(), "/usr/app.py:make()");
        assert_eq!(config.app.pythonpath, [PathBuf::from("/usr/lib"), PathBuf::from("/etc")]);
        assert_eq!(config.app.virtualenv, Some(PathBuf::from("/usr/share")));
        assert!(config.app.preload);
        assert_eq!((config.listen.addresses.len(), config.listen.is_default), (2, false));
        assert_eq!((config.listen.socket_mode, config.listen.backlog), (0o666, 64));
        let admission = &config.listen.admission;
        assert_eq!((admission.networks.as_ref().map(Vec::len), &admission.users), (Some(2), &Some(vec![0, 33])));
        assert_eq!(config.privileges.account, Account::find("root", Some("5")).ok());
        assert!(config.privileges.may_be_root);
        assert_eq!(config.listen.socket_owner, Some(Owner { user: Some(0), group: Some(0) }));
        assert_eq!((config.workers.range, config.workers.threads), (Range { least: 3, most: 6 }, 4));
        assert_eq!(config.workers.scale_down_after, Duration::from_secs(300));
        assert_eq!(config.workers.stop_timeout, Duration::from_secs(60));
        assert_eq!((config.workers.request_timeout, config.workers.timeout_grace.as_secs()), (None, 2));
        assert_eq!(config.workers.queue_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(config.log.format, Format::Json);
    }

    #[test]
    fn an_address_can_be_given_once_unless_the_kernel_chooses_the_port() {
        assert_eq!(checked(&["app", "--socket=:0", "--socket=:0"]).unwrap().listen.addresses.len(), 2);
        let problems = checked(&["app", "--socket=/a", "--socket=unix:/a"]).unwrap_err();
        assert_eq!(problems, ["--socket: unix:/a is given twice: remove one of the two"]);
    }

    #[test]
    fn whoever_serves_owns_the_socket_file() {
        let owner = |options: &[&str]| checked(&[&["app"], options].concat()).unwrap().listen.socket_owner;
        assert_eq!(owner(&["--user=0", "--group=7"]), Some(Owner { user: Some(0), group: Some(7) }));
        assert_eq!(owner(&["--user=0", "--socket-owner=:8"]), Some(Owner { user: None, group: Some(8) }));
    }

    #[test]
    fn a_group_goes_with_a_user() {
        let problems = checked(&["app", "--group=root"]).unwrap_err();
        assert_eq!(problems, ["--group: goes with a user: name one with --user"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let problems = checked(&["a b", "--workers=0", "--socket=nowhere", "--chdir=/nowhere", "--log-level=loud"]);
        let problems = problems.unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:?}");
        let begins = |word: &str| problems.iter().any(|problem| problem.starts_with(word));
        for word in
            ["TARGET: `a b`", "--workers: `0`", "--socket: `nowhere`", "--chdir: /nowhere", "--log-level: `loud`"]
        {
            assert!(begins(word), "{word} in {problems:?}");
        }
    }
}
