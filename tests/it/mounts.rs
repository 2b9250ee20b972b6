//! `--mount` serves several applications in one process, each below its path.

use crate::support::{
    daemon::{Daemon, Serve},
    nginx::Nginx,
    packet::Packet,
};

/// `echo` at `/`, and below three paths applications that answer with their names.
fn mounted() -> Serve {
    Serve::app("echo")
        .option("--mount", "/api=targets:application")
        .option("--mount", "/api/v2=targets:other")
        .option("--mount", "/made/=targets:factory()")
        .option("--mount", "/echo=echo")
}

fn answer(daemon: &Daemon, path: &str) -> String {
    let text = daemon.get(path).text();
    if text.starts_with('{') { String::from("echo") } else { text }
}

#[test]
fn each_path_is_answered_by_the_application_mounted_deepest_above_it() {
    for daemon in [mounted().start(), mounted().flag("--preload").start()] {
        for (path, wanted) in [
            ("/", "echo"),
            ("/api", "the default"),
            ("/api/", "the default"),
            ("/api/v1", "the default"),
            ("/api/v2", "another"),
            ("/api/v2/", "another"),
            ("/api/v22", "the default"),
            ("/apis", "echo"),
            ("/API", "echo"),
            ("/made", "made by a factory"),
            ("/made/x", "made by a factory"),
            ("/x/api", "echo"),
        ] {
            assert_eq!(answer(&daemon, path), wanted, "{path}");
        }
    }
}

#[test]
fn pep3333_a_mounted_application_sees_its_prefix_as_script_name() {
    let daemon = mounted().start();
    for (outer, path, script_name, path_info) in [
        ("", "/echo/a/b", "/echo", "/a/b"),
        ("", "/echo", "/echo", ""),
        ("", "/echo/", "/echo", "/"),
        ("/outer", "/echo/a", "/outer/echo", "/a"),
        ("", "/echoes", "", "/echoes"),
        ("", "/elsewhere", "", "/elsewhere"),
    ] {
        let packet = Packet::get("/").var("SCRIPT_NAME", outer).var("PATH_INFO", path);
        let texts = daemon.ask(&packet).expect(200).json()["texts"].clone();
        assert_eq!((&texts["SCRIPT_NAME"], &texts["PATH_INFO"]), (&script_name.into(), &path_info.into()), "{path}");
    }
}

#[test]
fn a_mounted_application_is_reached_through_nginx() {
    let daemon = mounted().start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    assert_eq!(nginx.browser().get("/api/v2/x").expect(200).text(), "another");
    let texts = nginx.browser().get("/echo/caf%C3%A9%2Fx?q=%2F").expect(200).json()["texts"].clone();
    assert_eq!(texts["SCRIPT_NAME"], "/echo");
    assert_eq!(texts["PATH_INFO"], "/caf\u{c3}\u{a9}/x");
    assert_eq!(texts["QUERY_STRING"], "q=%2F");
    nginx.expect_no_errors();
}

#[test]
fn a_mount_that_makes_no_sense_is_a_configuration_error() {
    for mount in ["", "/api", "api=echo", "/=echo", "/a//b=echo", "/api=", "/api=2x"] {
        let stopped = Serve::app("echo").option("--mount", mount).fail().expect(78);
        assert!(stopped.log.contains("--mount"), "{mount}: {}", stopped.log);
    }
}

#[test]
fn two_mounts_at_one_path_are_a_configuration_error() {
    let twice = Serve::app("echo").option("--mount", "/a=targets:other").option("--mount", "/a/=targets:application");
    let stopped = twice.fail().expect(78);
    assert!(stopped.log.contains("/a"), "{}", stopped.log);
}

#[test]
fn a_mounted_application_that_cannot_be_loaded_is_named() {
    let stopped = Serve::app("echo").option("--mount", "/api=no_such_module:app").fail().expect(3);
    assert!(stopped.log.contains("no_such_module"), "{}", stopped.log);
}
