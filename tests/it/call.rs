//! `rusgi call` is curl for uwsgi sockets: what was answered, or an exit code that says why nothing was.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::{Command, Stdio},
    thread,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::support::{
    daemon::{Serve, executable},
    scratch::Scratch,
};

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Called {
    code: Option<i32>,
    out: Vec<u8>,
    said: String,
}

impl Called {
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

pub(crate) fn call(address: &str, arguments: &[&str]) -> Called {
    call_with_input(address, arguments, b"")
}

fn call_with_input(address: &str, arguments: &[&str], input: &[u8]) -> Called {
    let mut command = Command::new(executable());
    command.arg("call").arg(address).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    Called { code: output.status.code(), out: output.stdout, said: String::from_utf8(output.stderr).unwrap() }
}

/// A server that answers one request with `answer` and hangs up; returns its address.
fn answering(scratch: &Scratch, answer: impl Into<Vec<u8>>) -> String {
    let path = scratch.join("peer.sock");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let answer = answer.into();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut header = [0; 4];
        stream.read_exact(&mut header).unwrap();
        stream.read_exact(&mut vec![0; usize::from(u16::from_le_bytes([header[1], header[2]]))]).unwrap();
        stream.write_all(&answer).unwrap();
    });
    format!("unix:{}", path.display())
}

#[test]
fn a_call_writes_the_body_on_either_kind_of_socket() {
    for serve in [Serve::app("hello"), Serve::app("hello").on_tcp()] {
        let daemon = serve.start();
        let called = call(daemon.address(), &[]).expect(0);
        assert_eq!((called.text(), called.said), ("Hello, world!\n".to_owned(), String::new()));
    }
}

#[test]
fn a_call_sends_what_nginx_would_and_what_was_asked_for() {
    let daemon = Serve::app("mirror").start();
    let options =
        ["/./environ?a=%20b", "-H", "X-Part: 1", "-H", "x-part: 2", "-H", "Accept:", "-H", "Host: shop.example"];
    let vars =
        ["--var", "REMOTE_ADDR=192.0.2.7", "--var", "HTTPS=on", "--var", "SCRIPT_NAME=/shop", "--var", "DOCUMENT_ROOT"];
    let called = call(daemon.address(), &[options.as_slice(), &vars].concat()).expect(0);
    let texts = &serde_json::from_slice::<serde_json::Value>(&called.out).unwrap()["texts"];
    assert_eq!((&texts["REQUEST_METHOD"], &texts["PATH_INFO"]), (&"GET".into(), &"/environ".into()));
    assert_eq!((&texts["REQUEST_URI"], &texts["QUERY_STRING"]), (&"/./environ?a=%20b".into(), &"a=%20b".into()));
    assert_eq!((&texts["HTTP_X_PART"], &texts["HTTP_HOST"]), (&"1, 2".into(), &"shop.example".into()));
    assert_eq!((&texts["REMOTE_ADDR"], &texts["SCRIPT_NAME"]), (&"192.0.2.7".into(), &"/shop".into()));
    assert_eq!((&texts["wsgi.url_scheme"], &texts["SERVER_PROTOCOL"]), (&"https".into(), &"HTTP/1.1".into()));
    assert!(texts["HTTP_ACCEPT"].is_null() && texts["DOCUMENT_ROOT"].is_null(), "{texts}");
}

#[test]
fn a_body_comes_from_the_command_line_a_file_or_standard_input() {
    let daemon = Serve::app("mirror").start();
    let large = vec![b'x'; 3_000_000];
    let file = daemon.scratch().join("large");
    fs::write(&file, &large).unwrap();
    assert_eq!(call(daemon.address(), &["/all", "-d", "a=1&b"]).expect(0).text(), "a=1&b");
    assert!(call(daemon.address(), &["/all", "-d", &format!("@{}", file.display())]).expect(0).out == large);
    assert_eq!(
        call_with_input(daemon.address(), &["/all", "-X", "PUT", "-d", "-"], b"piped").expect(0).text(),
        "piped"
    );
    // Answered before anything was read of it.
    assert_eq!(
        call(daemon.address(), &["/none", "-d", &format!("@{}", file.display())]).expect(0).text(),
        "read nothing"
    );
}

#[test]
fn head_and_body_go_where_they_are_wanted() {
    let daemon = Serve::app("respond").start();
    let with_head = call(daemon.address(), &["-i", "/length"]).expect(0).text();
    assert!(with_head.starts_with("HTTP/1.1 200 OK\r\n") && with_head.ends_with("\r\n\r\nhello"), "{with_head}");
    assert_eq!(call(daemon.address(), &["-X", "HEAD", "/length"]).expect(0).text(), "");
    let file = daemon.scratch().join("out");
    assert_eq!(call(daemon.address(), &["/large", "-o", &file.display().to_string()]).expect(0).text(), "");
    assert_eq!(fs::metadata(&file).unwrap().len(), 5 * 1024 * 1024);
    assert_eq!(call(daemon.address(), &["/generator"]).expect(0).text().lines().count(), 5);
    call(daemon.address(), &["/one", "-o", "/nowhere/out"]).expect(23);
}

#[test]
fn a_verbose_call_shows_the_packet_and_the_head() {
    let daemon = Serve::app("respond").start();
    let called = call(daemon.address(), &["-v", "/length", "-d", "abc"]).expect(0);
    assert_eq!(called.text(), "hello");
    let said = called.said;
    for line in [
        "> REQUEST_METHOD=POST",
        "> PATH_INFO=/length",
        "> CONTENT_LENGTH=3",
        "< HTTP/1.1 200 OK",
        "< Content-Length: 5",
    ] {
        assert!(said.lines().any(|other| other == line), "no {line:?} in {said}");
    }
    let sizes = said.lines().find(|line| line.starts_with("> modifier1 0, modifier2 0, ")).unwrap();
    let listed = said.lines().filter(|line| line.starts_with("> ") && line.contains('='));
    let total: usize = listed.map(|line| line.len() - "> =".len() + 4).sum();
    assert!(sizes.ends_with(&format!(" {total} bytes of vars, 3 bytes of body")), "{sizes} {total}");
}

#[test]
fn an_error_status_is_a_failure_when_it_is_meant_to_be_one() {
    let scratch = Scratch::new();
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
    assert_eq!(call(&answering(&scratch, missing), &[]).expect(0).text(), "gone");
    let failed = call(&answering(&scratch, missing), &["--fail"]).expect(22);
    assert!(failed.out.is_empty() && failed.said.contains("404"), "{failed:?}");
    call(&answering(&scratch, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), &["--fail"]).expect(0);
}

#[test]
fn every_way_to_get_no_response_has_its_exit_code() {
    let scratch = Scratch::new();
    call(&format!("unix:{}", scratch.join("nobody.sock").display()), &[]).expect(7);
    for (answer, code) in [
        ("", 52),
        ("HTTP/1.1 200", 18),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", 18),
        ("SSH-2.0-OpenSSH_9.2\r\n", 8),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 8),
    ] {
        let called = call(&answering(&scratch, answer), &[]).expect(code);
        assert!(called.said.starts_with("rusgi: unix:/"), "{called:?}");
    }
    for wrong in [["nowhere", "/"], ["unix:/x", "path"], ["unix:/x", "/%zz"], ["unix:/x", "--header=X"]] {
        call(wrong[0], &wrong[1..]).expect(78);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let scratch = Scratch::new();
    let path = scratch.join("silent.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    call(&path.display().to_string(), &["--timeout", "100ms"]).expect(28);
}

#[test]
fn a_response_that_breaks_is_not_taken_for_whole() {
    let daemon = Serve::app("faults").start();
    let broken = call(daemon.address(), &["/streamed?ValueError"]);
    assert_eq!(broken.expect(18).text(), "the first half");
}

#[test]
fn a_full_listen_queue_holds_up_neither_a_call_nor_a_ping() {
    let scratch = Scratch::new();
    let path = scratch.join("full.sock");
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&socket, 0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let address = path.display().to_string();
    call(&address, &["--timeout", "100ms"]).expect(28);
    let ping = Command::new(executable()).args(["ping", &address, "--timeout", "100ms"]).output().unwrap();
    assert_eq!(ping.status.code(), Some(1), "{ping:?}");
}
