//! Sockets: accepting connections, reading requests, writing responses, and the lobby for whatever has to wait.

pub mod listener;

pub mod acceptor;
pub mod connection;
pub mod inflow;

pub mod lobby;

pub mod peer;
mod place;
pub mod pull;
pub mod readiness;
pub mod refusal;
mod waiting;
