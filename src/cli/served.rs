//! A command line of `rusgi serve`, understood without being run.

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::{
    cli::{self, CommandLine, MISCONFIGURED, complain, explain, serve},
    config::{Config, Problem},
};

/// What follows `rusgi serve`, as typed.
#[derive(Debug)]
pub(super) struct Served {
    /// The words.
    pub(super) words: Vec<String>,
    /// The same as flags.
    pub(super) args: serve::Args,
    /// Where each of them came from.
    sources: ArgMatches,
}

impl Served {
    /// Reads `command`, in front of which `rusgi serve` may stand.
    ///
    /// # Errors
    /// The exit code, when it is none; what is wrong has been said.
    pub(super) fn read(command: &[String]) -> Result<Self, u8> {
        let is_name = |word: &&String| ["rusgi", "serve"].contains(&word.as_str());
        let words: Vec<_> = command.iter().skip_while(is_name).cloned().collect();
        let argv = ["rusgi", "serve"].into_iter().map(str::to_owned).chain(words.iter().cloned());
        let mut matches = CommandLine::command().try_get_matches_from(argv).map_err(|error| explain(&error))?;
        let (_, sources) = matches.remove_subcommand().ok_or(cli::BUG)?;
        let args = serve::Args::from_arg_matches(&sources).map_err(|error| explain(&error))?;
        Ok(Self { words, args, sources })
    }

    /// What it means, by `check`.
    ///
    /// # Errors
    /// The exit code, when a setting is wrong; what is wrong has been said.
    pub(super) fn config(
        &self,
        check: fn(&serve::Args, Option<&ArgMatches>) -> Result<Config, Vec<Problem>>,
    ) -> Result<Config, u8> {
        check(&self.args, Some(&self.sources)).map_err(|problems| {
            problems.iter().for_each(|problem| complain(&problem.to_string()));
            MISCONFIGURED
        })
    }
}
