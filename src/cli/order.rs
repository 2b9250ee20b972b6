//! Orders by the admin socket, and what has come of them in a sentence.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{
    FAILED,
    client::{self, AdminArgs, Answer, PATIENCE},
    complain, say,
};

/// The options of every order.
#[derive(Debug, clap::Args)]
pub(super) struct OrderArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the answer as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// What has come of an order.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The HTTP status.
    pub(super) status: u16,
    /// The answer, where it is JSON.
    pub(super) facts: Value,
    /// The answer as it came.
    pub(super) text: String,
    /// How long it took.
    pub(super) took: Duration,
    /// What `/status` says after an order that has failed.
    pub(super) status_after: Option<Value>,
}

impl OrderArgs {
    /// Posts the order to `target`, waits for its end if `is_awaited`, and says what has come of it in the words of `tell`;
    /// returns the exit code.
    pub(super) fn give(&self, target: &str, is_awaited: bool, tell: impl Fn(&Outcome) -> String) -> u8 {
        let (start, patience) = (Instant::now(), (!is_awaited).then_some(PATIENCE));
        let outcome = match client::ask(&self.admin, "POST", target, patience) {
            Ok(Answer { status, body }) => Outcome {
                status,
                facts: serde_json::from_str(&body).unwrap_or_default(),
                text: body.trim_end().to_owned(),
                took: start.elapsed(),
                status_after: (status >= 300).then(|| self.status()).flatten(),
            },
            Err(error) => return error.report(),
        };
        let is_done = outcome.status < 300;
        match (self.json, is_done) {
            (true, _) => say(&outcome.json()),
            (false, true) => say(&tell(&outcome)),
            (false, false) => complain(&tell(&outcome)),
        }
        if is_done { 0 } else { FAILED }
    }

    fn status(&self) -> Option<Value> {
        let answer = client::ask(&self.admin, "GET", "/status", Some(PATIENCE)).ok()?;
        serde_json::from_str(&answer.body).ok()
    }
}

impl Outcome {
    /// That `what` goes on serving although the order has failed, and how well.
    pub(super) fn survival_of(&self, what: &str) -> String {
        let Some(status) = &self.status_after else {
            return format!("{what} goes on serving");
        };
        let serving = &status["generation"];
        let is_ready = |worker: &&Value| worker["state"] == "ready" && worker["generation"] == *serving;
        let ready = status["workers"].as_array().map_or(0, |workers| workers.iter().filter(is_ready).count());
        format!("{what} goes on serving (generation {serving}, {ready} of {} workers ready)", status["wanted"])
    }

    /// How long it took, as people read it.
    pub(super) fn time(&self) -> String {
        match self.took.as_secs() {
            0 => format!("{} ms", self.took.as_millis()),
            _ => format!("{:.1} s", self.took.as_secs_f64()),
        }
    }

    fn json(&self) -> String {
        let is_json = self.facts.is_object();
        if is_json { self.text.clone() } else { json!({"status": self.status, "text": self.text}).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str, status_after: Option<Value>) -> Outcome {
        let facts = serde_json::from_str(text).unwrap_or_default();
        Outcome { status: 500, facts, text: text.to_owned(), took: Duration::from_millis(1260), status_after }
    }

    #[test]
    fn programs_get_json_whatever_the_answer_is() {
        assert_eq!(outcome("{\"generation\":2}", None).json(), "{\"generation\":2}");
        assert_eq!(outcome("no \"such\" thing", None).json(), r#"{"status":500,"text":"no \"such\" thing"}"#);
    }

    #[test]
    fn people_read_how_long_it_took_and_what_goes_on() {
        let status = json!({"generation": 3, "wanted": 2, "workers": [
            {"state": "ready", "generation": 3}, {"state": "due", "generation": 3}, {"state": "ready", "generation": 2},
        ]});
        let words = "it goes on serving (generation 3, 1 of 2 workers ready)";
        assert_eq!(outcome("", Some(status)).survival_of("it"), words);
        assert_eq!(outcome("", None).survival_of("the old code"), "the old code goes on serving");
        let quick = Outcome { took: Duration::from_millis(41), ..outcome("", None) };
        assert_eq!([quick, outcome("", None)].map(|outcome| outcome.time()), ["41 ms", "1.3 s"]);
    }
}
