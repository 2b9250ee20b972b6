//! A worker that has warmed up serves a plain request without allocating memory of ours.
//!
//! Python's own objects are CPython's business: it does not allocate through Rust. This is a program of its own because it
//! brings an allocator that counts, and runs a whole worker on its main thread.
#![expect(unsafe_code, reason = "an allocator is implemented by an unsafe trait")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    env, fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rusgi::{
    Door,
    channel::{Channel, Message},
    config::{Address, Admission, App, Limits, Listen, Range, Recycling, Workers},
    net::listener::Listener,
    observe::scoreboard::Scoreboard,
    python,
    worker::{self, Work},
};
use rusgi_proto::{Modifier1, PacketBuilder};

/// Requests before and while allocations are counted.
const WARM_UP: usize = 200;
const COUNTED: usize = 1000;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the thread that serves.
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if SERVES.get() {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the conditions of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the conditions of this very function.
        unsafe { System.dealloc(start, layout) }
    }
}

fn main() {
    let socket = env::temp_dir().join(format!("rusgi-allocations-{}.sock", process::id()));
    let (ours, theirs) = Channel::pair().unwrap();
    let work = work(&socket);
    let client = {
        let socket = socket.clone();
        thread::spawn(move || {
            let ready = ours.recv().unwrap().map(|(message, _)| message);
            assert!(matches!(ready, Some(Message::Ready)), "{ready:?}");
            let counted = counted(&socket);
            // The worker drains when nobody commands it any more.
            drop(ours);
            counted
        })
    };
    SERVES.set(true);
    let code = worker::run(work, theirs);
    SERVES.set(false);
    let counted = client.join();
    fs::remove_file(&socket).unwrap();
    assert_eq!((code, counted.unwrap()), (0, 0), "exit code, allocations in {COUNTED} requests");
    println!("test result: ok. 1 passed; 0 failed; no allocation in {COUNTED} requests after {WARM_UP}");
}

/// How many allocations the worker makes for requests in a row.
fn counted(socket: &Path) -> usize {
    let packets = [packet("/"), packet("/a/longer/path?with=a&query=1")];
    let ask = |number: usize| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&packets[number % 2]).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.ends_with("\r\n\r\nHello, world!\n"), "{response}");
    };
    (0..WARM_UP).for_each(ask);
    let before = COUNT.load(Ordering::Relaxed);
    (0..COUNTED).for_each(ask);
    COUNT.load(Ordering::Relaxed) - before
}

/// A browser's request, as nginx hands it on.
fn packet(target: &str) -> Vec<u8> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let vars = [
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", "GET"),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", target),
        ("PATH_INFO", path),
        ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "45678"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "localhost"),
        ("HTTP_HOST", "localhost"),
        ("HTTP_USER_AGENT", "Mozilla/5.0"),
        ("HTTP_COOKIE", "sessionid=0123456789"),
    ];
    let packet = PacketBuilder::new(Modifier1::WSGI);
    vars.iter().fold(packet, |packet, (name, value)| packet.var(name.as_bytes(), value.as_bytes()).unwrap()).encode()
}

fn work(socket: &Path) -> Work {
    let listen = Listen {
        addresses: vec![Address::Unix(socket.to_path_buf())],
        is_default: false,
        socket_mode: 0o600,
        socket_owner: None,
        backlog: 16,
        admission: Admission::default(),
    };
    let app = App {
        target: "app:application".parse().unwrap(),
        mounts: Vec::new(),
        chdir: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello")),
        pythonpath: Vec::<PathBuf>::new(),
        virtualenv: None,
        user: None,
        preload: false,
    };
    python::start(Door::Embedded, &app).map_err(|failure| failure.to_string()).expect("CPython");
    let second = Duration::from_secs(1);
    Work {
        app,
        loaded: None,
        listeners: vec![Listener::bind(&listen.addresses[0], &listen).unwrap()],
        workers: Workers {
            range: Range::fixed(1),
            scale_down_after: 30 * second,
            threads: 1,
            switch_interval: None,
            stop_timeout: 5 * second,
            request_timeout: Some(55 * second),
            timeout_grace: 5 * second,
            queue_timeout: None,
        },
        limits: Limits {
            body_buffer: 256 * 1024,
            max_body: None,
            body_timeout: 30 * second,
            head_timeout: 10 * second,
            write_timeout: 60 * second,
        },
        recycling: Recycling::default(),
        warmup: Vec::new(),
        scoreboard: Scoreboard::new(1, 1).unwrap(),
        slot: 1,
    }
}
