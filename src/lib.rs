//! rusgi: a WSGI server behind nginx's `uwsgi_pass`.
//!
//! The modules stand in the order in which a request meets them; `docs/architecture.md` has the picture.
//!
//! 1. [`net`] accepts the connection and reads the packet; what has to wait, waits in its lobby
//! 2. [`request`] is the packet as one request
//! 3. [`worker`] is where sockets meet Python: one desk per thread accepts, reads, calls and writes
//! 4. [`python`] builds the `environ`, calls the application and drives its response
//! 5. [`response`] is what comes back, on its way to the peer
//!
//! Around that journey: [`cli`] reads the command line, [`config`] is what it means, [`supervisor`] owns the
//! listeners and keeps workers alive, [`forkserver`] makes them, [`channel`] is how these talk, [`observe`] is what operators see.

pub mod request;
pub mod response;
pub mod room;

pub mod channel;
pub mod config;
pub mod observe;

pub mod net;
pub mod python;

pub mod worker;

pub mod forkserver;
pub mod supervisor;

pub mod cli;

pub use python::Door;
