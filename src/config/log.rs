//! What is logged, and how.

use std::str::FromStr;

use thiserror::Error;

/// What is logged, and in which form; it always goes to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is still written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// How important a log line is, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be, and rusgi goes on.
    Warn,
    /// What an operator wants to see of a healthy server.
    Info,
    /// What somebody looking for a fault wants to see.
    Debug,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, process, message, fields.
    Text,
    /// For machines: one JSON object to a line.
    Json,
}

/// Why a text is not one of the words above.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// No level has this name.
    #[error("`{0}` is not a level: write error, warn, info or debug")]
    Level(String),
    /// No format has this name.
    #[error("`{0}` is not a format: write text or json")]
    Format(String),
}

impl FromStr for Level {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err(LogError::Level(text.to_owned())),
        }
    }
}

impl FromStr for Format {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogError::Format(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_formats_are_known_by_their_words_only() {
        assert_eq!("warn".parse(), Ok(Level::Warn));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("WARN".parse::<Level>(), Err(LogError::Level("WARN".to_owned())));
        assert_eq!("".parse::<Format>(), Err(LogError::Format(String::new())));
    }
}
