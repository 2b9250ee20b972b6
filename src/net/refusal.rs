//! What rusgi answers by itself: one place that turns a fault into a status and a page.

use std::{fmt::Write as _, time::Duration};

use rusgi_proto::{Header, Modifier1, ParseError};

use crate::request::BadRequest;

/// Why a connection is answered by rusgi and not by the application.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// An HTTP client, or nginx's `proxy_pass`, talks to a uwsgi socket.
    #[error(
        "HTTP request on a uwsgi socket: use `uwsgi_pass`, not `proxy_pass`, in nginx and do not open this port in a browser"
    )]
    Http,
    /// A TLS client talks to a uwsgi socket.
    #[error("TLS handshake on a uwsgi socket: use `uwsgi_pass uwsgi://`, not `suwsgi://`")]
    Tls,
    /// The packet is for a handler that only uWSGI has.
    #[error("packet at offset 0: modifier1 {0} is not served: rusgi speaks WSGI only, set `uwsgi_modifier1 0`")]
    Modifier(Modifier1),
    /// The bytes are no uwsgi packet.
    #[error("malformed packet: {0}")]
    Malformed(#[from] ParseError),
    /// The packet is well formed and still no request.
    #[error("bad request: {0}")]
    BadRequest(#[from] BadRequest),
    /// The body is longer than is served.
    #[error("request body of {length} bytes: more than --max-body {limit} allows")]
    TooLarge {
        /// CONTENT_LENGTH.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// The peer closed its side in the middle of the packet.
    #[error(
        "malformed packet at offset {0}: the peer stopped sending in the middle of it: web servers do not, is it a probe?"
    )]
    CutShort(usize),
    /// The packet did not arrive within the head timeout.
    #[error("packet incomplete at offset {seen} after {within:?} (--head-timeout)")]
    SlowHead {
        /// Bytes that had arrived.
        seen: usize,
        /// The head timeout.
        within: Duration,
    },
    /// The body did not arrive: nothing came for the body timeout.
    #[error("request body stalled: {missing} bytes missing after {within:?} without any (--body-timeout)")]
    SlowBody {
        /// Bytes announced by CONTENT_LENGTH that have not come.
        missing: u64,
        /// The body timeout.
        within: Duration,
    },
    /// The server stops, and the request is not complete.
    #[error("the server is stopping, and the request was not complete")]
    Stopping,
    /// The server stops, and no worker has had the time for the request.
    #[error("the server is stopping: try again in a moment")]
    Closing,
    /// More requests wait than can be served in time.
    #[error("too many requests are waiting: try again in a moment")]
    Overloaded {
        /// Seconds until a new attempt makes sense.
        retry_after: u64,
    },
    /// No worker serves, and those that are started do not last.
    #[error("the application {}", if *.is_unloadable { "cannot be started" } else { "keeps ending" })]
    Down {
        /// Whether it could not even be loaded.
        is_unloadable: bool,
        /// Seconds until a new attempt makes sense.
        retry_after: u64,
    },
    /// The application failed before it had begun its response.
    #[error("the application failed")]
    Application,
    /// The application had not begun its response when the request timeout came.
    #[error("the application did not answer in time")]
    RequestTimeout,
}

impl Refusal {
    /// Recognizes, by the first bytes alone, what cannot become a request.
    ///
    /// # Errors
    /// The refusal, if this is one.
    pub fn of_first_bytes(bytes: &[u8]) -> Result<(), Self> {
        let Some(header) = Header::parse(bytes) else {
            return Ok(());
        };
        if header.is_http() {
            return Err(Self::Http);
        }
        match header.modifier1 {
            Modifier1::WSGI | Modifier1::MANAGE_PATH_INFO | Modifier1::PING => Ok(()),
            _ if bytes.starts_with(&[0x16, 0x03]) => Err(Self::Tls),
            other => Err(Self::Modifier(other)),
        }
    }

    /// The status line's code and reason.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Http
            | Self::Tls
            | Self::Modifier(_)
            | Self::Malformed(_)
            | Self::BadRequest(_)
            | Self::CutShort(_) => "400 Bad Request",
            Self::TooLarge { .. } => "413 Content Too Large",
            Self::SlowHead { .. } | Self::SlowBody { .. } => "408 Request Timeout",
            Self::Stopping | Self::Closing | Self::Overloaded { .. } | Self::Down { .. } => "503 Service Unavailable",
            Self::Application => "500 Internal Server Error",
            Self::RequestTimeout => "504 Gateway Timeout",
        }
    }

    /// After how many seconds a client may try again (RFC 9110, section 10.2.3), where that makes sense.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Overloaded { retry_after } | Self::Down { retry_after, .. } => Some(*retry_after),
            Self::Stopping | Self::Closing => Some(1),
            _ => None,
        }
    }

    /// The whole response. What went wrong inside the application is not told to its client.
    #[must_use]
    pub fn page(&self, is_head: bool) -> Vec<u8> {
        let status = self.status();
        let body = match self {
            Self::Application | Self::RequestTimeout => format!("{status}\n"),
            Self::Http => format!("{status}\n\n{self}.\n\n{EXAMPLE}"),
            _ => format!("{status}\n\n{self}.\n"),
        };
        let mut page = String::with_capacity(256 + body.len());
        let length = body.len();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n"
        );
        if let Some(seconds) = self.retry_after() {
            let _ = write!(page, "Retry-After: {seconds}\r\n");
        }
        page.push_str("\r\n");
        if !is_head {
            page.push_str(&body);
        }
        page.into_bytes()
    }
}

/// What belongs in nginx's configuration instead.
const EXAMPLE: &str = "This is a uwsgi port, made for nginx:

    location / {
        include uwsgi_params;
        uwsgi_pass 127.0.0.1:3031;   # or unix:/run/rusgi/app.sock
    }
";
