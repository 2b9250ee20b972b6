//! What a real nginx 1.22.1 sent, var by var; `captures/capture.py` makes the files anew.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

use rusgi_proto::{Fault, Modifier1, Packet, ParseError, Parsed};

type Var<'a> = (&'a str, &'a [u8]);

/// A request as the stock `uwsgi_params` describe it.
#[derive(Default)]
struct Stock<'a> {
    query: &'a str,
    method: &'a str,
    content_type: &'a str,
    content_length: &'a str,
    uri: &'a [u8],
    path: &'a [u8],
}

const GET: Stock<'_> = Stock { query: "", method: "GET", content_type: "", content_length: "", uri: b"", path: b"" };

impl<'a> Stock<'a> {
    fn get(uri: &'a str) -> Self {
        Self { uri: uri.as_bytes(), path: uri.as_bytes(), ..GET }
    }

    /// All vars in nginx's order; the ports, new in each capture, are left empty.
    fn followed_by(self, more: &[Var<'a>]) -> Vec<Var<'a>> {
        let stock: [Var<'a>; 14] = [
            ("QUERY_STRING", self.query.as_bytes()),
            ("REQUEST_METHOD", self.method.as_bytes()),
            ("CONTENT_TYPE", self.content_type.as_bytes()),
            ("CONTENT_LENGTH", self.content_length.as_bytes()),
            ("REQUEST_URI", self.uri),
            ("PATH_INFO", self.path),
            ("DOCUMENT_ROOT", b"/srv/www"),
            ("SERVER_PROTOCOL", b"HTTP/1.1"),
            ("REQUEST_SCHEME", b"http"),
            ("REMOTE_ADDR", b"127.0.0.1"),
            ("REMOTE_PORT", b""),
            ("SERVER_PORT", b""),
            ("SERVER_NAME", b"shop.example"),
            ("HTTP_HOST", b"shop.example"),
        ];
        [&stock, more].concat()
    }
}

/// Asserts that the capture is one packet with exactly these vars, followed by exactly this body.
fn assert_capture(capture: &[u8], modifier1: Modifier1, vars: &[Var<'_>], body: &[u8]) {
    let Parsed::Complete { packet, rest } = Packet::parse(capture).unwrap() else {
        panic!("capture is cut short");
    };
    assert_eq!(packet.header.modifier1, modifier1);
    assert_eq!(packet.header.modifier2, 0);
    assert_eq!(usize::from(packet.header.datasize), packet.vars.as_bytes().len());
    let sent: Vec<_> = packet.vars.iter().map(without_port).collect();
    let expected: Vec<_> = vars.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
    assert_eq!(sent, expected, "{:?}", packet.vars);
    assert_eq!(rest, body);
    assert_eq!([&packet.encode(), rest].concat(), capture);
}

fn without_port<'a>((key, value): (&'a [u8], &'a [u8])) -> (&'a [u8], &'a [u8]) {
    if key != b"REMOTE_PORT" && key != b"SERVER_PORT" {
        return (key, value);
    }
    let port: u16 = str::from_utf8(value).unwrap().parse().unwrap();
    assert_ne!(port, 0, "{}", key.escape_ascii());
    (key, b"")
}

fn assert_wsgi(capture: &[u8], vars: &[Var<'_>], body: &[u8]) {
    assert_capture(capture, Modifier1::WSGI, vars, body);
}

#[test]
fn a_browsers_get() {
    let request = Stock { query: "sort=name&page=2", uri: b"/items/7?sort=name&page=2", path: b"/items/7", ..GET };
    let vars = request.followed_by(&[
        ("HTTP_USER_AGENT", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("HTTP_ACCEPT", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("HTTP_ACCEPT_LANGUAGE", b"en-GB,en;q=0.5"),
        ("HTTP_ACCEPT_ENCODING", b"gzip, deflate, br"),
        ("HTTP_CONNECTION", b"keep-alive"),
        ("HTTP_REFERER", b"http://shop.example/"),
        ("HTTP_COOKIE", b"sessionid=38afes7a8; csrftoken=u32t4o3tb3gg43"),
        ("HTTP_UPGRADE_INSECURE_REQUESTS", b"1"),
        ("HTTP_CACHE_CONTROL", b"max-age=0"),
        ("HTTP_X_FORWARDED_FOR", b"192.0.2.7"),
    ]);
    assert_eq!(vars.len(), 24);
    assert_wsgi(include_bytes!("captures/get.bin"), &vars, b"");
}

#[test]
fn a_form_and_its_body() {
    const TYPE: &str = "application/x-www-form-urlencoded";
    let request = Stock { method: "POST", content_type: TYPE, content_length: "27", ..Stock::get("/login") };
    let headers: [Var<'_>; 2] = [("HTTP_CONTENT_TYPE", TYPE.as_bytes()), ("HTTP_CONTENT_LENGTH", b"27")];
    let body = b"name=ada&word=a%20b&again=1";
    assert_wsgi(include_bytes!("captures/form.bin"), &request.followed_by(&headers), body);
}

#[test]
fn a_chunked_upload_arrives_with_its_length() {
    let request = Stock { method: "PUT", content_length: "12", ..Stock::get("/upload") };
    let vars = request.followed_by(&[("HTTP_TRANSFER_ENCODING", b"chunked")]);
    assert_wsgi(include_bytes!("captures/chunked.bin"), &vars, b"first second");
}

#[test]
fn long_headers_need_both_length_bytes() {
    let (long, longer) = ([b'a'; 255], [b'b'; 8000]);
    let vars = Stock::get("/long").followed_by(&[("HTTP_X_LONG", &long), ("HTTP_X_LONGER", &longer)]);
    assert_wsgi(include_bytes!("captures/long_headers.bin"), &vars, b"");
}

#[test]
fn duplicate_headers_are_all_kept() {
    let capture = include_bytes!("captures/duplicates.bin");
    let vars = Stock::get("/twice").followed_by(&[
        ("HTTP_X_NOTE", b"one"),
        ("HTTP_COOKIE", b"a=1"),
        ("HTTP_X_NOTE", b"two"),
        ("HTTP_COOKIE", b"b=2"),
        ("HTTP_ACCEPT", b"text/html"),
        ("HTTP_ACCEPT", b"text/plain"),
    ]);
    assert_wsgi(capture, &vars, b"");
}

#[test]
fn a_path_is_bytes_not_text() {
    let request = Stock {
        query: "q=%C3%BC",
        uri: "/caf%C3%A9/€/%0d%0a?q=%C3%BC".as_bytes(),
        path: "/café/€/\r\n".as_bytes(),
        ..GET
    };
    let vars = request.followed_by(&[("HTTP_X_NAME", "Zoë".as_bytes())]);
    assert_wsgi(include_bytes!("captures/unicode.bin"), &vars, b"");
}

#[test]
fn forty_cookies_are_one_var() {
    let cookies: Vec<_> = (0..40).map(|n| format!("cookie{n}=value{n}")).collect();
    let cookie = cookies.join("; ");
    let vars = Stock::get("/cookies").followed_by(&[("HTTP_COOKIE", cookie.as_bytes())]);
    assert_wsgi(include_bytes!("captures/cookies.bin"), &vars, b"");
}

#[test]
fn a_block_of_65535_bytes_is_whole() {
    let capture = include_bytes!("captures/ceiling.bin");
    assert_eq!(capture.len(), 4 + 65_535);
    let fill = [b'f'; 9000];
    let names: Vec<_> = (0..7).map(|n| format!("HTTP_X_FILL_{n}")).collect();
    let mut more: Vec<Var<'_>> = names.iter().map(|name| (name.as_str(), &fill[..])).collect();
    let Ok(Parsed::Complete { packet, .. }) = Packet::parse(capture) else { panic!("no packet") };
    let last = vec![b'l'; packet.vars.get(b"HTTP_X_LAST").unwrap().len()];
    more.push(("HTTP_X_LAST", &last));
    assert_wsgi(capture, &Stock::get("/ceiling").followed_by(&more), b"");
}

#[test]
fn modifier1_30_keeps_the_script_name_in_the_path() {
    let vars = Stock::get("/app/page").followed_by(&[("SCRIPT_NAME", b"/app")]);
    let capture = include_bytes!("captures/manage_path_info.bin");
    assert_capture(capture, Modifier1::MANAGE_PATH_INFO, &vars, b"");
}

#[test]
fn a_location_without_params_sends_no_vars() {
    assert_wsgi(include_bytes!("captures/empty.bin"), &[], b"");
}

#[test]
fn bytes_appended_by_uwsgi_string_are_refused() {
    let refused = Packet::parse(include_bytes!("captures/refused/uwsgi_string.bin"));
    let what = Fault::KeyOverrun { length: u16::from_le_bytes(*b"ta"), left: 2 };
    assert_eq!(refused, Err(ParseError { what, offset: 4 + b"..KEY..value".len() }));
}

#[test]
fn a_param_name_of_300_bytes_arrives_with_a_wrong_length_and_is_refused() {
    let refused = Packet::parse(include_bytes!("captures/refused/long_name.bin"));
    let kept = 300 % 256;
    let left = 300 - kept - b"NN".len() + b"..value".len();
    let what = Fault::ValueOverrun { length: u16::from_le_bytes(*b"NN"), left };
    assert_eq!(refused, Err(ParseError { what, offset: 4 + 2 + kept }));
}
