//! Whom the daemon runs as is whom the operator named, and not root by accident.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve, executable},
    in_repository, process,
    scratch::Scratch,
};

/// Whether what only root can do can be tested here.
fn is_root(test: &str) -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("{test}: not tested, only root can");
    }
    is_root
}

/// A user everybody has and nobody is.
fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("there is a user nobody")
}

/// The four numbers behind `name` in `/proc/PID/status`.
fn status(pid: i32, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn processes(daemon: &Daemon) -> Vec<i32> {
    [vec![daemon.pid(), daemon.forkserver()], daemon.workers()].concat()
}

/// A launcher that runs shell commands in a mount namespace of its own before it becomes the daemon.
fn launcher(scratch: &Scratch, commands: &str) -> std::path::PathBuf {
    scratch.write("launch", &format!("set -e\n{commands}\nexec {:?} \"$@\"\n", executable()))
}

/// Serves `target` behind `commands`, which have a mount namespace of their own.
fn launched(scratch: &Scratch, commands: &str, target: &str) -> Serve {
    let inner = launcher(scratch, commands);
    let outer = scratch.write("unshare", &format!("exec unshare -m sh {inner:?} \"$@\"\n"));
    Serve::run_by("sh", &outer, target).option("--pythonpath", in_repository("tests/apps")).workers(1)
}

#[test]
fn all_processes_run_as_the_user_for_good() {
    if !is_root("all_processes_run_as_the_user_for_good") {
        return;
    }
    let (user, group) = (nobody().uid.as_raw(), nobody().gid.as_raw());
    let daemon = Serve::app("surroundings").option("--user", "nobody").workers(2).start();
    daemon.log.await_line(&["running as nobody"]);
    for pid in processes(&daemon) {
        assert_eq!(status(pid, "Uid:"), [user; 4]);
        assert_eq!(status(pid, "Gid:"), [group; 4]);
        assert_eq!(status(pid, "Groups:"), [group]);
    }
    let facts = daemon.get("/").json();
    assert_eq!(facts["users"], serde_json::json!([user, user, user]));
    assert_eq!(facts["can_return"], false);
    process::signal(daemon.workers()[0], Signal::SIGKILL);
    let is_whole = || daemon.workers().len() == 2;
    assert!(process::eventually(is_whole));
    for worker in daemon.workers() {
        assert_eq!(status(worker, "Uid:"), [user; 4]);
    }
    daemon.stop();
}

#[test]
fn the_users_supplementary_groups_come_along() {
    if !is_root("the_users_supplementary_groups_come_along") {
        return;
    }
    let scratch = Scratch::new();
    let groups = fs::read_to_string("/etc/group").unwrap() + "rusgi-one:x:61001:nobody\nrusgi-two:x:61002:nobody\n";
    let file = scratch.write("group", &groups);
    let commands = format!("mount --bind {file:?} /etc/group");
    let daemon = launched(&scratch, &commands, "surroundings").option("--user", "nobody").start();
    let facts = daemon.get("/").json();
    let expected = [61001, 61002, nobody().gid.as_raw()];
    assert_eq!(facts["supplementary"], serde_json::json!(expected));
    for pid in processes(&daemon) {
        assert_eq!(status(pid, "Groups:"), expected);
    }
}

#[test]
fn another_group_can_be_asked_for_and_numbers_will_do() {
    if !is_root("another_group_can_be_asked_for_and_numbers_will_do") {
        return;
    }
    let daemon = Serve::app("surroundings").option("--user", "61003").option("--group", "61004").start();
    for pid in processes(&daemon) {
        assert_eq!((status(pid, "Uid:"), status(pid, "Gid:")), (vec![61003; 4], vec![61004; 4]));
        assert_eq!(status(pid, "Groups:"), [61004]);
    }
    daemon.get("/");
}

#[test]
fn the_environment_is_the_users() {
    if !is_root("the_environment_is_the_users") {
        return;
    }
    let facts = Serve::app("surroundings").option("--user", "nobody").start().get("/").json();
    let environment = &facts["environment"];
    assert_eq!(environment["HOME"], nobody().dir.display().to_string());
    assert_eq!((&environment["USER"], &environment["LOGNAME"]), (&"nobody".into(), &"nobody".into()));
}

#[test]
fn sockets_are_bound_by_root_and_belong_to_the_user() {
    if !is_root("sockets_are_bound_by_root_and_belong_to_the_user") {
        return;
    }
    let owner = |path: &Path| fs::metadata(path).map(|file| (file.uid(), file.gid())).unwrap();
    // The folder is root's: nobody could not make a socket in it.
    let daemon = Serve::app("hello").option("--user", "nobody").start();
    assert_eq!(owner(&daemon.socket()), (nobody().uid.as_raw(), nobody().gid.as_raw()));
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777, 0o660);
    daemon.get("/");
    let stopped = daemon.stop();
    assert!(!stopped.log.contains("WARN"), "{}", stopped.log);
    let asked = Serve::app("hello").option("--user", "nobody").option("--socket-owner", "0:61005").start();
    assert_eq!(owner(&asked.socket()), (0, 61005));
}

#[test]
fn the_admin_socket_is_the_users_alone() {
    if !is_root("the_admin_socket_is_the_users_alone") {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.join("admin.sock");
    let _daemon = Serve::app("hello").option("--user", "nobody").option("--admin-socket", &path).start();
    let file = fs::metadata(&path).unwrap();
    assert_eq!((file.uid(), file.permissions().mode() & 0o777), (nobody().uid.as_raw(), 0o600));
}

#[test]
fn an_upgrade_goes_on_as_the_user() {
    if !is_root("an_upgrade_goes_on_as_the_user") {
        return;
    }
    let (user, group) = (nobody().uid.as_raw(), nobody().gid.as_raw());
    let daemon = Serve::app("surroundings").option("--user", "nobody").start();
    daemon.signal(Signal::SIGUSR2);
    let line = daemon.log.await_line(&["upgraded: pid "]);
    let number = line.split("upgraded: pid ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let next: i32 = number.parse().unwrap();
    assert!(process::has_ended(daemon.pid(), DEADLINE));
    let facts = daemon.get("/").json();
    assert_eq!((&facts["users"], &facts["can_return"]), (&serde_json::json!([user, user, user]), &false.into()));
    assert_eq!((status(next, "Gid:"), status(next, "Groups:")), (vec![group; 4], vec![group]));
    assert!(facts["environment"].get("RUSGI_PREDECESSOR").is_none());
    assert_eq!(daemon.log.with(&["ERROR"]), [""; 0]);
}

#[test]
fn a_user_or_group_that_is_not_there_is_a_mistake() {
    Serve::app("hello").option("--user", "no-such-user").fail().expect(78).expect_log("--user: there is no user");
    Serve::app("hello").option("--group", "0").fail().expect(78).expect_log("--group: goes with a user");
}

#[test]
fn only_root_becomes_somebody_else() {
    let scratch = Scratch::new();
    let drop = if Uid::effective().is_root() { "setpriv --reuid=61006 --regid=61006 --clear-groups " } else { "" };
    let script = scratch.write("as-another", &format!("exec {drop}{:?} \"$@\"\n", executable()));
    let serve = || Serve::run_by("sh", &script, "hello");
    serve().option("--user", "0").fail().expect(78).expect_log("--user: only root can become another user");
    let user = if Uid::effective().is_root() { Uid::from_raw(61006) } else { Uid::effective() };
    let other_group = serve().option("--user", user.to_string()).option("--group", "61007").fail().expect(78);
    other_group.expect_log("--user: only root can become another user or group");
}

#[test]
fn root_in_a_container_is_warned() {
    if !is_root("root_in_a_container_is_warned") {
        return;
    }
    let daemon = Serve::app("hello").env("RUSGI_ALLOW_ROOT", "false").env("container", "test").start();
    daemon.log.await_line(&["WARN", "runs as root in this container"]);
    daemon.get("/");
}

/// Commands that leave behind what marks a container in the file system.
const LEAVE_CONTAINER: &str = r#"
    new=$(mktemp -d); mount -t tmpfs new $new
    for entry in /*; do
        name=${entry#/}
        if [ -L $entry ]; then cp -P $entry $new/
        elif [ -d $entry ]; then mkdir $new/$name; mount --rbind $entry $new/$name; fi
    done
    if [ -e /run/.containerenv ]; then echo 'this container hides too well' >&2; exit 99; fi
    unset container KUBERNETES_SERVICE_HOST
    launched=$PWD
"#;

#[test]
fn root_on_a_machine_is_refused_unless_insisted_on() {
    if !is_root("root_on_a_machine_is_refused_unless_insisted_on") {
        return;
    }
    let scratch = Scratch::new();
    let inner = scratch.write("inner", &format!("cd $1; shift; exec {:?} \"$@\"\n", executable()));
    let commands = format!("{LEAVE_CONTAINER}\nexec chroot $new sh {inner:?} $launched \"$@\"");
    let serve = || launched(&scratch, &commands, "hello");
    let refused = serve().env("RUSGI_ALLOW_ROOT", "false").fail().expect(78);
    assert!(refused.log.contains("--user") && refused.log.contains("--allow-root"), "{}", refused.log);
    assert!(!refused.log.contains("listening"), "{}", refused.log);
    let insisted = serve().start();
    insisted.get("/");
    assert_eq!(insisted.log.with(&["WARN"]), [""; 0]);
    insisted.signal(Signal::SIGTERM);
    assert!(process::has_ended(insisted.pid(), DEADLINE));
}
