//! Objects for Kubernetes.

use std::time::Duration;

use crate::{
    cli::init::{Site, arguments, nginx, with_line},
    config::{Address, quantity::seconds_up},
};

/// The project's example, for this command line.
pub(super) fn objects(site: &Site) -> String {
    let probed: &[&str] = if site.has("--admin") { &[] } else { &["--admin", "0.0.0.0:9000"] };
    let grace = seconds_up(PRE_STOP + site.config.workers.stop_timeout + MARGIN);
    let lines = [
        ("args:", format!("args: {}", arguments(site, probed))),
        ("terminationGracePeriodSeconds:", format!("terminationGracePeriodSeconds: {grace}")),
        ("uwsgi_pass ", format!("uwsgi_pass {};", nginx::upstream(site.address()))),
        ("uwsgi_read_timeout ", format!("uwsgi_read_timeout {};", nginx::patience(site))),
        ("failureThreshold: 60", format!("failureThreshold: {}", seconds_up(site.config.supervision.start_timeout))),
    ];
    let text = lines.iter().fold(TEMPLATE.to_owned(), |text, (start, line)| with_line(&text, start, line));
    let text = match site.config.limits.max_body {
        Some(bytes) => with_line(&text, "client_max_body_size ", &format!("client_max_body_size {bytes};")),
        None => text,
    };
    match site.address() {
        Address::Unix(path) => {
            let directory = path.parent().unwrap_or(path).display();
            with_line(&text, "- {name: run, ", &format!("- {{name: run, mountPath: {directory}}}"))
        }
        Address::Tcp(_) => text,
    }
}

/// How long rusgi serves on after its pod was told to go, so that nginx beside it stops first.
const PRE_STOP: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_secs(5);
const TEMPLATE: &str = include_str!("../../../examples/kubernetes/rusgi.yaml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::tests::site;

    #[test]
    fn kubernetes_waits_longer_than_rusgi() {
        let text = objects(&site("app --socket unix:/run/a/a.sock --stop-timeout 40 --start-timeout 90"));
        for line in ["terminationGracePeriodSeconds: 55", "failureThreshold: 90", "uwsgi_pass unix:/run/a/a.sock;"] {
            assert!(text.lines().any(|other| other.trim() == line), "no {line} in {text}");
        }
        assert_eq!(text.matches("- {name: run, mountPath: /run/a}").count(), 2, "{text}");
    }

    #[test]
    fn probes_have_a_port() {
        assert!(objects(&site("app")).contains("\"--admin\", \"0.0.0.0:9000\"]"));
        assert_eq!(objects(&site("app --admin 0.0.0.0:9000")).matches("\"--admin").count(), 1);
    }
}
