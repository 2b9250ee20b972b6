//! One event as one line of text or one JSON object.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer, ser::SerializeMap};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use crate::observe::{logging::Process, utc::Utc};

/// An event, read and ready to be written.
pub(super) struct Line {
    at: Utc,
    level: Level,
    process: Process,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// What `event` says, now, in `process`.
    pub(super) fn of(event: &Event<'_>, process: Process) -> Self {
        let level = *event.metadata().level();
        let mut line = Self { at: Utc::now(), level, process, message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        line
    }

    /// A warning of the log's own, now, in `process`.
    pub(super) fn warning(message: String, process: Process) -> Self {
        Self { at: Utc::now(), level: Level::WARN, process, message, fields: Vec::new() }
    }

    /// `TIME LEVEL process: message key=value`, with a line feed at its end; further lines of the message come behind that, indented.
    pub(super) fn text(&self, colour: bool) -> String {
        let mut text = format!("{} ", self.at);
        let (on, off) = if colour { (self.colour(), "\x1b[0m") } else { ("", "") };
        let message = self.message.trim_end();
        let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
        let written = write!(text, "{on}{:<5}{off} {}: {}", self.level, self.process, Printable(first));
        debug_assert!(written.is_ok());
        for (name, value) in &self.fields {
            let written = write!(text, " {name}={value}");
            debug_assert!(written.is_ok());
        }
        text.push('\n');
        if !rest.is_empty() {
            let written = writeln!(text, "    {}", Printable(rest));
            debug_assert!(written.is_ok());
        }
        text
    }

    /// One JSON object with a line feed behind it.
    pub(super) fn json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn colour(&self) -> &'static str {
        match self.level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            Level::INFO => "\x1b[32m",
            _ => "\x1b[2m",
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(message)) => self.message = message,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::Text(format!("{value:?}")));
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &format_args!("{}", self.at))?;
        map.serialize_entry("level", &self.level.as_str().to_ascii_lowercase())?;
        map.serialize_entry("process", &format_args!("{}", self.process))?;
        map.serialize_entry("pid", &std::process::id())?;
        map.serialize_entry("message", &self.message)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A field's value.
#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(text) if is_plain(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Whether a text can be told from the fields around it without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !moves(c) && !matches!(c, '"' | '=' | '\\'))
}

/// Whether a character moves others about: a control, a separator of lines, or a turn of the writing's direction.
fn moves(c: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    c.is_control() || turns.iter().any(|turns| turns.contains(&c))
}

/// A message that cannot pass for a line of its own: nothing but an indented text begins a line, nothing moves the cursor.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.trim_end().chars() {
            match c {
                '\n' => f.write_str("\n    ")?,
                '\t' => f.write_char(c)?,
                _ if moves(c) => write!(f, "{}", c.escape_default())?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, fields: Vec<(&'static str, Value)>) -> Line {
        Line { at: Utc::now(), level: Level::INFO, process: Process::Worker(3), message: message.to_owned(), fields }
    }

    fn text(message: &str, fields: Vec<(&'static str, Value)>) -> String {
        let text = line(message, fields).text(false);
        let (time, rest) = text.split_at("2026-11-21T00:00:00.123Z ".len());
        assert!(time.ends_with("Z "));
        rest.to_owned()
    }

    #[test]
    fn a_line_has_level_process_message_and_fields() {
        let fields = vec![("peer", Value::Text("unix".to_owned())), ("offset", Value::Unsigned(4))];
        assert_eq!(text("malformed packet", fields), "INFO  worker 3: malformed packet peer=unix offset=4\n");
    }

    #[test]
    fn a_field_that_would_be_taken_for_another_is_quoted() {
        let quoted = |value: &str| text("m", vec![("k", Value::Text(value.to_owned()))]);
        assert_eq!(quoted("a b=c"), "INFO  worker 3: m k=\"a b=c\"\n");
        assert_eq!(quoted("a\nb"), "INFO  worker 3: m k=\"a\\nb\"\n");
        assert_eq!(quoted(""), "INFO  worker 3: m k=\"\"\n");
        assert_eq!(quoted("/é?a"), "INFO  worker 3: m k=/é?a\n");
    }

    #[test]
    fn a_message_of_several_lines_stays_one_event() {
        let message = "failed:\nTraceback\n  File\n";
        assert_eq!(text(message, vec![]), "INFO  worker 3: failed:\n    Traceback\n      File\n");
    }

    #[test]
    fn fields_are_on_the_first_line_of_an_event() {
        let fields = vec![("path", Value::Text("/a".to_owned())), ("age", Value::Unsigned(4))];
        let lines = "INFO  worker 3: failed path=/a age=4\n    Traceback\n    E: x=1\n";
        assert_eq!(text("failed\nTraceback\nE: x=1", fields), lines);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(text("a\rb\x1b[2Jc\td", vec![]), "INFO  worker 3: a\\rb\\u{1b}[2Jc\td\n");
        let turned = vec![("k", Value::Text("a\u{202e}b".to_owned()))];
        assert_eq!(text("é\u{2028}c", turned), "INFO  worker 3: é\\u{2028}c k=\"a\\u{202e}b\"\n");
    }

    #[test]
    fn colour_wraps_the_level_only() {
        assert!(line("m", vec![]).text(true).contains(" \x1b[32mINFO \x1b[0m worker 3: m\n"));
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let fields = vec![("offset", Value::Signed(-4)), ("reason", Value::Text("a\nb".to_owned()))];
        let bytes = line("first\nsecond", fields).json();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        let object: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(object["level"], "info");
        assert_eq!(object["process"], "worker 3");
        assert_eq!(object["message"], "first\nsecond");
        assert_eq!(object["offset"], -4);
        assert_eq!(object["reason"], "a\nb");
        assert_eq!(object["pid"], std::process::id());
    }
}
