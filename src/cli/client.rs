//! The other end of the admin socket.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use crate::{
    cli::{FAILED, MISCONFIGURED, complain},
    config::admin::default_socket,
};

/// Where to ask.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// The socket that `rusgi serve` was given as --admin-socket [default: admin.sock in RUNTIME_DIRECTORY]
    #[arg(long, env = "RUSGI_ADMIN_SOCKET", value_name = "PATH")]
    admin_socket: Option<PathBuf>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// Nobody has said where.
    #[error("no admin socket is known: name the one that rusgi was started with, by --admin-socket PATH")]
    Nowhere,
    /// Nobody is there.
    #[error("{path}: {source}: is rusgi running with this --admin-socket, as your user?")]
    Unreachable {
        /// The socket.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else is there, or has gone in the middle of it.
    #[error("{path}: this is no answer of rusgi's: check the path and the log of rusgi")]
    Unreadable {
        /// The socket.
        path: String,
    },
}

impl ClientError {
    /// Says what is wrong; returns the exit code.
    pub(super) fn report(&self) -> u8 {
        complain(&self.to_string());
        if matches!(self, Self::Nowhere) { MISCONFIGURED } else { FAILED }
    }
}

/// Sends a request without a body, and reads the answer; `patience` is `None` for one that may take any time.
///
/// # Errors
/// When nobody answers.
pub(super) fn ask(
    admin: &AdminArgs,
    method: &str,
    target: &str,
    patience: Option<Duration>,
) -> Result<Answer, ClientError> {
    let socket = admin.admin_socket.clone().or_else(default_socket).ok_or(ClientError::Nowhere)?;
    let path = socket.display().to_string();
    let text = exchange(&socket, method, target, patience)
        .map_err(|source| ClientError::Unreachable { path: path.clone(), source })?;
    parse(&text).ok_or(ClientError::Unreadable { path })
}

fn exchange(socket: &Path, method: &str, target: &str, patience: Option<Duration>) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    stream.write_all(format!("{method} {target} HTTP/1.1\r\nHost: rusgi\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The status and the body, if the body is as long as it says.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length: usize = lines.find_map(|line| line.strip_prefix("Content-Length: "))?.parse().ok()?;
    (body.len() == length).then(|| Answer { status, body: body.to_owned() })
}

/// Long enough for a machine that is busy with other things: the supervisor itself never waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_cut_is_none() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(parse(whole).map(|answer| (answer.status, answer.body)), Some((200, "ok".to_owned())));
        for cut in [&whole[..whole.len() - 1], &whole[..20], "", "hello"] {
            assert!(parse(cut).is_none(), "{cut:?}");
        }
    }
}
