//! `rusgi init`: configuration for what stands around rusgi, made for one command line.
//!
//! What is printed is a file of the project's, which is in use as it is, with the lines changed that the command line decides.

mod compose;
mod kubernetes;
mod nginx;
mod systemd;

use clap::ValueEnum;

use crate::{
    cli::{say, served::Served, settings},
    config::{Address, Config},
};

/// The options of `rusgi init`.
#[derive(Debug, clap::Args)]
#[command(
    about = "Print configuration for nginx, systemd, compose or Kubernetes that fits a command line",
    long_about = "Print configuration that fits a command line: timeouts in the right order, paths and sizes that agree.\n\n\
        rusgi init nginx app:application --socket unix:/run/app/app.sock > /etc/nginx/conf.d/app.conf\n\n\
        Paths in the command line need not exist here."
)]
pub(super) struct Args {
    /// What to print
    kind: Kind,
    /// The command line: TARGET and options, as `rusgi serve` takes them
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "SERVE ARGUMENT")]
    command: Vec<String>,
}

/// Whose configuration.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A server block for nginx
    Nginx,
    /// A service unit
    Systemd,
    /// Services for docker-compose
    Compose,
    /// Objects for Kubernetes
    K8s,
}

/// A command line, and what it means.
struct Site {
    /// The arguments of `rusgi serve` as typed, without those about users.
    words: Vec<String>,
    /// The same, understood.
    config: Config,
    /// Who is to run it, if that was said.
    user: Option<String>,
    /// With which group, if that was said.
    group: Option<String>,
}

impl Site {
    /// Where nginx finds it: the first of its addresses.
    fn address(&self) -> &Address {
        // There is always one; the default stands in for a promise that the type does not make.
        const LOOPBACK: &Address =
            &Address::Tcp(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 3031)));
        self.config.listen.addresses.first().unwrap_or(LOOPBACK)
    }

    /// Whether the option was given on the command line.
    fn has(&self, option: &str) -> bool {
        self.words.iter().any(|word| word.split('=').next() == Some(option))
    }
}

/// Prints what was asked for; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    match understand(&args.command) {
        Ok(site) => {
            say(&match args.kind {
                Kind::Nginx => nginx::server(&site),
                Kind::Systemd => systemd::service(&site),
                Kind::Compose => compose::services(&site),
                Kind::K8s => kubernetes::objects(&site),
            });
            0
        }
        Err(code) => code,
    }
}

/// Reads the arguments of `rusgi serve`, or says what is wrong with them.
fn understand(command: &[String]) -> Result<Site, u8> {
    let mut served = Served::read(command)?;
    let (user, group) = (served.args.privileges.user.take(), served.args.privileges.group.take());
    let config = served.config(settings::check_elsewhere)?;
    Ok(Site { words: without_accounts(&served.words), config, user, group })
}

/// The words without --user and --group, which the service manager sees to.
fn without_accounts(words: &[String]) -> Vec<String> {
    let is_account = |word: &str| ["--user", "--group"].contains(&word);
    let is_one_word = |word: &str| word.starts_with("--user=") || word.starts_with("--group=");
    let mut kept = Vec::with_capacity(words.len());
    let mut left = words.iter();
    while let Some(word) = left.next() {
        if is_account(word) {
            left.next();
        } else if !is_one_word(word) {
            kept.push(word.clone());
        }
    }
    kept
}

/// The arguments for a container, with `more` at the end, as JSON and so as YAML.
fn arguments(site: &Site, more: &[&str]) -> String {
    let words = ["serve"].into_iter().chain(site.words.iter().map(String::as_str)).chain(more.iter().copied());
    let quoted: Vec<_> = words.map(|word| serde_json::Value::from(word).to_string()).collect();
    format!("[{}]", quoted.join(", "))
}

/// The text with the line that begins with `start` replaced, its indentation kept.
///
/// A start that no line has changes nothing; the tests make sure that every one is there.
fn with_line(text: &str, start: &str, line: &str) -> String {
    let change = |old: &str| {
        let trimmed = old.trim_start();
        let indent = &old[..old.len() - trimmed.len()];
        if trimmed.starts_with(start) { format!("{indent}{line}\n") } else { format!("{old}\n") }
    };
    text.lines().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The site of a command line that is right.
    pub(super) fn site(command: &str) -> Site {
        let words: Vec<_> = command.split(' ').map(str::to_owned).collect();
        understand(&words).unwrap_or_else(|code| panic!("{command}: {code}"))
    }

    #[test]
    fn the_program_s_own_name_may_stand_in_front() {
        for command in ["rusgi serve app --threads 2", "serve app --threads 2", "app --threads 2"] {
            assert_eq!(site(command).words, ["app", "--threads", "2"], "{command}");
        }
    }

    #[test]
    fn users_are_taken_out_of_the_command_line() {
        let site = site("app --user alice --threads 2 --group=web");
        assert_eq!(site.words, ["app", "--threads", "2"]);
        assert_eq!((site.user.as_deref(), site.group.as_deref()), (Some("alice"), Some("web")));
    }

    #[test]
    fn paths_need_not_exist_here() {
        assert!(site("app --chdir /nowhere/at/all --virtualenv /nowhere/venv").config.app.chdir.is_some());
    }

    #[test]
    fn a_line_is_replaced_where_it_stands() {
        assert_eq!(with_line("a\n  b c;\nd", "b ", "b e;"), "a\n  b e;\nd\n");
    }
}
