//! Random packets become the same environ in rusgi and in uWSGI, but for the differences listed here.
//!
//! `RUSGI_TEST_UWSGI` names the uWSGI, else it is where `make test` puts it.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use crate::{
    call::call,
    support::{
        daemon::{Daemon, Serve},
        in_repository,
        packet::Packet,
    },
};

/// The same packets every time, so that a difference found once is found again.
const SEED: u64 = 0x5eed;
const PACKETS: usize = 400;

type Vars = Vec<(String, Vec<u8>)>;
type Environ = BTreeMap<String, String>;

/// One key whose values differ; `None` is a key that is not there.
struct Difference<'a> {
    vars: &'a Vars,
    key: &'a str,
    ours: Option<&'a str>,
    theirs: Option<&'a str>,
}

/// A difference that is meant: what it is, and how it is recognized.
type Intention = (&'static str, fn(&Difference<'_>) -> bool);

const INTENTIONS: [Intention; 9] = [
    ("keys of the server's own name are the server's own", |it| {
        it.key.starts_with("uwsgi.") || it.key.starts_with("rusgi.")
    }),
    ("the input always ends, and rusgi says so", |it| it.key == "wsgi.input_terminated" && it.ours == Some("True")),
    ("the scheme is UWSGI_SCHEME, else HTTPS, else REQUEST_SCHEME, and never a header", |it| {
        it.key == "wsgi.url_scheme" && it.ours == Some(it.scheme())
    }),
    ("a repeated request header is joined, not overwritten", |it| {
        it.key.starts_with("HTTP_") && it.count(it.key) > 1 && it.ours == Some(&it.joined())
    }),
    ("what deceives applications is left out", |it| {
        let deceiving = ["HTTP_PROXY", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"];
        deceiving.contains(&it.key) && it.ours.is_none()
    }),
    ("an empty CONTENT_TYPE or CONTENT_LENGTH is left out", |it| {
        ["CONTENT_TYPE", "CONTENT_LENGTH"].contains(&it.key) && it.ours.is_none() && it.theirs == Some("")
    }),
    ("what PEP 3333 demands is completed where it is missing or empty", |it| {
        let demanded = [
            "REQUEST_METHOD",
            "PATH_INFO",
            "QUERY_STRING",
            "SERVER_NAME",
            "SERVER_PORT",
            "SERVER_PROTOCOL",
            "SCRIPT_NAME",
        ];
        demanded.contains(&it.key) && it.theirs.is_none_or(str::is_empty) && it.ours.is_some()
    }),
    ("SCRIPT_NAME never ends in a slash", |it| {
        it.key == "SCRIPT_NAME" && it.theirs.and_then(|theirs| theirs.strip_suffix('/')) == it.ours
    }),
    ("a peer sets no key of the server", |it| it.key.starts_with("wsgi.") && it.count(it.key) > 0 && it.ours.is_none()),
];

impl Difference<'_> {
    /// How often the packet has `key`.
    fn count(&self, key: &str) -> usize {
        self.vars.iter().filter(|(name, _)| name == key).count()
    }

    /// The values that the packet has for `key`, as Python would show them.
    fn values(&self, key: &str) -> Vec<String> {
        let values = self.vars.iter().filter(|(name, _)| name == key).map(|(_, value)| value);
        values.map(|value| value.iter().map(|byte| char::from(*byte)).collect()).collect()
    }

    fn joined(&self) -> String {
        self.values(self.key).join(if self.key == "HTTP_COOKIE" { "; " } else { ", " })
    }

    fn scheme(&self) -> &'static str {
        let last =
            |key: &str| self.values(key).pop().filter(|value| !value.is_empty()).map(|value| value.to_lowercase());
        let is_https = match (last("UWSGI_SCHEME"), last("HTTPS"), last("REQUEST_SCHEME")) {
            (Some(scheme), _, _) | (None, None, Some(scheme)) => scheme == "https",
            (None, https, _) => https.is_some_and(|https| ["on", "1", "true", "yes"].contains(&https.as_str())),
        };
        if is_https { "https" } else { "http" }
    }
}

#[test]
#[ignore = "needs uWSGI: run by make test and make conformance"]
fn random_packets_become_the_same_environ_as_in_uwsgi_but_for_what_is_meant() {
    let ours = Serve::app("echo").start();
    let theirs = uwsgi();
    let mut random = Random(SEED);
    let mut used = [0_usize; INTENTIONS.len()];
    for number in 0..PACKETS {
        let vars = random.vars();
        let packet = vars.iter().fold(Packet::bare(), |packet, (key, value)| packet.var(key, value));
        let (our, their) = (environ(&ours, &packet), environ(&theirs, &packet));
        for key in our.keys().chain(their.keys()) {
            let value = |environ: &Environ| environ.get(key).cloned();
            if value(&our) == value(&their) {
                continue;
            }
            let difference = Difference {
                vars: &vars,
                key,
                ours: our.get(key).map(String::as_str),
                theirs: their.get(key).map(String::as_str),
            };
            let meant = INTENTIONS.iter().position(|(_, is_meant)| is_meant(&difference));
            let meant = meant.unwrap_or_else(|| {
                panic!("packet {number}: {key}: {:?} here, {:?} in uWSGI\n{vars:?}", difference.ours, difference.theirs)
            });
            used[meant] += 1;
        }
    }
    for ((intention, _), count) in INTENTIONS.iter().zip(used) {
        println!("{count:6} times: {intention}");
        assert!(count > 0, "never seen, so not proven: {intention}");
    }
}

#[test]
#[ignore = "needs uWSGI: run by make test and make conformance"]
fn a_call_to_uwsgi_is_answered_as_one_to_rusgi() {
    for daemon in [Serve::app("echo").start(), uwsgi()] {
        let shown = call(daemon.address(), &["/a%20b?c", "-d", "body", "-H", "X-Part: 1"]).expect(0);
        let texts = &serde_json::from_str::<Value>(&shown.text()).unwrap()["texts"];
        let seen =
            ["REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_X_PART"].map(|key| &texts[key]);
        assert_eq!(seen, ["POST", "/a b", "c", "4", "1"]);
    }
}

/// uWSGI with the same application.
fn uwsgi() -> Daemon {
    let named = std::env::var_os("RUSGI_TEST_UWSGI").map(PathBuf::from);
    let program = named.unwrap_or_else(|| in_repository("target/peers/bin/uwsgi"));
    assert!(program.exists(), "{}: missing; run `make conformance`, or set RUSGI_TEST_UWSGI", program.display());
    let script = in_repository("tests/conformance/serve.py");
    let serve = Serve::run_by("python3", &script, "echo").option("--pythonpath", in_repository("tests/apps"));
    serve.workers(1).env("PEER", program).start()
}

/// What the application sees, but for the objects of which every server has its own.
fn environ(daemon: &Daemon, packet: &Packet) -> Environ {
    // Not by its status line, in which uWSGI repeats SERVER_PROTOCOL.
    let shown = daemon.ask(packet).json();
    let texts = ["texts", "others"].into_iter().flat_map(|part| shown[part].as_object().unwrap().clone());
    let text = |value: Value| value.as_str().unwrap().to_owned();
    texts.filter(|(key, _)| !OBJECTS.contains(&key.as_str())).map(|(key, value)| (key, text(value))).collect()
}

const OBJECTS: [&str; 3] = ["wsgi.input", "wsgi.errors", "wsgi.file_wrapper"];

/// Keys that mean something to a server or a framework. Not among them: what orders uWSGI to load or read something.
const KEYS: [&str; 37] = [
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "SCRIPT_NAME",
    "CONTENT_TYPE",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
    "DOCUMENT_ROOT",
    "HTTPS",
    "REQUEST_SCHEME",
    "UWSGI_SCHEME",
    "UWSGI_ROUTER",
    "HTTP_HOST",
    "HTTP_COOKIE",
    "HTTP_ACCEPT",
    "HTTP_USER_AGENT",
    "HTTP_CONNECTION",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_PROXY",
    "HTTP_CONTENT_TYPE",
    "HTTP_CONTENT_LENGTH",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X.DOT",
    "http_lower",
    "wsgi.version",
    "wsgi.unheard_of",
    "wsgi.run_once",
    "wsgi.url_scheme",
    "custom.key",
];

const VALUES: [&str; 14] = [
    "",
    "/",
    "/a%20b",
    "/app/",
    "GET",
    "on",
    "off",
    "https",
    "http",
    "1",
    "example.org:81",
    "a=1; b=2",
    "HTTP/2.0",
    "text/plain",
];

/// A generator of packets.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn vars(&mut self) -> Vars {
        let count = 1 + self.below(24);
        let mut vars: Vars = std::iter::repeat_with(|| self.var()).take(count).collect();
        // A body would have to follow.
        vars.push((String::from("CONTENT_LENGTH"), [&b""[..], b"0"][self.below(2)].to_vec()));
        vars
    }

    fn var(&mut self) -> (String, Vec<u8>) {
        let (key, value) = (self.key(), self.value());
        // uWSGI crashes when what it takes the scheme from is not UTF-8.
        let is_scheme = ["UWSGI_SCHEME", "REQUEST_SCHEME", "HTTP_X_FORWARDED_PROTO"].contains(&key.as_str());
        let value = if is_scheme && !value.is_ascii() { b"https".to_vec() } else { value };
        (key, value)
    }

    fn key(&mut self) -> String {
        match self.below(5) {
            0 => format!("HTTP_X_{}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ".split_at(self.below(26)).1),
            _ => String::from(KEYS[self.below(KEYS.len())]),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => {
                let length = self.below(40);
                std::iter::repeat_with(|| u8::try_from(self.below(256)).unwrap()).take(length).collect()
            }
            _ => VALUES[self.below(VALUES.len())].as_bytes().to_vec(),
        }
    }
}
