//! The first byte of a packet: which part of a uWSGI server it is meant for.

use core::fmt;

/// What kind of packet this is: the first header byte, open to values nobody has named.
///
/// Only [`Modifier1::WSGI`] and [`Modifier1::MANAGE_PATH_INFO`] carry a request for a WSGI
/// application; the other names exist so that a refusal can say what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modifier1(pub u8);

impl Modifier1 {
    /// A WSGI request: what nginx sends unless told otherwise.
    pub const WSGI: Self = Self(0);
    /// A task for the spooler.
    pub const SPOOL: Self = Self(17);
    /// Code to be run by the server.
    pub const EVAL: Self = Self(22);
    /// A WSGI request whose `PATH_INFO` still begins with its `SCRIPT_NAME`.
    pub const MANAGE_PATH_INFO: Self = Self(30);
    /// "Are you there?"; answered by a packet of the same modifier1 with modifier2 = 1.
    pub const PING: Self = Self(100);
    /// A signal for uWSGI's own signal framework.
    pub const SIGNAL: Self = Self(110);
    /// A remote procedure call.
    pub const RPC: Self = Self(173);
    /// A backend that announces itself to a router.
    pub const SUBSCRIPTION: Self = Self(224);
    /// A generic answer.
    pub const RESPONSE: Self = Self(255);

    /// What uWSGI's documentation uses this value for, or `None` where it says nothing.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0..=19 | 22..=35 => language_or_request(self.0),
            48..=101 => management(self.0),
            109.. => between_servers(self.0),
            _ => None,
        }
    }
}

impl fmt::Display for Modifier1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

const fn language_or_request(value: u8) -> Option<&'static str> {
    Some(match value {
        0 => "WSGI",
        5 => "PSGI",
        6 => "Lua",
        7 => "Rack",
        8 => "JVM",
        9 => "CGI",
        10 => "admin",
        11 => "gccgo",
        14 => "PHP",
        15 => "Mono",
        17 => "spooler",
        18 => "symcall",
        19 => "SSI",
        22 => "eval",
        23 => "XSLT",
        24 => "V8",
        25 => "GridFS",
        26 => "fastfunc",
        27 => "GlusterFS",
        28 => "RADOS",
        30 => "WSGI, manage path info",
        31 => "message",
        32 => "message array",
        33 => "message marshal",
        35 => "WebDAV",
        _ => return None,
    })
}

const fn management(value: u8) -> Option<&'static str> {
    Some(match value {
        48 => "SNMP",
        72 => "HTTP",
        73 => "multicast announce",
        74 => "multicast",
        95 => "cluster",
        96 => "remote log",
        97 => "brutal reload",
        98 => "reload",
        99 => "configuration",
        100 => "ping",
        101 => "echo",
        _ => return None,
    })
}

const fn between_servers(value: u8) -> Option<&'static str> {
    Some(match value {
        109 => "legion",
        110 => "signal",
        111 => "cache",
        123 => "corerouter",
        173 => "RPC",
        200 => "persistent close",
        224 => "subscription",
        250 => "example",
        255 => "response",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::Modifier1;

    #[test]
    fn every_constant_has_a_name() {
        let constants = [
            Modifier1::WSGI,
            Modifier1::SPOOL,
            Modifier1::EVAL,
            Modifier1::MANAGE_PATH_INFO,
            Modifier1::PING,
            Modifier1::SIGNAL,
            Modifier1::RPC,
            Modifier1::SUBSCRIPTION,
            Modifier1::RESPONSE,
        ];
        for modifier1 in constants {
            assert!(modifier1.name().is_some(), "{modifier1:?}");
        }
    }

    #[test]
    fn every_name_is_reached_by_its_number() {
        let named = (0..=u8::MAX).filter(|&value| Modifier1(value).name().is_some()).count();
        assert_eq!(named, 45);
    }

    #[test]
    fn is_printed_as_a_number_and_its_name() {
        assert_eq!(Modifier1::PING.to_string(), "100 (ping)");
        assert_eq!(Modifier1(77).to_string(), "77");
    }
}
