//! `rusgi doctor`: what breaks deployments, found before it does, each with the command that mends it.

mod machine;
mod nginx;
mod nginx_config;
mod reach;

use std::path::PathBuf;

use crate::{
    cli::{FAILED, complain, say, served::Served, settings},
    config::{Address, Config},
    python,
};

/// The options of `rusgi doctor`.
#[derive(Debug, clap::Args)]
#[command(
    about = "Find what breaks deployments, and say what mends it",
    long_about = "Look at this machine, at nginx and at a command line of `rusgi serve`, and say what does not fit, with the command \
        that mends it.\n\n\
        rusgi doctor app:application --socket unix:/run/app/app.sock\n\n\
        Nothing is changed and nothing is started but `nginx -T`. Run it as root, or as who may read nginx's configuration. \
        It exits with 1 when there is a problem."
)]
pub(super) struct Args {
    /// nginx's main configuration file [default: the one that nginx itself reads]
    #[arg(long, value_name = "FILE")]
    nginx_conf: Option<PathBuf>,
    /// Who nginx's workers run as [default: as its configuration says]
    #[arg(long, value_name = "USER")]
    nginx_user: Option<String>,
    /// The command line: TARGET and options, as `rusgi serve` takes them
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "SERVE ARGUMENT")]
    command: Vec<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// As it should be.
    Fine,
    /// It may bite.
    Warning,
    /// It will not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    severity: Severity,
    /// What is so, beginning with the thing.
    what: String,
    /// The command, or the change, that mends it.
    fix: Option<String>,
}

impl Finding {
    fn fine(what: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, what: what.into(), fix: None }
    }

    fn warning(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), fix: Some(fix.into()) }
    }

    fn problem(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), fix: Some(fix.into()) }
    }

    fn line(&self) -> String {
        let mark = match self.severity {
            Severity::Fine => "ok      ",
            Severity::Warning => "warning ",
            Severity::Problem => "problem ",
        };
        let fix = self.fix.as_ref().map_or_else(String::new, |fix| format!("\n           {fix}"));
        format!("{mark} {}{fix}", self.what)
    }
}

/// Looks, and says what was found; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let config = match Served::read(&args.command).and_then(|served| served.config(settings::check)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let findings = look(args, &config);
    findings.iter().for_each(|finding| say(&finding.line()));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    if problems > 0 {
        complain(&format!("{problems} problems, {warnings} warnings"));
        return FAILED;
    }
    0
}

fn look(args: &Args, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let nginx = nginx::read(args.nginx_conf.as_deref());
    let user = args.nginx_user.clone().or_else(|| nginx.as_ref().ok().and_then(|tree| nginx::user(tree)));
    match nginx {
        Ok(tree) => findings.extend(nginx::check(&tree, config)),
        Err(finding) => findings.push(finding),
    }
    let paths = config.listen.addresses.iter().filter_map(|address| match address {
        Address::Unix(path) => Some(path),
        Address::Tcp(_) => None,
    });
    findings.extend(paths.flat_map(|path| reach::check(path, &config.listen, user.as_deref())));
    findings.extend(virtualenv(config));
    findings.extend(machine::check(config));
    findings
}

/// Whether the virtual environment is one for this Python.
fn virtualenv(config: &Config) -> Option<Finding> {
    let path = config.app.virtualenv.as_deref()?;
    Some(match python::checked_virtualenv(path) {
        Ok(path) => Finding::fine(format!("--virtualenv {}: made for this rusgi's Python", path.display())),
        Err(failure) => {
            let text = failure.to_string();
            let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, "name a virtualenv of this Python"));
            Finding::problem(what, hint)
        }
    })
}
