//! The parts of a request, each alone: `cargo bench`.
//!
//! What an environ costs is the difference between `call` with and without vars.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

use std::{env, fs, hint::black_box, io::IoSlice, os::fd::BorrowedFd, path::PathBuf, process, sync::Arc};

use divan::{Bencher, counter::BytesCount};
use rusgi::{
    Door,
    config::App,
    observe::scoreboard::Scoreboard,
    python::{self, Desk, Facts},
    request::{BodyError, Framing, Inbound, Request},
    response::{Exchange, Gone, Outbound, Part, Patience},
    room::Room,
};
use rusgi_proto::{Modifier1, Packet, PacketBuilder, Parsed, ResponseHead, Vars};

/// Vars of nginx's `uwsgi_params`, then headers of a browser.
const VARS: [(&str, &str); 24] = [
    ("QUERY_STRING", "page=2"),
    ("REQUEST_METHOD", "GET"),
    ("CONTENT_TYPE", ""),
    ("CONTENT_LENGTH", ""),
    ("REQUEST_URI", "/articles/2026/?page=2"),
    ("PATH_INFO", "/articles/2026/"),
    ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
    ("SERVER_PROTOCOL", "HTTP/1.1"),
    ("REQUEST_SCHEME", "http"),
    ("REMOTE_ADDR", "192.0.2.7"),
    ("REMOTE_PORT", "45678"),
    ("SERVER_PORT", "80"),
    ("SERVER_NAME", "localhost"),
    ("HTTP_HOST", "www.example.org"),
    ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("HTTP_ACCEPT_LANGUAGE", "en-US,en;q=0.5"),
    ("HTTP_ACCEPT_ENCODING", "gzip, deflate, br"),
    ("HTTP_CONNECTION", "keep-alive"),
    ("HTTP_COOKIE", "sessionid=abcdefghijklmnopqrstuvwxyz; csrftoken=0123456789"),
    ("HTTP_SEC_FETCH_DEST", "document"),
    ("HTTP_SEC_FETCH_MODE", "navigate"),
    ("HTTP_SEC_FETCH_SITE", "none"),
    ("HTTP_DNT", "1"),
];

const APPLICATION: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '14')])
    return [b'Hello, world!\\n']
";

fn main() {
    divan::main();
}

/// A packet with the first `count` vars.
fn packet(count: usize) -> Vec<u8> {
    let vars = VARS.iter().take(count);
    let packet = PacketBuilder::new(Modifier1::WSGI);
    vars.fold(packet, |packet, (name, value)| packet.var(name.as_bytes(), value.as_bytes()).unwrap()).encode()
}

#[divan::bench(args = [0, 13, 24])]
fn parse(bencher: Bencher<'_, '_>, vars: usize) {
    let bytes = packet(vars);
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        let Ok(Parsed::Complete { packet, .. }) = Packet::parse(black_box(&bytes)) else { panic!("no packet") };
        packet.vars.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    });
}

#[divan::bench(args = [2, 12])]
fn response_head(bencher: Bencher<'_, '_>, headers: usize) {
    let mut head = ResponseHead::new();
    bencher.bench_local(|| {
        head.clear();
        head.start(black_box(b"200 OK")).unwrap();
        for _ in 0..headers {
            head.header(black_box(b"X-Content-Type-Options"), black_box(b"nosniff")).unwrap();
        }
        head.finish(Some(14)).len()
    });
}

/// The request with so many vars, from packet to the last byte of the response; nothing is sent.
#[divan::bench(args = [0, 13, 24], sample_size = 1000)]
fn call(bencher: Bencher<'_, '_>, vars: usize) {
    let application = application();
    let row = Scoreboard::new(1, 1).unwrap().claim(1, None).unwrap().remove(0);
    let facts = Facts { multithread: false, multiprocess: false };
    let mut desk = Desk::new(application, facts, row).unwrap();
    let exchange: Arc<dyn Exchange> = Arc::new(Sink { block: packet(vars).split_off(4) });
    bencher.bench_local(|| desk.serve(&exchange));
}

fn application() -> python::Application {
    let folder = env::temp_dir().join(format!("rusgi-parts-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("parts_app.py"), APPLICATION).unwrap();
    let app = App {
        target: "parts_app:application".parse().unwrap(),
        mounts: Vec::new(),
        chdir: Some(folder.clone()),
        pythonpath: Vec::<PathBuf>::new(),
        virtualenv: None,
        user: None,
        preload: false,
    };
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| python::start(Door::Embedded, &app).map_err(|failure| failure.to_string()).expect("CPython"));
    let application = python::load(&app).map_err(|failure| failure.to_string()).expect("the application");
    fs::remove_dir_all(&folder).unwrap();
    application
}

/// A request without a body whose response goes nowhere.
struct Sink {
    block: Vec<u8>,
}

impl Inbound for Sink {
    fn with_request(&self, see: &mut dyn FnMut(&Request<'_>)) {
        see(&Request { vars: Vars::checked(&self.block), framing: Framing::default() });
    }

    fn body_left(&self) -> u64 {
        0
    }

    fn read_body(&self, _: &mut Room<'_>) -> Result<bool, BodyError> {
        Ok(true)
    }

    fn await_body(&self) -> Result<(), BodyError> {
        Ok(())
    }

    fn seal_body(&self) {}

    fn is_body_coming(&self) -> bool {
        false
    }

    fn request_id(&self) -> String {
        String::new()
    }

    fn is_peer_gone(&self) -> bool {
        false
    }
}

impl Outbound for Sink {
    fn try_write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Gone> {
        Ok(parts.iter().map(|part| part.len()).sum())
    }

    fn await_writable(&self, _: Patience) -> Result<bool, Gone> {
        Ok(true)
    }

    fn try_send_file(&self, _: BorrowedFd<'_>, _: u64, count: u64) -> Result<Option<usize>, Gone> {
        Ok(usize::try_from(count).ok())
    }

    fn hand_over(&self, _: Vec<Part>) {}
}

impl Exchange for Sink {}
