//! A service unit for systemd.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    cli::init::{Site, with_line},
    config::{Address, quantity::seconds_up},
};

/// The project's template unit, for this one site.
pub(super) fn service(site: &Site) -> String {
    let here = || env::current_dir().unwrap_or_else(|_| "/srv/app".into());
    let home = site.config.app.chdir.clone().unwrap_or_else(here).display().to_string();
    let runtime = runtime_directory(site.address());
    let lines = [
        (
            "# Applications on one",
            "# One application on one machine. Copy to /etc/systemd/system/NAME.service, then:".to_owned(),
        ),
        ("#   systemctl", "#   systemctl daemon-reload && systemctl enable --now NAME.service".to_owned()),
        ("Description=", format!("Description=rusgi, serving {}", literal(&site.config.app.target.to_string()))),
        ("User=", format!("User={}", site.user.as_deref().unwrap_or("app"))),
        ("Group=", format!("Group={}", site.group.as_deref().unwrap_or("www-data"))),
        ("WorkingDirectory=", format!("WorkingDirectory={}", literal(&home))),
        ("EnvironmentFile=", "EnvironmentFile=-/etc/rusgi/app.env".to_owned()),
        ("ExecStart=", format!("ExecStart={}", command(site))),
        ("RuntimeDirectory=", format!("RuntimeDirectory={}", runtime.as_deref().unwrap_or("rusgi"))),
        ("TimeoutStartSec=", format!("TimeoutStartSec={}", seconds_up(site.config.supervision.start_timeout + START))),
        ("TimeoutStopSec=", format!("TimeoutStopSec={}", seconds_up(site.config.workers.stop_timeout + STOP))),
        (
            "# it writes below",
            "# it writes below /var/lib/rusgi, and where it is told here, and nowhere else".to_owned(),
        ),
        ("StateDirectory=", "StateDirectory=rusgi".to_owned()),
        ("ReadWritePaths=", format!("ReadWritePaths={}", writable(site, &home))),
    ];
    lines.iter().fold(TEMPLATE.to_owned(), |text, (start, line)| with_line(&text, start, line))
}

/// The directory below /run that the socket is in, which systemd is to make.
fn runtime_directory(address: &Address) -> Option<String> {
    let Address::Unix(path) = address else { return None };
    let directory = path.strip_prefix("/run").or_else(|_| path.strip_prefix("/var/run")).ok()?.parent()?;
    let name = directory.to_str()?;
    (!name.is_empty()).then(|| literal(name))
}

/// Uploads, and a socket that is not below /run.
fn writable(site: &Site, home: &str) -> String {
    let media = format!("-{}/media", literal(home));
    match site.address() {
        Address::Unix(path) if runtime_directory(site.address()).is_none() => {
            let directory = path.parent().unwrap_or_else(|| Path::new("/"));
            format!("{media} {}", literal(&directory.display().to_string()))
        }
        _ => media,
    }
}

/// The command line with an absolute program, as systemd reads it.
fn command(site: &Site) -> String {
    let program = program(site).display().to_string();
    let words = [program.as_str(), "serve"].into_iter().chain(site.words.iter().map(String::as_str));
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// rusgi in the site's virtual environment, or the one that is found here.
fn program(site: &Site) -> PathBuf {
    if let Some(virtualenv) = &site.config.app.virtualenv {
        return virtualenv.join("bin/rusgi");
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join("rusgi")).find(|file| file.is_file());
    found.unwrap_or_else(|| "/srv/app/venv/bin/rusgi".into())
}

/// A word of a command line, in systemd's quoting (systemd.service(5), "Command lines").
fn quoted(word: &str) -> String {
    let escaped = literal(word).replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    let is_plain = !escaped.is_empty() && !escaped.contains(|c: char| c.is_whitespace() || "\"'\\;".contains(c));
    if is_plain { escaped } else { format!("\"{escaped}\"") }
}

/// Text in which systemd is to find no specifiers.
fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(5);
const TEMPLATE: &str = include_str!("../../../examples/systemd/rusgi@.service");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::tests::site;

    #[test]
    fn nothing_of_the_template_s_instance_is_left() {
        let text = service(&site("app:application --socket /run/shop/app.sock --chdir /srv/shop --user shop"));
        assert!(!text.contains("%i"), "{text}");
        for line in [
            "Description=rusgi, serving app:application",
            "User=shop",
            "WorkingDirectory=/srv/shop",
            "RuntimeDirectory=shop",
            "ReadWritePaths=-/srv/shop/media",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in {text}");
        }
    }

    #[test]
    fn systemd_waits_longer_than_rusgi() {
        let text = service(&site("app --start-timeout 2m --stop-timeout 500ms"));
        assert!(text.contains("\nTimeoutStartSec=130\n") && text.contains("\nTimeoutStopSec=6\n"), "{text}");
    }

    #[test]
    fn the_command_line_is_quoted_as_systemd_reads_it() {
        let text = service(&site("app --virtualenv /srv/v --mount /a%b$c=d"));
        assert!(
            text.contains("\nExecStart=/srv/v/bin/rusgi serve app --virtualenv /srv/v --mount /a%%b$$c=d\n"),
            "{text}"
        );
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn a_socket_elsewhere_has_a_directory_to_write_to() {
        let text = service(&site("app --chdir /srv/app --socket /srv/app/run/a.sock"));
        assert!(text.contains("\nReadWritePaths=-/srv/app/media /srv/app/run\n"), "{text}");
    }
}
