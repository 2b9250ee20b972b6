//! A tally as people and programs read it.

use std::fmt::Display;

use serde_json::{Value, json};

use crate::cli::bench::{Plan, tally::Tally};

/// What is told of the latencies: name and quantile.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// How wide a bar of the histogram is at most.
const BAR: u64 = 40;

/// The tally in some lines.
pub(super) fn text(plan: &Plan, tally: &Tally) -> String {
    let pace = match plan.pace.rate {
        Some(rate) => format!("{rate} requests per second due"),
        None => "a request after each answer".to_owned(),
    };
    let mut text =
        format!("{}: {} connections, {pace}, {:.2?}\n", plan.request.address, plan.connections, tally.elapsed);
    text +=
        &format!("  answered  {} ({:.1} per second), {} bytes\n", tally.answered(), tally.per_second(), tally.bytes);
    text += &format!("  status    {}\n", listed(&tally.statuses));
    if tally.failed() > 0 {
        text += &format!("  failed    {}: {}\n", tally.failed(), listed(&tally.failures));
    }
    let quantiles =
        QUANTILES.map(|(name, quantile)| format!("{name} {}", time(tally.latency.value_at_quantile(quantile))));
    text + &format!("  latency   {}\n{}", quantiles.join("  "), histogram(tally))
}

/// The tally as one JSON object.
pub(super) fn json(plan: &Plan, tally: &Tally) -> String {
    let microseconds = |nanoseconds: u64| json!(nanoseconds as f64 / 1000.0);
    let mut latency: serde_json::Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), microseconds(tally.latency.value_at_quantile(*quantile))))
        .collect();
    latency.insert("mean".to_owned(), json!(tally.latency.mean() / 1000.0));
    let bars = bars(tally).map(|(below, count)| json!({"below": microseconds(below), "count": count}));
    json!({
        "address": plan.request.address.to_string(),
        "connections": plan.connections,
        "rate": plan.pace.rate,
        "seconds": tally.elapsed.as_secs_f64(),
        "answered": tally.answered(),
        "per_second": tally.per_second(),
        "bytes": tally.bytes,
        "statuses": object(&tally.statuses),
        "failed": tally.failed(),
        "failures": object(&tally.failures),
        "latency_us": latency,
        "histogram_us": bars.collect::<Vec<_>>(),
    })
    .to_string()
}

fn object<'t>(counts: impl IntoIterator<Item = (&'t (impl Display + 't), &'t u64)>) -> Value {
    counts.into_iter().map(|(key, count)| (key.to_string(), *count)).collect()
}

fn listed<'t>(counts: impl IntoIterator<Item = (&'t (impl Display + 't), &'t u64)>) -> String {
    let counts: Vec<_> = counts.into_iter().map(|(key, count)| format!("{key} {count}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// Latencies by powers of two: the upper end in ns, and how many lie below it and not below the one before.
fn bars(tally: &Tally) -> impl Iterator<Item = (u64, u64)> + '_ {
    let ends = tally.latency.iter_log(FIRST_BAR, 2.0);
    ends.map(|bar| (bar.value_iterated_to() + 1, bar.count_since_last_iteration())).skip_while(|(_, count)| *count == 0)
}

fn histogram(tally: &Tally) -> String {
    let most = bars(tally).map(|(_, count)| count).max().unwrap_or(1);
    let line = |(below, count): (u64, u64)| {
        let width = (count * BAR).div_ceil(most.max(1)) as usize;
        format!("  {:>9}  {count:>9}  {}\n", format!("<{}", time(below)), "#".repeat(width))
    };
    bars(tally).map(line).collect()
}

fn time(nanoseconds: u64) -> String {
    let microseconds = nanoseconds as f64 / 1e3;
    match microseconds {
        ..1e3 => format!("{microseconds:.0} µs"),
        ..1e6 => format!("{:.2} ms", microseconds / 1e3),
        _ => format!("{:.2} s", microseconds / 1e6),
    }
}

/// Where the histogram begins, in ns.
const FIRST_BAR: u64 = 8_000;
