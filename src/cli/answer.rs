//! An HTTP response as it arrives: head first, then as much body as was announced.

use thiserror::Error;

/// A response that is being received.
#[derive(Debug, Default)]
pub(super) struct Answer {
    received: Vec<u8>,
    head: Option<Head>,
}

/// What the head of a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The status, three digits.
    pub(super) status: u16,
    /// Its bytes, from the status line to the empty line.
    pub(super) bytes: Vec<u8>,
    /// Bytes of body that are still to come; `None` until the server hangs up.
    missing: Option<u64>,
}

/// Why what was received is no response.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum AnswerError {
    /// Not a byte.
    #[error("hung up without an answer: see the log of the server")]
    Nothing,
    /// The head has not ended.
    #[error("hung up in the middle of the response head: see the log of the server")]
    HeadCut,
    /// The body has not ended.
    #[error("hung up {missing} bytes before the end of the body that it announced: see the log of the server")]
    BodyCut {
        /// Bytes of `Content-Length` that did not come.
        missing: u64,
    },
    /// A status line or a header that is none.
    #[error("answered with something that is not HTTP ({0}): does it speak the uwsgi protocol?")]
    NotHttp(httparse::Error),
    /// Lengths that are none or contradict each other.
    #[error(
        "answered with a Content-Length that is no number, or with two: the client cannot know where the body ends"
    )]
    Length,
    /// A head without end.
    #[error("answered with a head of more than {HEAD_LIMIT} bytes: web servers take far less")]
    TooLong,
}

impl Answer {
    /// Takes `bytes` in, and returns those that belong to the body.
    ///
    /// # Errors
    /// [`AnswerError::NotHttp`], [`AnswerError::Length`] and [`AnswerError::TooLong`].
    pub(super) fn take(&mut self, bytes: &[u8], has_body: bool) -> Result<Vec<u8>, AnswerError> {
        if let Some(head) = &mut self.head {
            return Ok(head.cut(bytes.to_vec()));
        }
        self.received.extend(bytes);
        let Some(mut head) = parse(&self.received, has_body)? else {
            return if self.received.len() > HEAD_LIMIT { Err(AnswerError::TooLong) } else { Ok(Vec::new()) };
        };
        let body = self.received.split_off(head.bytes.len());
        let body = head.cut(body);
        self.head = Some(head);
        Ok(body)
    }

    /// The head, once it is whole.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether nothing more is to come.
    pub(super) fn is_whole(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.missing == Some(0))
    }

    /// What it means that the server has hung up.
    ///
    /// # Errors
    /// The three ways of a response to be cut.
    pub(super) fn end(&self) -> Result<(), AnswerError> {
        match &self.head {
            None if self.received.is_empty() => Err(AnswerError::Nothing),
            None => Err(AnswerError::HeadCut),
            Some(Head { missing: Some(missing @ 1..), .. }) => Err(AnswerError::BodyCut { missing: *missing }),
            Some(_) => Ok(()),
        }
    }
}

impl Head {
    /// The part of `bytes` that belongs to the body.
    fn cut(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(missing) = &mut self.missing {
            bytes.truncate(usize::try_from(*missing).unwrap_or(usize::MAX));
            *missing -= bytes.len() as u64;
        }
        bytes
    }
}

fn parse(received: &[u8], has_body: bool) -> Result<Option<Head>, AnswerError> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(received).map_err(AnswerError::NotHttp)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let mut lengths = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length"));
    let announced = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(header), None) => Some(number(header.value).ok_or(AnswerError::Length)?),
        (Some(_), Some(_)) => return Err(AnswerError::Length),
    };
    let is_bodiless = !has_body || matches!(status, 204 | 304);
    let missing = if is_bodiless { Some(0) } else { announced };
    Ok(Some(Head { status, bytes: received.get(..length).unwrap_or_default().to_vec(), missing }))
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

const HEAD_LIMIT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` in pieces of `size` bytes: the body, and what the end means.
    fn received(text: &str, size: usize, has_body: bool) -> (String, Result<(), AnswerError>) {
        let mut answer = Answer::default();
        let mut body = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            match answer.take(piece, has_body) {
                Ok(more) => body.extend(more),
                Err(error) => return (String::new(), Err(error)),
            }
        }
        (String::from_utf8(body).unwrap(), answer.end())
    }

    #[test]
    fn a_response_is_the_same_in_any_pieces() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more";
        for size in 1..=text.len() {
            assert_eq!(received(text, size, true), ("hello".to_owned(), Ok(())), "{size}");
        }
        assert_eq!(received("HTTP/1.0 200\r\n\r\nuntil the end", 3, true), ("until the end".to_owned(), Ok(())));
    }

    #[test]
    fn a_response_that_was_cut_is_none() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(received("", 1, true).1, Err(AnswerError::Nothing));
        assert_eq!(received(&text[..20], 7, true).1, Err(AnswerError::HeadCut));
        assert_eq!(received(&text[..text.len() - 2], 7, true).1, Err(AnswerError::BodyCut { missing: 2 }));
    }

    #[test]
    fn a_response_without_a_body_ends_with_its_head() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(received(text, 9, false), (String::new(), Ok(())));
        assert_eq!(
            received("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 9, true),
            (String::new(), Ok(()))
        );
    }

    #[test]
    fn what_is_not_http_is_said_to_be_so() {
        for text in ["hello, world\r\n\r\n", "HTTP/1.1 2000 X\r\n\r\n", "HTTP/1.1 200 OK\r\na b: c\r\n\r\n"] {
            assert!(matches!(received(text, 5, true).1, Err(AnswerError::NotHttp(_))), "{text}");
        }
        for lengths in ["Content-Length: -1", "Content-Length:", "Content-Length: 1\r\nContent-Length: 2"] {
            let text = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n");
            assert_eq!(received(&text, 5, true).1, Err(AnswerError::Length), "{lengths}");
        }
    }
}
