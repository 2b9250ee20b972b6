//! The supervisor's part in the listening sockets: bound once, announced, their files removed at the end.

use tracing::{info, warn};

use crate::{
    config::{Address, Listen, machine},
    net::listener::{BindError, Listener},
};

/// Binds every address, or none.
///
/// # Errors
/// The first address that cannot be bound.
pub(super) fn bind(listen: &Listen) -> Result<Vec<Listener>, BindError> {
    let mut bound = Vec::with_capacity(listen.addresses.len());
    for address in &listen.addresses {
        match Listener::bind(address, listen) {
            Ok(listener) => bound.push(listener),
            Err(error) => {
                remove_files(&mut bound);
                return Err(error);
            }
        }
    }
    bound.iter().zip(&listen.addresses).for_each(|(listener, address)| announce(listener, address, listen));
    warn_of_short_queue(listen.backlog);
    Ok(bound)
}

/// Removes the files of Unix sockets that are still ours.
pub(super) fn remove_files(listeners: &mut [Listener]) {
    for listener in listeners {
        if let Err(error) = listener.remove_file() {
            warn!("{}: the socket's file cannot be removed ({error}); remove it by hand", listener.address());
        }
    }
}

fn announce(listener: &Listener, address: &Address, listen: &Listen) {
    match address {
        Address::Unix(_) => info!("listening on {} (mode {:04o})", listener.address(), listen.socket_mode),
        Address::Tcp(_) => info!("listening on {}", listener.address()),
    }
    if !address.is_local() {
        warn!(
            "{}: the uwsgi protocol knows no authentication; let a firewall admit nobody but nginx",
            listener.address()
        );
    }
}

fn warn_of_short_queue(backlog: i32) {
    let most = machine::somaxconn();
    if backlog > most {
        warn!("--backlog {backlog}: the kernel allows {most}; raise net.core.somaxconn");
    }
}
