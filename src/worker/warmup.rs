//! Requests of our own, which the application has to answer before the worker is ready.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use thiserror::Error;

/// Why a warm-up request has not been answered well.
#[derive(Debug, Error)]
pub(super) enum ColdError {
    /// The application failed.
    #[error("--warmup {path}: the application answered {status}; see its traceback above, or warm up by another path")]
    Failed {
        /// What was asked for.
        path: String,
        /// The response's status line.
        status: String,
    },
    /// There was no response.
    #[error("--warmup {path}: the application did not answer; see the log above")]
    Silent {
        /// What was asked for.
        path: String,
    },
    /// The system refused something.
    #[error("--warmup {path}: {source}; raise the limit on open files")]
    Refused {
        /// What was asked for.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Has `serve` answer a GET for `path`; anything below 500 is an answer.
///
/// # Errors
/// When the application fails, or nothing comes.
pub(super) fn ask(path: &str, serve: impl FnOnce(OwnedFd)) -> Result<(), ColdError> {
    let refused = |source| ColdError::Refused { path: path.to_owned(), source };
    let (mut ours, theirs) = UnixStream::pair().map_err(refused)?;
    theirs.set_nonblocking(true).map_err(refused)?;
    ours.write_all(&packet(path)).map_err(refused)?;
    serve(theirs.into());
    let mut response = Vec::new();
    // A reset ends a response that the application has cut; what came before says the rest.
    let is_whole = ours.read_to_end(&mut response).is_ok();
    judge(path, &response, is_whole)
}

fn judge(path: &str, response: &[u8], is_whole: bool) -> Result<(), ColdError> {
    let path = path.to_owned();
    let head = response.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(head);
    let Some((_, status)) = line.split_once(' ').filter(|_| is_whole) else {
        return Err(ColdError::Silent { path });
    };
    if status.starts_with('5') { Err(ColdError::Failed { path, status: status.to_owned() }) } else { Ok(()) }
}

/// A request as nginx would send it, with `localhost` for its host.
fn packet(path: &str) -> Vec<u8> {
    let (file, query) = path.split_once('?').unwrap_or((path, ""));
    let vars = [
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", "GET"),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", path),
        ("PATH_INFO", file),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "0"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("HTTP_HOST", "localhost"),
        ("HTTP_USER_AGENT", "rusgi warm-up"),
    ];
    let block: Vec<u8> = vars.iter().flat_map(|(key, value)| [text(key), text(value)].concat()).collect();
    let [low, high] = size(block.len());
    [&[0, low, high, 0], block.as_slice()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&size(text.len()), text.as_bytes()].concat()
}

/// Sizes are little-endian; the option's own limit keeps them far below their largest.
fn size(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(response: &str) -> Result<(), String> {
        let serve = |socket: OwnedFd| {
            let mut socket = UnixStream::from(socket);
            // A close with something unread would be a reset.
            let asked = socket.read(&mut [0; 4096]).unwrap();
            assert_eq!(asked, packet("/path?x=1").len());
            socket.write_all(response.as_bytes()).unwrap();
        };
        ask("/path?x=1", serve).map_err(|error| error.to_string())
    }

    #[test]
    fn any_answer_but_a_failure_will_do() {
        for status in ["200 OK", "302 Found", "404 Not Found", "400 Bad Request"] {
            assert_eq!(answered(&format!("HTTP/1.1 {status}\r\n\r\n")), Ok(()));
        }
        let failed = answered("HTTP/1.1 500 Internal Server Error\r\n\r\n").unwrap_err();
        assert!(failed.contains("--warmup /path?x=1") && failed.contains("500 Internal Server Error"), "{failed}");
        assert!(answered("").unwrap_err().contains("did not answer"));
    }
}
