//! `rusgi init`: what it prints is accepted by whom it is for, and serves.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use crate::support::{
    daemon::{Serve, executable, python},
    in_repository,
    nginx::Nginx,
    scratch::Scratch,
};

fn init(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(executable()).arg("init").args(arguments).output().unwrap();
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What systemd makes of the units in `scratch`.
fn analyze(verb: &[&str], unit: &std::path::Path) {
    let output = Command::new("systemd-analyze").args(verb).arg(unit).output();
    let output =
        output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; install it (apt-get install systemd)"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{verb:?} {}:\n{said}", unit.display());
    let complaints: Vec<_> = said.lines().filter(|line| line.contains(&*unit.to_string_lossy())).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// A virtual environment that has a program `rusgi`, as far as systemd looks.
fn virtualenv(scratch: &Scratch) -> String {
    let program = scratch.write("venv/bin/rusgi", "#!/bin/sh\n");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    scratch.join("venv").display().to_string()
}

#[test]
fn a_site_for_nginx_serves_as_it_is() {
    for daemon in [Serve::app("hello").start(), Serve::app("hello").on_tcp().start()] {
        let scratch = Scratch::new();
        let text = init(&["nginx", "hello:application", "--socket", daemon.address(), "--max-body", "5m"]);
        let file = scratch.write("site.conf", &text);
        let nginx = Nginx::start(&file.display().to_string(), &daemon);
        nginx.browser().get("/").expect(200);
        nginx.expect_no_errors();
    }
}

#[test]
fn a_unit_is_one_that_systemd_takes() {
    let scratch = Scratch::new();
    let venv = virtualenv(&scratch);
    let text = init(&[
        "systemd",
        "app:application",
        "--virtualenv",
        &venv,
        "--user",
        "root",
        "--mount",
        "/a%b=other",
        "--workers",
        "2",
    ]);
    let unit = scratch.write("site.service", &text);
    analyze(&["verify"], &unit);
}

#[test]
fn units_leave_an_application_little_to_break() {
    // Tenths; what systemd calls OK ends at 4.
    let most = ["security", "--offline=true", "--threshold=30"];
    let scratch = Scratch::new();
    let template = fs::read_to_string(in_repository("examples/systemd/rusgi@.service")).unwrap();
    analyze(&most, &scratch.write("rusgi@.service", &template));
    analyze(&most, &in_repository("examples/systemd/rusgi.service"));
}

#[test]
fn the_template_and_the_socket_are_ones_that_systemd_takes() {
    let scratch = Scratch::new();
    let venv = virtualenv(&scratch);
    let template = fs::read_to_string(in_repository("examples/systemd/rusgi@.service")).unwrap();
    let template = template.replace("/srv/%i/venv", &venv).replace("User=%i", "User=root");
    scratch.write("rusgi@.service", &template);
    fs::write(scratch.join("rusgi@shop.service"), &template).unwrap();
    analyze(&["verify"], &scratch.join("rusgi@shop.service"));
    let service = fs::read_to_string(in_repository("examples/systemd/rusgi.service")).unwrap();
    scratch.write("rusgi.service", &service.replace("/srv/app/venv", &venv).replace("User=app", "User=root"));
    let socket = fs::read_to_string(in_repository("examples/systemd/rusgi.socket")).unwrap();
    analyze(&["verify"], &scratch.write("rusgi.socket", &socket));
}

#[test]
fn objects_are_ones_that_kubernetes_takes() {
    let scratch = Scratch::new();
    let text =
        init(&["k8s", "shop.wsgi", "--socket", "unix:/run/shop/a.sock", "--mount", "/a=other", "--max-body", "5m"]);
    let kinds = kubernetes_takes(&scratch.write("objects.yaml", &text));
    assert_eq!(kinds, ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]);
}

#[test]
fn the_example_of_two_tiers_is_one_that_kubernetes_takes() {
    let kinds = kubernetes_takes(&in_repository("examples/kubernetes/tier.yaml"));
    assert_eq!(kinds.iter().filter(|kind| *kind == "Deployment").count(), 2, "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind == "NetworkPolicy"), "{kinds:?}");
}

/// The kinds of the objects in `file`, each of which is as its schema has it.
fn kubernetes_takes(file: &std::path::Path) -> Vec<String> {
    let validate = "import kubernetes_validate, sys, yaml\n\
        for each in yaml.safe_load_all(open(sys.argv[1])): kubernetes_validate.validate(each, '1.37', strict=True); print(each['kind'])";
    let output = Command::new(python()).args(["-c", validate]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_example_unit_is_what_init_prints() {
    let printed = init(&EXAMPLE);
    let kept = fs::read_to_string(in_repository("examples/systemd/rusgi.service")).unwrap();
    assert_eq!(kept, printed, "write anew: rusgi init {} > examples/systemd/rusgi.service", EXAMPLE.join(" "));
}

#[test]
fn a_mistake_in_the_command_line_is_said() {
    let output =
        Command::new(executable()).args(["init", "nginx", "app", "--request-timeout", "soon"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--request-timeout: `soon` is not a duration"), "{said}");
}

const EXAMPLE: [&str; 8] = [
    "systemd",
    "app:application",
    "--chdir",
    "/srv/app",
    "--virtualenv",
    "/srv/app/venv",
    "--socket",
    "unix:/run/rusgi/app.sock",
];
