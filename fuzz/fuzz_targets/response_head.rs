//! Law: a response head holds the lines that were asked for and accepted, and no other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rusgi_proto::ResponseHead;

// The data is strings, each after a byte that says its length: the status, then names and values.
fuzz_target!(|data: &[u8]| {
    let mut strings = strings(data);
    let (mut head, mut lines) = (ResponseHead::new(), vec![]);
    if let Some(status) = strings.next().filter(|status| head.start(status).is_ok()) {
        lines.push(status_line(status));
    }
    while let (Some(name), Some(value)) = (strings.next(), strings.next()) {
        let before = (head.as_bytes().to_vec(), head.code(), head.content_length());
        let accepted = head.header(name, value).is_ok();
        if !accepted {
            assert_eq!(before, (head.as_bytes().to_vec(), head.code(), head.content_length()));
        } else if !name.eq_ignore_ascii_case(b"content-length") {
            lines.push([name, b": ", value].concat());
        }
    }
    assert_lines(head, lines, u64::try_from(data.len()).ok());
});

fn assert_lines(mut head: ResponseHead, mut lines: Vec<Vec<u8>>, length: Option<u64>) {
    let written = head.finish(length).to_vec();
    if !head.is_started() {
        assert!(written.is_empty() && lines.is_empty());
        return;
    }
    assert_eq!(head.content_length().is_some(), head.allows_body());
    lines.extend(head.content_length().map(|length| format!("Content-Length: {length}").into_bytes()));
    assert!(lines.iter().flatten().all(|byte| !matches!(byte, b'\r' | b'\n' | b'\0')));
    lines.extend([vec![], vec![]]);
    assert_eq!(written, lines.join(&b"\r\n"[..]));
    assert!((200..=999).contains(&head.code()));
}

fn status_line(status: &[u8]) -> Vec<u8> {
    let space: &[u8] = if status.len() == 3 { b" " } else { b"" };
    [b"HTTP/1.1 ", status, space].concat()
}

fn strings(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (string, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        Some(string)
    })
}
