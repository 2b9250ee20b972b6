//! Services for docker-compose.

use std::time::Duration;

use crate::{
    cli::init::{Site, arguments, with_line},
    config::{Address, quantity::seconds_up},
};

/// The project's example, for this command line.
pub(super) fn services(site: &Site) -> String {
    let grace = seconds_up(site.config.workers.stop_timeout + MARGIN);
    let text = with_line(TEMPLATE, "command:", &format!("command: {}", arguments(site, &[])));
    let text = with_line(&text, "stop_grace_period:", &format!("stop_grace_period: {grace}s"));
    match site.address() {
        Address::Unix(path) => {
            let directory = path.parent().unwrap_or(path).display().to_string();
            text.replace("sockets:/run/rusgi", &format!("sockets:{directory}"))
        }
        // Over TCP the two share a network instead of a volume.
        Address::Tcp(_) => text.lines().filter(|line| !is_of_socket(line)).map(|line| format!("{line}\n")).collect(),
    }
}

fn is_of_socket(line: &str) -> bool {
    let words = [
        "sockets:",
        "volumes: [",
        "# not read-only",
        "RUSGI_SOCKET_OWNER",
        "environment:",
        "# nginx's group",
        "nginx and one",
    ];
    words.iter().any(|word| line.contains(word)) || line == "volumes:"
}

const MARGIN: Duration = Duration::from_secs(5);
const TEMPLATE: &str = include_str!("../../../examples/compose/docker-compose.yml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::tests::site;

    #[test]
    fn docker_waits_longer_than_rusgi() {
        let text = services(&site("app --socket unix:/run/a/a.sock --stop-timeout 40"));
        assert!(text.contains("    stop_grace_period: 45s\n"), "{text}");
        assert!(
            text.contains(
                "command: [\"serve\", \"app\", \"--socket\", \"unix:/run/a/a.sock\", \"--stop-timeout\", \"40\"]\n"
            ),
            "{text}"
        );
        assert_eq!(text.matches("sockets:/run/a\n").count() + text.matches("sockets:/run/a\"").count(), 2, "{text}");
    }

    #[test]
    fn over_tcp_there_is_no_volume() {
        let text = services(&site("app --socket 0.0.0.0:3031"));
        assert!(!text.contains("sockets") && text.contains("nginx.conf:/etc"), "{text}");
    }
}
