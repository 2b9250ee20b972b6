//! What is served, and in which surroundings, is what the command line says.

use std::{fs, process::Command};

use crate::support::{
    daemon::{Daemon, Serve, executable, is_wheel, python},
    gate::Gate,
    in_repository,
    packet::Packet,
};

/// What `tests/apps/process.py` tells.
fn facts(daemon: &Daemon) -> serde_json::Value {
    daemon.get("/").json()
}

fn answer(serve: Serve) -> String {
    serve.start().get("/").text()
}

#[test]
fn the_callable_is_named_application_unless_told_otherwise() {
    assert_eq!(answer(Serve::app("targets")), "the default");
}

#[test]
fn a_target_names_a_callable_of_a_module() {
    assert_eq!(answer(Serve::app("targets:other")), "another");
    assert_eq!(answer(Serve::app("targets:Holder.inside")), "inside a class");
}

#[test]
fn a_target_may_be_a_factory() {
    assert_eq!(answer(Serve::app("targets:factory()")), "made by a factory");
}

#[test]
fn a_target_may_lie_in_a_package() {
    let serve = Serve::bare("package.inner.module:app").workers(1);
    let folder = serve.scratch().path().to_path_buf();
    serve.scratch().write("package/__init__.py", "");
    serve.scratch().write("package/inner/__init__.py", "");
    serve.scratch().write("package/inner/module.py", &small_app("app", "from a package"));
    assert_eq!(answer(serve.option("--pythonpath", folder)), "from a package");
}

#[test]
fn a_module_named_wsgi_is_no_file() {
    let serve = Serve::bare("website.wsgi").workers(1);
    serve.scratch().write("website/__init__.py", "");
    serve.scratch().write("website/wsgi.py", &small_app("application", "as Django names it"));
    assert_eq!(answer(serve), "as Django names it");
}

#[test]
fn a_target_may_be_a_file() {
    let serve = Serve::bare("site.py").workers(1);
    serve.scratch().write("site.py", &small_app("application", "from a .py file"));
    assert_eq!(answer(serve), "from a .py file");
    let serve = Serve::bare("conf/my-site.wsgi:app").workers(1);
    serve.scratch().write("conf/my-site.wsgi", &small_app("app", "from a .wsgi file"));
    assert_eq!(answer(serve), "from a .wsgi file");
    let path = in_repository("tests/apps/targets.py");
    assert_eq!(answer(Serve::bare(&format!("{}:factory()", path.display())).workers(1)), "made by a factory");
}

#[test]
fn the_working_directory_is_searched_for_modules() {
    let serve = Serve::bare("local").workers(1);
    serve.scratch().write("local.py", &small_app("application", "found here"));
    assert_eq!(answer(serve), "found here");
}

#[test]
fn chdir_is_where_the_application_lives_and_runs() {
    let folder = in_repository("tests/apps").canonicalize().unwrap();
    let daemon = Serve::bare("process").workers(1).option("--chdir", &folder).start();
    assert_eq!(facts(&daemon)["directory"], folder.display().to_string());
}

#[test]
fn pythonpath_is_searched_in_the_order_given() {
    let serve = Serve::bare("twice").workers(1);
    for (folder, text) in [("first", "of the first"), ("second", "of the second")] {
        serve.scratch().write(&format!("{folder}/twice.py"), &small_app("application", text));
    }
    let folders = ["first", "second"].map(|folder| serve.scratch().join(folder));
    assert_eq!(answer(serve.option("--pythonpath", &folders[0]).option("--pythonpath", &folders[1])), "of the first");
}

#[test]
fn virtualenv_is_where_packages_come_from() {
    let target = "process";
    let daemon = Serve::app(target).with_frameworks().start();
    let facts = facts(&daemon);
    let wanted = Command::new(python()).args(["-c", "import flask; print(flask.__path__[0])"]).output().unwrap();
    let flask = String::from_utf8_lossy(&wanted.stdout).trim().to_string();
    let searched = facts["path"].as_array().unwrap();
    let found =
        searched.iter().filter_map(|entry| entry.as_str()).any(|entry| !entry.is_empty() && flask.starts_with(entry));
    assert!(found, "{flask} is not below any of {searched:?}");
}

#[test]
fn workers_run_inside_the_users_python_or_the_embedding_binary() {
    let daemon = Serve::app("process").with_frameworks().start();
    let running = fs::read_link(format!("/proc/{}/exe", daemon.workers()[0])).unwrap();
    let wanted = if is_wheel() { python() } else { executable() };
    assert_eq!(running, wanted.canonicalize().unwrap());
    let virtualenv = python().parent().unwrap().parent().unwrap().to_path_buf();
    assert_eq!(facts(&daemon)["prefix"], virtualenv.display().to_string());
}

#[test]
fn threads_of_the_application_run_on_between_requests() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    daemon.get("/background").expect_body("started");
    gate.await_note("in the background").open();
}

#[test]
fn programs_of_the_application_inherit_no_socket_and_no_blocked_signal() {
    let daemon = Serve::app("respond").start();
    let shown = daemon.get("/program").text();
    assert!(!shown.contains("socket:") && !shown.contains("eventpoll"), "{shown}");
    assert!(shown.contains("SigBlk:\t0000000000000000"), "{shown}");
}

#[test]
fn one_line_says_when_the_daemon_is_ready_and_what_it_serves() {
    let daemon = Serve::app("hello").workers(2).threads(3).start();
    let line = daemon.log.await_line(&["ready:"]);
    for words in ["2 workers", "3 threads", "hello:application", &daemon.pid().to_string()] {
        assert!(line.contains(words), "no {words:?} in {line}");
    }
    daemon.log.await_line(&["listening on", daemon.address()]);
    assert_eq!(daemon.log.with(&["ready:"]).len(), 1);
}

#[test]
fn ready_is_said_only_when_the_application_is_loaded() {
    let gate = Gate::new();
    let daemon = Serve::app("hangs").gate(&gate).spawn();
    let arrival = gate.await_note("importing");
    let mut early = daemon.connect();
    early.send(Packet::get("/").bytes());
    assert_eq!(daemon.log.with(&["ready:"]), [""; 0]);
    arrival.open();
    early.reply().expect(200).expect_body("imported at last");
    daemon.log.await_line(&["ready:"]);
}

#[test]
fn as_many_workers_as_cpus_are_allowed_unless_told_otherwise() {
    let scratch = crate::support::scratch::Scratch::new();
    let script = scratch.join("one-cpu");
    let text = format!("#!/bin/sh\nexec taskset -c {} {:?} \"$@\"\n", first_allowed_cpu(), executable());
    fs::write(&script, text).unwrap();
    let daemon = Serve::run_by("sh", &script, "hello").option("--pythonpath", in_repository("tests/apps")).start();
    daemon.log.await_line(&["ready: 1 worker "]);
    assert_eq!(daemon.workers().len(), 1);
}

/// A CPU this process may run on.
fn first_allowed_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    list.chars().take_while(char::is_ascii_digit).collect()
}

/// A module whose callable `name` answers `text`.
fn small_app(name: &str, text: &str) -> String {
    format!(
        "def {name}(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [b'{text}']\n"
    )
}
