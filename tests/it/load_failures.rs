//! An application that cannot be loaded gives its traceback, a hint and exit code 3, and stops everything.

use crate::support::daemon::{Serve, Stopped};

/// Serves a folder that holds `module.py` with `text`, once per way of loading; both must fail alike.
fn failures_of(target: &str, text: &str) -> [Stopped; 2] {
    [false, true].map(|preload| {
        let serve = Serve::bare(target).workers(2);
        serve.scratch().write("module.py", text);
        let serve = if preload { serve.flag("--preload") } else { serve };
        serve.fail().expect(3)
    })
}

/// Asserts that each of `words` is in the log of every failure, and that it is told only once.
fn expect_told_once(failures: [Stopped; 2], words: &[&str]) {
    for stopped in failures {
        for word in words {
            assert!(stopped.log.contains(word), "no {word:?} in:\n{}", stopped.log);
        }
        assert_eq!(stopped.log.matches(words[0]).count(), 1, "{:?} more than once in:\n{}", words[0], stopped.log);
    }
}

#[test]
fn a_missing_module_is_named_with_a_hint_at_the_search_path() {
    let failures = [false, true].map(|preload| {
        let serve = Serve::bare("no_such_module:app").workers(2);
        if preload { serve.flag("--preload") } else { serve }.fail().expect(3)
    });
    expect_told_once(failures, &["ModuleNotFoundError: No module named 'no_such_module'", "--chdir", "--pythonpath"]);
}

#[test]
fn a_module_that_lies_in_another_directory_is_hinted_at() {
    let serve = Serve::bare("project:app").workers(1);
    serve.scratch().write("src/project.py", "app = None");
    let stopped = serve.fail().expect(3);
    assert!(stopped.log.contains("--chdir"), "{}", stopped.log);
}

#[test]
fn a_missing_attribute_is_named_with_those_that_would_do() {
    let failures = failures_of("module:application", "def app(environ, start_response): pass\nnumber = 3\n");
    expect_told_once(failures, &["no attribute 'application'", "module:app"]);
}

#[test]
fn an_attribute_that_cannot_be_called_is_named() {
    expect_told_once(failures_of("module:thing", "thing = 42\n"), &["cannot be called", "thing"]);
}

#[test]
fn a_factory_not_called_is_hinted_at() {
    let stopped = Serve::app("fails:before_the_head()").fail().expect(3);
    assert!(stopped.log.contains("TypeError"), "{}", stopped.log);
}

#[test]
fn a_syntax_error_is_shown_with_its_place() {
    let failures = failures_of("module", "x = 1\ndef application(:\n    pass\n");
    expect_told_once(failures, &["SyntaxError", "module.py", "line 2", "def application(:"]);
}

#[test]
fn an_exception_at_import_is_shown_with_its_traceback() {
    let text = "def broken():\n    raise RuntimeError('while importing')\nbroken()\n";
    let words = ["RuntimeError: while importing", "Traceback (most recent call last)", "line 3", "in broken"];
    expect_told_once(failures_of("module", text), &words);
}

#[test]
fn a_traceback_does_not_show_the_server_itself() {
    for stopped in failures_of("module", "raise RuntimeError('alone')\n") {
        assert!(!stopped.log.contains("importlib"), "{}", stopped.log);
    }
}

#[test]
fn an_application_that_exits_while_it_is_imported_is_reported() {
    expect_told_once(
        failures_of("module", "import sys\nsys.exit('no configuration')\n"),
        &["SystemExit: no configuration"],
    );
}

#[test]
fn an_import_inside_the_application_that_fails_names_the_virtualenv() {
    let failures = failures_of("module", "import no_such_dependency\n");
    expect_told_once(failures, &["No module named 'no_such_dependency'", "--virtualenv", "module.py"]);
}

#[test]
fn a_missing_file_is_named() {
    Serve::bare("missing/site.wsgi").fail().expect(3).expect_log("missing/site.wsgi");
}

#[test]
fn a_missing_directory_is_named() {
    let stopped = Serve::bare("module").option("--chdir", "/nonexistent/folder").fail();
    assert!(stopped.log.contains("/nonexistent/folder"), "{}", stopped.log);
    assert!([3, 78].contains(&stopped.code()), "{}", stopped.log);
}

#[test]
fn a_missing_virtualenv_is_named() {
    let stopped = Serve::app("hello").option("--virtualenv", "/nonexistent/venv").fail();
    assert!(stopped.log.contains("/nonexistent/venv"), "{}", stopped.log);
    assert!([3, 78].contains(&stopped.code()), "{}", stopped.log);
}

#[test]
fn a_virtualenv_of_another_python_is_refused_with_both_versions() {
    let serve = Serve::app("hello");
    serve.scratch().write("venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.5.9\n");
    serve.scratch().write("venv/lib/python3.5/site-packages/six.py", "");
    serve.scratch().write("venv/bin/python", "");
    let venv = serve.scratch().join("venv");
    let stopped = serve.option("--virtualenv", venv).fail();
    assert!(stopped.log.contains("3.5"), "{}", stopped.log);
    assert!([3, 78].contains(&stopped.code()), "{}", stopped.log);
}

#[test]
fn workers_that_keep_crashing_at_start_end_in_exit_code_4() {
    let serve = Serve::bare("module").workers(1);
    serve.scratch().write("module.py", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n");
    serve.fail().expect(4).expect_log("SIGKILL");
}

#[test]
fn a_socket_is_not_left_behind_by_an_application_that_cannot_be_loaded() {
    let scratch = crate::support::scratch::Scratch::new();
    let path = scratch.join("gone.sock");
    Serve::bare("no_such_module").on(&format!("unix:{}", path.display())).fail().expect(3);
    assert!(!path.exists());
}
