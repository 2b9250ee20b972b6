//! Waiting for a descriptor in tokio.
#![expect(unsafe_code, reason = "tokio cannot check that a descriptor stays open and the same while it is registered")]

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Registers a non-blocking descriptor with the runtime that this is called in.
///
/// # Errors
/// When the system has no room for another registration.
pub fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its one descriptor open until it is dropped, and AsyncFd deregisters it before that.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}
