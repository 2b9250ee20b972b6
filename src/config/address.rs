//! Where to listen: `unix:PATH`, an absolute path, `HOST:PORT`, or `:PORT`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::{
    fmt, io,
    os::unix::ffi::OsStrExt,
    path::{self, Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// One place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket at this absolute path.
    Unix(PathBuf),
    /// A TCP socket; port 0 lets the kernel choose one.
    Tcp(SocketAddr),
}

/// Why a text is not an address.
#[derive(Debug, Error)]
pub enum AddressError {
    /// Neither a path nor a port can be seen in it.
    #[error("`{0}` is not an address: write unix:PATH, /absolute/path, HOST:PORT or :PORT")]
    Form(String),
    /// The part behind the last colon is no port.
    #[error("`{0}` is not a port: write a number from 0 to 65535 behind the colon")]
    Port(String),
    /// No path behind `unix:`, or one that ends in a slash.
    #[error("`{0}` names no socket file: write unix:/run/NAME/app.sock")]
    NoFile(String),
    /// Linux keeps the path in `sun_path`, 108 bytes with a NUL at the end.
    #[error("`{0}` is {length} bytes long: a Unix socket's path may have {LONGEST_PATH}, choose a shorter one", length = .0.len())]
    TooLong(String),
    /// nginx has no way to name a socket in the abstract namespace.
    #[error("`{0}` is in the abstract namespace: nginx cannot connect there, use a path")]
    Abstract(String),
    /// The name has no address.
    #[error("host `{host}` has no address ({source}): correct the name, or write the address itself")]
    Resolve {
        /// The host as it was given.
        host: String,
        /// The resolver's word on it.
        source: io::Error,
    },
    /// A relative path, and no working directory to begin at.
    #[error("the working directory cannot be read ({0}): write an absolute path")]
    WorkingDirectory(io::Error),
}

impl Address {
    /// Whether only this machine can connect; a Unix socket always counts.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().is_loopback(),
        }
    }

    /// Whether a socket that is bound to `bound`, as [`Address`] prints it, is what this address asks for.
    pub fn admits(&self, bound: &str) -> bool {
        match (self, bound.parse()) {
            (Self::Tcp(asked), Ok(Self::Tcp(bound))) if asked.port() == 0 => asked.ip() == bound.ip(),
            (asked, Ok(bound)) => *asked == bound,
            (_, Err(_)) => false,
        }
    }

    /// Whether two sockets cannot have it: not so where the kernel chooses the port.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path, text);
        }
        if text.starts_with('/') || text.starts_with('@') {
            return unix(text, text);
        }
        tcp(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

fn unix(path: &str, text: &str) -> Result<Address, AddressError> {
    if path.starts_with('@') {
        return Err(AddressError::Abstract(text.to_owned()));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(AddressError::NoFile(text.to_owned()));
    }
    let path = path::absolute(Path::new(path)).map_err(AddressError::WorkingDirectory)?;
    if path.as_os_str().as_bytes().len() > LONGEST_PATH {
        return Err(AddressError::TooLong(path.display().to_string()));
    }
    Ok(Address::Unix(path))
}

fn tcp(text: &str) -> Result<Address, AddressError> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Form(text.to_owned()))?;
    let port = port.parse().map_err(|_| AddressError::Port(port.to_owned()))?;
    let ip = match host {
        "" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => resolve(host, text)?,
    };
    Ok(Address::Tcp(SocketAddr::new(ip, port)))
}

/// A name stands for its first address, IPv4 before IPv6: one option, one socket.
fn resolve(host: &str, text: &str) -> Result<IpAddr, AddressError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(host).parse::<IpAddr>() {
        // An IPv6 address without brackets cannot be told from one with a port.
        return if ip.is_ipv6() && bare.is_none() { Err(AddressError::Form(text.to_owned())) } else { Ok(ip) };
    }
    let refused = |source| AddressError::Resolve { host: host.to_owned(), source };
    let found: Vec<IpAddr> = (host, 0).to_socket_addrs().map_err(refused)?.map(|address| address.ip()).collect();
    let first = found.iter().find(|ip| ip.is_ipv4()).or_else(|| found.first()).copied();
    first.ok_or_else(|| refused(io::Error::from(io::ErrorKind::NotFound)))
}

const LONGEST_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        text.parse::<Address>().map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn every_accepted_form_means_what_it_says() {
        assert_eq!(parse("unix:/run/app.sock"), "unix:/run/app.sock");
        assert_eq!(parse("/run/app.sock"), "unix:/run/app.sock");
        assert_eq!(parse("127.0.0.1:3031"), "127.0.0.1:3031");
        assert_eq!(parse("[::1]:3031"), "[::1]:3031");
        assert_eq!(parse("0.0.0.0:0"), "0.0.0.0:0");
    }

    #[test]
    fn a_bare_port_is_loopback_only() {
        assert_eq!(parse(":3031"), "127.0.0.1:3031");
    }

    #[test]
    fn a_relative_path_begins_at_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        assert_eq!("unix:app.sock".parse::<Address>().unwrap(), Address::Unix(here.join("app.sock")));
    }

    #[test]
    fn localhost_is_its_ipv4_address() {
        assert_eq!(parse("localhost:80"), "127.0.0.1:80");
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_remedy() {
        assert!(parse("app.sock").starts_with("`app.sock` is not an address: write unix:PATH"));
        assert!(parse("3031").contains("HOST:PORT or :PORT"));
        assert!(parse("::1:3031").contains("is not an address"));
        assert!(parse("localhost:http").contains("`http` is not a port"));
        assert!(parse(":65536").contains("0 to 65535"));
        assert!(parse("unix:").contains("names no socket file"));
        assert!(parse("/run/").contains("names no socket file"));
        assert!(parse("unix:@app").contains("abstract namespace"));
        assert!(parse("@app").contains("abstract namespace"));
    }

    #[test]
    fn a_path_is_measured_against_sun_path() {
        let longest = format!("/{}", "x".repeat(106));
        assert_eq!(parse(&longest), format!("unix:{longest}"));
        assert!(parse(&format!("{longest}x")).contains("x` is 108 bytes long"));
    }

    #[test]
    fn only_other_machines_make_an_address_not_local() {
        let is_local = |text: &str| text.parse::<Address>().unwrap().is_local();
        assert!(is_local("unix:/x") && is_local(":1") && is_local("127.8.0.1:1") && is_local("[::1]:1"));
        assert!(!is_local("0.0.0.0:1") && !is_local("[::]:1") && !is_local("192.0.2.1:1"));
    }
}
