//! The environment variables an application sees: its user's, and none that are meant for the daemon alone.

use pyo3::prelude::*;

use crate::config::Known;

/// Adapts `os.environ`, and with it what programs of the application inherit.
pub(super) fn adapt(py: Python<'_>, user: Option<&Known>) -> PyResult<()> {
    let environ = py.import("os")?.getattr("environ")?;
    for name in THE_DAEMONS {
        environ.call_method1("pop", (name, py.None()))?;
    }
    if let Some(Known { name, home }) = user {
        environ.set_item("HOME", home.as_os_str())?;
        environ.set_item("USER", name)?;
        environ.set_item("LOGNAME", name)?;
    }
    Ok(())
}

/// What systemd, or a predecessor, tells its service; an application that believed it would speak for the daemon.
const THE_DAEMONS: [&str; 9] = [
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "FDSTORE",
    "RUSGI_PREDECESSOR",
];
