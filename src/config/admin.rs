//! Where the supervisor can be asked, and be told.

use std::net::SocketAddr;
use std::{
    env,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::config::Address;

/// The sockets that operators and probes use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket that answers and takes orders; absolute. `None` for no such socket.
    pub socket: Option<PathBuf>,
    /// Whether nobody has asked for that socket, so that rusgi does without it where it cannot be made.
    pub is_default: bool,
    /// The TCP address that answers and takes no orders.
    pub address: Option<SocketAddr>,
}

/// Where the admin socket is unless it is named: in the service's own directory, where systemd has made one (`RuntimeDirectory=`).
#[must_use]
pub fn default_socket() -> Option<PathBuf> {
    within(&env::var_os("RUNTIME_DIRECTORY")?)
}

/// In the first of the directories, which a colon separates (systemd.exec(5)), if it is there.
fn within(directories: &OsStr) -> Option<PathBuf> {
    let first = directories.as_bytes().split(|byte| *byte == b':').next()?;
    let directory = Path::new(OsStr::from_bytes(first));
    (directory.is_absolute() && directory.is_dir()).then(|| directory.join("admin.sock"))
}

/// Reads the address for questions: one of TCP, as probes need it.
///
/// # Errors
/// Why it is none.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<Address>() {
        Ok(Address::Tcp(address)) => Ok(address),
        Ok(Address::Unix(_)) => Err(format!("`{text}` is a path: write HOST:PORT, or use --admin-socket")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_runtime_directory_holds_the_socket() {
        let within = |text: &str| within(OsStr::new(text));
        assert_eq!(within("/tmp"), Some(PathBuf::from("/tmp/admin.sock")));
        assert_eq!(within("/tmp:/usr"), Some(PathBuf::from("/tmp/admin.sock")));
        for none in ["", ":/tmp", "tmp", "/nowhere", "/etc/passwd"] {
            assert_eq!(within(none), None, "{none}");
        }
    }

    #[test]
    fn questions_are_asked_by_tcp() {
        assert_eq!(parse_address("[::1]:9000").unwrap().to_string(), "[::1]:9000");
        assert_eq!(parse_address(":9000").unwrap().to_string(), "127.0.0.1:9000");
        assert!(parse_address("/run/x.sock").unwrap_err().contains("--admin-socket"));
        assert!(parse_address("9000").unwrap_err().contains("HOST:PORT"));
    }
}
