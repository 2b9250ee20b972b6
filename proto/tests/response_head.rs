//! What a response head lets through, and that nothing else ever is.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

use proptest::{collection::vec, prelude::*};
use rusgi_proto::{HeadError, ResponseHead};

fn started(status: &[u8]) -> ResponseHead {
    let mut head = ResponseHead::new();
    head.start(status).unwrap();
    head
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn is_written_as_asked() {
    let mut head = started(b"200 OK");
    head.header(b"Content-Type", b"text/html; charset=utf-8").unwrap();
    head.header(b"Set-Cookie", b"a=1").unwrap();
    head.header(b"Set-Cookie", b"b=2").unwrap();
    head.header(b"X-Empty", b"").unwrap();
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nSet-Cookie: a=1\r\n\
                    Set-Cookie: b=2\r\nX-Empty: \r\n\r\n";
    assert_eq!(text(head.finish(None)), expected);
}

#[test]
fn any_status_from_200_to_999_passes() {
    for (status, line) in [
        (&b"200 OK"[..], &b"HTTP/1.1 200 OK\r\n"[..]),
        (b"404", b"HTTP/1.1 404 \r\n"),
        (b"404 ", b"HTTP/1.1 404 \r\n"),
        (b"999 Tab\there", b"HTTP/1.1 999 Tab\there\r\n"),
        (b"200 d\xe9j\xe0 vu", b"HTTP/1.1 200 d\xe9j\xe0 vu\r\n"),
    ] {
        let head = started(status);
        assert_eq!(head.as_bytes(), line);
        assert_eq!(head.code().to_string().as_bytes(), &status[..3]);
    }
}

#[test]
fn a_status_without_a_final_code_is_refused() {
    for status in [
        "",
        "2",
        "20",
        "abc",
        "99 X",
        "199 X",
        "100 Continue",
        "101 Switching Protocols",
        "103 Early Hints",
        "000",
        "2000 X",
        "200OK",
        "200\tOK",
        "+20 X",
        " 200 OK",
        "20 0",
        "HTTP/1.1 200 OK",
        "200\r\nX: y",
        "２００ OK",
    ] {
        let refused = ResponseHead::new().start(status.as_bytes());
        let quoted = status.as_bytes().escape_ascii().to_string();
        assert_eq!(refused, Err(HeadError::StatusCode { status: quoted }));
    }
}

#[test]
fn a_control_byte_in_the_reason_is_refused() {
    for byte in (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let status = [&b"200 O"[..], &[byte], b"K"].concat();
        let quoted = status.escape_ascii().to_string();
        let refused = ResponseHead::new().start(&status);
        assert_eq!(refused, Err(HeadError::StatusReason { status: quoted, offset: 5 }));
    }
}

#[test]
fn rfc9110_a_name_is_a_token() {
    for byte in 0..=u8::MAX {
        let name = [b'X', byte];
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let result = started(b"200 OK").header(&name, b"v");
        if is_token {
            assert_eq!(result, Ok(()));
        } else {
            let name = name.escape_ascii().to_string();
            assert_eq!(result, Err(HeadError::Name { name, offset: 1 }));
        }
    }
    let empty = HeadError::Name { name: String::new(), offset: 0 };
    assert_eq!(started(b"200 OK").header(b"", b"v"), Err(empty));
}

#[test]
fn a_value_holds_no_control_byte_but_tab() {
    for byte in 0..=u8::MAX {
        let value = [b'v', b'v', byte, b'v'];
        let is_control = byte != b'\t' && (byte < 0x20 || byte == 0x7f);
        let result = started(b"200 OK").header(b"X-Note", &value);
        let refused = Err(HeadError::Value { name: "X-Note".into(), offset: 2 });
        assert_eq!(result, if is_control { refused } else { Ok(()) });
    }
}

#[test]
fn pep3333_hop_by_hop_headers_are_refused() {
    for name in [
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Trailers",
        "Transfer-Encoding",
        "Upgrade",
        "tRANSFER-eNCODING",
        "te",
    ] {
        let refused = started(b"200 OK").header(name.as_bytes(), b"x");
        assert_eq!(refused, Err(HeadError::HopByHop { name: name.into() }));
    }
}

#[test]
fn pep3333_a_status_header_is_refused() {
    for name in [&b"Status"[..], b"STATUS", b"status"] {
        assert_eq!(started(b"200 OK").header(name, b"404"), Err(HeadError::StatusHeader));
    }
}

#[test]
fn a_content_length_comes_last_and_once() {
    let mut head = started(b"200 OK");
    head.header(b"content-length", b"012").unwrap();
    head.header(b"X-Note", b"v").unwrap();
    head.header(b"Content-Length", b"12").unwrap();
    assert_eq!(head.content_length(), Some(12));
    let expected = "HTTP/1.1 200 OK\r\nX-Note: v\r\nContent-Length: 12\r\n\r\n";
    assert_eq!(text(head.finish(Some(99))), expected);
    assert_eq!(head.content_length(), Some(12));
}

#[test]
fn a_length_nobody_gave_is_added_at_the_end() {
    for length in [0, 9, 10, 4096, u64::MAX] {
        let mut head = started(b"200 OK");
        let expected = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(text(head.finish(Some(length))), expected);
        assert_eq!(head.content_length(), Some(length));
    }
}

#[test]
fn a_content_length_is_digits() {
    for value in ["", "-1", "+1", " 1", "1 ", "1,1", "0x10", "1e3", "18446744073709551616", "１"] {
        let quoted = value.as_bytes().escape_ascii().to_string();
        let refused = started(b"200 OK").header(b"Content-Length", value.as_bytes());
        assert_eq!(refused, Err(HeadError::ContentLength { value: quoted }));
    }
    let mut head = started(b"200 OK");
    assert_eq!(head.header(b"Content-Length", b"18446744073709551615"), Ok(()));
    assert_eq!(head.content_length(), Some(u64::MAX));
}

#[test]
fn two_content_lengths_must_agree() {
    let mut head = started(b"200 OK");
    head.header(b"Content-Length", b"5").unwrap();
    let refused = head.header(b"Content-Length", b"6");
    assert_eq!(refused, Err(HeadError::ContentLengths { first: 5, second: 6 }));
    assert_eq!(head.content_length(), Some(5));
}

#[test]
fn rfc9110_a_204_and_a_304_have_neither_body_nor_length() {
    for (status, allows_body) in [("204 No Content", false), ("304 Not Modified", false), ("200 OK", true)] {
        let mut head = started(status.as_bytes());
        head.header(b"Content-Length", b"5").unwrap();
        assert_eq!(head.allows_body(), allows_body, "{status}");
        assert_eq!(head.content_length().is_some(), allows_body, "{status}");
        assert_eq!(text(head.finish(Some(5))).contains("Content-Length"), allows_body, "{status}");
        assert_eq!(head.content_length().is_some(), allows_body, "{status}");
    }
}

#[test]
fn an_error_leaves_the_head_as_it_was() {
    let mut head = started(b"200 OK");
    head.header(b"X-Note", b"v").unwrap();
    let before = head.as_bytes().to_vec();
    for (name, value) in [("X Note", "v"), ("X-Note", "\n"), ("TE", "x"), ("Status", "1"), ("Content-Length", "x")] {
        assert!(head.header(name.as_bytes(), value.as_bytes()).is_err(), "{name}");
    }
    assert_eq!(head.start(b"500 No"), Err(HeadError::Started));
    assert_eq!((head.as_bytes(), head.code(), head.content_length()), (&before[..], 200, None));

    let mut empty = ResponseHead::new();
    assert!(empty.start(b"99").is_err());
    assert_eq!((empty.as_bytes(), empty.code(), empty.is_started()), (&b""[..], 0, false));
}

#[test]
fn nothing_is_added_out_of_turn() {
    let mut head = ResponseHead::new();
    assert_eq!(head.header(b"X-Note", b"v"), Err(HeadError::NotStarted));
    assert_eq!(head.finish(Some(1)), b"");
    assert!(!head.is_started());

    head.start(b"200 OK").unwrap();
    let finished = head.finish(None).to_vec();
    assert_eq!(head.header(b"X-Note", b"v"), Err(HeadError::Finished));
    assert_eq!(head.start(b"200 OK"), Err(HeadError::Started));
    assert_eq!(head.finish(Some(7)), finished);
}

#[test]
fn a_cleared_head_is_as_new() {
    let mut head = started(b"204 No Content");
    head.header(b"Content-Length", b"5").unwrap();
    head.finish(None);
    head.clear();
    assert_eq!((head.as_bytes(), head.code(), head.content_length()), (&b""[..], 0, None));
    assert!(!head.is_started());
    head.start(b"200 OK").unwrap();
    assert_eq!(head.finish(None), b"HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn an_error_never_carries_what_it_refused() {
    let long = [b'\n'; 10_000];
    let errors = [
        ResponseHead::new().start(&long).unwrap_err(),
        started(b"200 OK").header(&long, b"v").unwrap_err(),
        started(b"200 OK").header(b"Content-Length", &[b'7'; 10_000]).unwrap_err(),
    ];
    for error in errors {
        let message = error.to_string();
        assert!(!message.contains('\n') && message.len() < 400, "{message}");
    }
}

/// Names and values as applications send them, and the bytes attackers hope to get through.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[A-Za-z-]{1,20}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "Content-Length",
            "status",
            "TE",
            "Upgrade",
            "X: y\r\nZ",
            "a\n",
            "\0",
            "",
            "7",
            "007"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn a_head_has_exactly_the_lines_asked_for(
        status in prop_oneof![Just(b"200 OK".to_vec()), Just(b"304".to_vec()), hostile()],
        headers in vec((hostile(), hostile()), 0..12),
        length: Option<u64>,
    ) {
        let mut head = ResponseHead::new();
        let mut lines = Vec::new();
        if head.start(&status).is_ok() {
            let space: &[u8] = if status.len() == 3 { b" " } else { b"" };
            lines.push([b"HTTP/1.1 ", &status[..], space].concat());
        }
        for (name, value) in &headers {
            let accepted = head.header(name, value).is_ok();
            if accepted && !name.eq_ignore_ascii_case(b"content-length") {
                lines.push([&name[..], b": ", value].concat());
            }
        }
        let bytes = head.finish(length).to_vec();
        lines.extend(head.content_length().map(|n| format!("Content-Length: {n}").into_bytes()));
        prop_assert!(lines.iter().flatten().all(|byte| !b"\r\n\0".contains(byte)));
        let end = if head.is_started() { &b"\r\n\r\n"[..] } else { b"" };
        let expected = [lines.join(&b"\r\n"[..]), end.to_vec()].concat();
        prop_assert_eq!(bytes, expected);
    }
}
