//! The promises of rusgi, each kept or broken by the real daemon: one file a promise.
//!
//! `RUSGI_BIN` names the executable under test, `RUSGI_DOOR` (embedded or wheel) the way it came in,
//! `RUSGI_TEST_PYTHON` the Python that has Flask and Django. nginx must be installed.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

mod bench;
mod call;
mod command_line;
mod conformance;
mod documents;
mod doctor;
mod gil;
mod init;
mod layers;
mod load_failures;
mod sockets;
mod startup;

mod bad_input;
mod environ;
mod file_wrapper;
mod iteration;
mod mounts;
mod request_body;
mod request_path;
mod responses;
mod slow_peers;
mod spoofing;
mod start_response;
mod wsgi_errors;
mod wsgi_input;

mod broken_responses;
mod failures;
mod hostile;
mod admission;
mod privileges;
mod probes;
mod process_one;
mod admin;
mod chaos;
mod closing;
mod crashes;
mod endurance;
mod log_destinations;
mod overload;
mod recycling;
mod reload;
mod scaling;
mod shutdown;
mod systemd;
mod timeouts;
mod upgrade;
mod workers;

mod behind_nginx;
mod behind_others;
mod checkers;
mod differential;
mod django;
mod flask;
mod real_apps;
