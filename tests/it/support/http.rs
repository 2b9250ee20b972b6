//! What an HTTP client concludes from the bytes nginx sends it.

use super::{peer::Peer, reply::Reply};

/// A request that asks nginx to close afterwards, so that the end can be seen.
pub(crate) fn request(method: &str, uri: &str) -> String {
    format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Sends a GET for `uri` and reads to the end of the connection.
pub(crate) fn get(mut peer: Peer, uri: &str) -> Reply {
    peer.send(request("GET", uri));
    peer.reply()
}

/// The body, if the transfer was whole by the rules of RFC 9112; else nothing.
pub(crate) fn whole_body(reply: &Reply) -> Option<Vec<u8>> {
    match (reply.header("Content-Length"), reply.header("Transfer-Encoding").as_deref()) {
        (Some(length), _) => (length == reply.body().len().to_string()).then(|| reply.body().to_vec()),
        (None, Some("chunked")) => joined_chunks(reply.body()),
        _ => None,
    }
}

/// What the chunks hold, if the last one is there.
fn joined_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(body.get(..line)?).ok()?, 16).ok()?;
        let rest = body.get(line + 2..)?;
        joined.extend_from_slice(rest.get(..size)?);
        let after = rest.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return after.is_empty().then_some(joined);
        }
        body = after;
    }
}
