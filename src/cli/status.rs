//! `rusgi status`: what a running rusgi is doing.

use serde_json::Value;

use crate::cli::{
    FAILED,
    client::{self, AdminArgs, PATIENCE},
    complain, say,
};

/// The options of `rusgi status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Prints the status; returns the exit code.
pub(super) fn run(args: &Args) -> u8 {
    let answer = match client::ask(&args.admin, "GET", "/status", Some(PATIENCE)) {
        Ok(answer) => answer,
        Err(error) => return error.report(),
    };
    if args.json {
        say(&answer.body);
        return 0;
    }
    match serde_json::from_str(&answer.body) {
        Ok(status) => {
            say(&describe(&status));
            0
        }
        Err(_) => {
            complain(answer.body.trim_end());
            FAILED
        }
    }
}

/// The status as people read it.
fn describe(status: &Value) -> String {
    let none = Vec::new();
    let workers = status["workers"].as_array().unwrap_or(&none);
    let ready = workers.iter().filter(|worker| worker["state"] == "ready").count();
    let mut text = format!(
        "rusgi {} {}: generation {}, {ready} of {} workers ready, pid {}\n",
        plain(&status["version"]),
        plain(&status["state"]),
        status["generation"],
        status["wanted"],
        status["pid"],
    );
    if status["least"] != status["most"] {
        text += &format!("scaled by load: {} to {} workers\n", status["least"], status["most"]);
    }
    if let Some(candidate) = status["candidate"].as_u64() {
        text += &format!("generation {candidate} is being started\n");
    }
    if status["outage"].is_object() {
        text += &describe_outage(&status["outage"]);
    }
    if status["degraded"].is_object() {
        text += &describe_failure(status);
    }
    text += &describe_load(status);
    text += &describe_upgrade(&status["upgrade"]);
    text += "\nWORKER      PID  GENERATION  STATE     READY FOR\n";
    workers.iter().for_each(|worker| text += &line(worker));
    text
}

fn describe_load(status: &Value) -> String {
    let mut text = format!("{} of {} threads busy\n", status["busy"], status["threads"]);
    let (valve, count) = (&status["valve"], |key: &str| status["valve"][key].as_u64().unwrap_or_default());
    if valve["state"] != "closed" || count("refused") + count("left") > 0 {
        let (state, refused, left) = (plain(&valve["state"]), count("refused"), count("left"));
        text += &format!("valve {state}: {refused} answered with 503, {left} left by their peers, since the start\n");
    }
    for queue in status["queues"].as_array().iter().copied().flatten() {
        let waiting = match (queue["length"].as_u64(), queue["limit"].as_u64()) {
            (Some(length), Some(limit)) => format!("{length} of at most {limit} waiting"),
            _ => "the kernel does not tell how many wait".to_owned(),
        };
        text += &format!("{}: {waiting}\n", plain(&queue["address"]));
    }
    text
}

fn describe_outage(outage: &Value) -> String {
    let next = match outage["retry_in"].as_f64() {
        Some(seconds) => format!("the next one is started in {seconds:.0} s"),
        None => "one is being started".to_owned(),
    };
    let lasted = outage["lasted"].as_f64().unwrap_or_default();
    indented(&format!("down: no worker has served for {lasted:.0} s; {next}\n"), plain(&outage["reason"]))
}

fn describe_failure(status: &Value) -> String {
    let (failed, serving) = (&status["degraded"]["generation"], &status["generation"]);
    let head = format!("degraded: generation {failed} was discarded, still serving generation {serving}\n");
    indented(&head, plain(&status["degraded"]["reason"]))
}

fn indented(head: &str, lines: &str) -> String {
    lines.lines().fold(head.to_owned(), |text, line| format!("{text}    {line}\n"))
}

fn describe_upgrade(upgrade: &Value) -> String {
    match plain(&upgrade["state"]) {
        "starting" => format!("upgrading: pid {} is started\n", upgrade["pid"]),
        "failed" => indented("the last upgrade failed:\n", plain(&upgrade["reason"])),
        _ => String::new(),
    }
}

fn line(worker: &Value) -> String {
    let pid = worker["pid"].as_i64().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let age = worker["age"].as_f64().map_or_else(|| "-".to_owned(), |age| format!("{age:.0} s"));
    let (number, generation) = (worker["worker"].to_string(), worker["generation"].to_string());
    format!("{number:>6} {pid:>8} {generation:>11}  {:<8}  {age}\n", plain(&worker["state"]))
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_a_table_and_why_it_is_degraded() {
        let status = json!({
            "version": "1.2.3", "pid": 7, "state": "ready", "generation": 1, "candidate": 3, "wanted": 2,
            "least": 2, "most": 8,
            "degraded": {"generation": 2, "reason": "Traceback\nSyntaxError"}, "threads": 2, "busy": 1,
            "outage": {"lasted": 12.3, "reason": "worker 1 died: SIGSEGV", "retry_in": 4.1},
            "valve": {"state": "open", "wait": 3.0, "refused": 7, "left": 2},
            "queues": [
                {"address": "unix:/a", "length": 3, "limit": 64},
                {"address": "unix:/b", "length": null, "limit": null},
            ],
            "upgrade": {"state": "failed", "pid": null, "reason": "no such file"},
            "workers": [
                {"worker": 1, "pid": 8, "generation": 1, "state": "ready", "age": 12.3},
                {"worker": 2, "pid": null, "generation": 1, "state": "due", "age": null},
            ],
        });
        let text = describe(&status);
        assert!(text.starts_with("rusgi 1.2.3 ready: generation 1, 1 of 2 workers ready, pid 7\n"), "{text}");
        let words = [
            "scaled by load: 2 to 8 workers\n",
            "generation 3 is being started",
            "down: no worker has served for 12 s; the next one is started in 4 s\n    worker 1 died: SIGSEGV\n",
            "degraded: generation 2",
            "    SyntaxError\n",
            "1 of 2 threads busy\n",
            "valve open: 7 answered with 503, 2 left by their peers, since the start\n",
            "unix:/a: 3 of at most 64 waiting\n",
            "unix:/b: the kernel does not tell how many wait\n",
            "the last upgrade failed:\n    no such file\n",
            "     1        8           1  ready     12 s\n",
        ];
        words.iter().for_each(|words| assert!(text.contains(words), "no {words:?} in {text}"));
    }
}
