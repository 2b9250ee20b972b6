//! What the kernel, the container and the service manager allow.

use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

use crate::{
    cli::doctor::Finding,
    config::{Config, container::container, machine, quantity::seconds_up},
};

/// Looks at the limits that `config` meets.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let container = container();
    [
        queue(config),
        cpus(config),
        memory(config, machine::memory()),
        descriptors(config),
        stopping(config, container.as_deref()),
    ]
    .into_iter()
    .chain(units(config, Path::new("/etc/systemd/system")))
    .collect()
}

fn queue(config: &Config) -> Finding {
    let (most, wanted) = (machine::somaxconn(), config.listen.backlog);
    let is_short = most < wanted || most < FEW;
    let what = format!("net.core.somaxconn: {most}, --backlog {wanted}");
    if !is_short {
        return Finding::fine(what);
    }
    let room = wanted.max(USUAL);
    Finding::warning(
        format!("{what}: a Unix socket whose queue is full refuses nginx at once, which answers 502"),
        format!("sysctl -w net.core.somaxconn={room}    (and in /etc/sysctl.d/ for the next boot)"),
    )
}

fn cpus(config: &Config) -> Finding {
    let (cpus, workers) = (machine::cpus(), config.workers.range);
    let what = format!("--workers {workers} on the {cpus} CPUs that affinity and cgroup allow");
    if workers.most <= MOST_PER_CPU * cpus {
        return Finding::fine(what);
    }
    Finding::warning(
        format!("{what}: more than {MOST_PER_CPU} to a CPU mostly wait for one another"),
        format!("--workers {}, and --threads for requests that wait for others", 2 * cpus),
    )
}

fn memory(config: &Config, limit: Option<u64>) -> Finding {
    let Some(limit) = limit else {
        return Finding::fine("memory: no limit by cgroup");
    };
    let each = limit / config.workers.range.most.max(1) as u64;
    let what = format!("memory: the cgroup allows {} MiB, {} MiB for each worker", limit >> 20, each >> 20);
    match config.supervision.recycling.max_rss {
        Some(most) if most > each => Finding::warning(
            format!("{what}, and --max-rss replaces a worker at {} MiB only", most >> 20),
            format!("--max-rss {}m, or fewer workers", (each >> 20) * 4 / 5),
        ),
        _ if each < LITTLE => Finding::warning(
            format!("{what}: Python applications rarely fit"),
            "fewer workers with more --threads, --preload to share what is loaded, or a higher limit",
        ),
        _ => Finding::fine(what),
    }
}

fn descriptors(config: &Config) -> Finding {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = 64 + 4 * config.workers.threads as u64;
    let what = format!("open files: {limit} allowed in each process");
    if limit >= wanted.max(1024) {
        return Finding::fine(what);
    }
    Finding::warning(
        format!("{what}; slow peers, threads and the application's own files need more"),
        "ulimit -n 4096, or LimitNOFILE=4096 in the unit",
    )
}

/// A container engine kills what has not stopped in its own time.
fn stopping(config: &Config, container: Option<&str>) -> Finding {
    let stop = config.workers.stop_timeout;
    let what = format!("--stop-timeout: {} s", seconds_up(stop));
    match container {
        Some(mark) if stop.as_secs() >= DOCKER => Finding::warning(
            format!(
                "{what}, and this is a container ({mark}): Docker kills it after {DOCKER} s, Kubernetes after 30 s"
            ),
            format!(
                "stop_grace_period: {0}s (compose), docker stop -t {0}, terminationGracePeriodSeconds: {0}; or --stop-timeout 8s",
                seconds_up(stop) + 5
            ),
        ),
        _ => Finding::fine(what),
    }
}

/// Units that run rusgi, and the time they leave it to stop.
fn units(config: &Config, directory: &Path) -> Vec<Finding> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let units = files.filter(|path| path.extension().is_some_and(|extension| extension == "service"));
    let texts = units.filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)));
    let ours = texts.filter(|(_, text)| text.contains("rusgi serve"));
    ours.filter_map(|(path, text)| unit(config, &path, &text)).collect()
}

fn unit(config: &Config, path: &Path, text: &str) -> Option<Finding> {
    let value = text.lines().rev().find_map(|line| line.trim().strip_prefix("TimeoutStopSec="))?;
    let seconds: u64 = value.trim().trim_end_matches('s').parse().ok()?;
    let stop = seconds_up(config.workers.stop_timeout);
    (seconds <= stop).then(|| {
        Finding::problem(
            format!(
                "{}: TimeoutStopSec={seconds} is no longer than --stop-timeout ({stop} s): systemd kills first",
                path.display()
            ),
            format!("TimeoutStopSec={}", stop + 5),
        )
    })
}

/// A queue that a burst of requests fills.
const FEW: i32 = 1024;
/// What kernels since 5.4 begin with.
const USUAL: i32 = 4096;
const MOST_PER_CPU: usize = 4;
/// Less than a small framework with its libraries takes.
const LITTLE: u64 = 48 << 20;
/// Seconds from `docker stop` to SIGKILL.
const DOCKER: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{doctor::Severity, served::Served, settings};

    fn config(command: &str) -> Config {
        let words: Vec<_> = command.split(' ').map(str::to_owned).collect();
        Served::read(&words).and_then(|served| served.config(settings::check)).unwrap()
    }

    #[test]
    fn memory_is_shared_among_workers() {
        let with = |command: &str, limit| memory(&config(command), limit).severity;
        assert_eq!(with("app --workers 2", None), Severity::Fine);
        assert_eq!(with("app --workers 2", Some(512 << 20)), Severity::Fine);
        assert_eq!(with("app --workers 16", Some(512 << 20)), Severity::Warning);
        assert_eq!(with("app --workers 2 --max-rss 300m", Some(512 << 20)), Severity::Warning);
    }

    #[test]
    fn a_container_s_patience_is_ten_seconds() {
        let with = |command: &str, mark| stopping(&config(command), mark).severity;
        assert_eq!(with("app", None), Severity::Fine);
        assert_eq!(with("app", Some("marked")), Severity::Warning);
        assert_eq!(with("app --stop-timeout 8", Some("marked")), Severity::Fine);
    }

    #[test]
    fn a_unit_has_to_wait_longer_than_rusgi() {
        let with = |text: &str| unit(&config("app --stop-timeout 25"), Path::new("/x.service"), text);
        assert_eq!(with("TimeoutStopSec=30\n"), None);
        assert_eq!(with("[Service]\n"), None);
        let found = with("TimeoutStopSec=25s\n").unwrap();
        assert_eq!((found.severity, found.fix.as_deref()), (Severity::Problem, Some("TimeoutStopSec=30")));
    }

    #[test]
    fn more_workers_than_cpus_can_serve_are_warned_of() {
        let many = format!("app --workers {}", 4 * machine::cpus() + 1);
        assert_eq!(cpus(&config(&many)).severity, Severity::Warning);
        assert_eq!(cpus(&config("app --workers 1")).severity, Severity::Fine);
    }
}
