//! The supervisor's part in the listening sockets: bound once, announced, their files removed at the end.

use std::{error::Error, io, os::fd::AsFd};

use tracing::{info, warn};

use crate::{
    config::{Address, Listen, machine},
    net::listener::{
        BindError, Listener,
        activation::{self, Passed},
    },
    supervisor::notify::Notify,
};

/// Takes what a predecessor hands over, and that alone, or else what systemd passes, and binds what is missing; with a store at systemd,
/// what was bound is kept there.
///
/// # Errors
/// What systemd passes and cannot be used, or else the first address that cannot be bound; then nothing is left behind.
pub(super) fn open(
    listen: &Listen,
    notify: &mut Notify,
    inherited: Vec<Listener>,
) -> Result<Vec<Listener>, Box<dyn Error>> {
    let all = if inherited.is_empty() { acquire(listen, notify)? } else { announced(inherited, listen) };
    Ok(all.into_iter().map(|listener| listener.guarded(&listen.admission)).collect())
}

fn acquire(listen: &Listen, notify: &mut Notify) -> Result<Vec<Listener>, Box<dyn Error>> {
    let passed = still_wanted(activation::passed()?, listen, notify);
    let has_unit = passed.iter().any(|passed| !passed.was_kept());
    let is_passed = |address: &Address| passed.iter().any(|passed| passed.listener.address() == address.to_string());
    let gives_way = listen.is_default && has_unit;
    let missing = listen.addresses.iter().filter(|address| !gives_way && !is_passed(address));
    let mut bound = bind(missing.cloned().collect(), listen)?;
    passed.iter().for_each(|passed| announce_passed(passed, listen));
    warn_of_short_queue(listen.backlog);
    bound.iter_mut().for_each(|listener| keep(listener, notify));
    Ok(passed.into_iter().map(|passed| passed.listener).chain(bound).collect())
}

/// Lets go of what an earlier supervisor had kept and this one is not to serve.
fn still_wanted(passed: Vec<Passed>, listen: &Listen, notify: &mut Notify) -> Vec<Passed> {
    let gives_way = listen.is_default && passed.iter().any(|passed| !passed.was_kept());
    let is_configured = |listener: &Listener| listen.addresses.iter().any(|a| a.to_string() == listener.address());
    let is_wanted = |passed: &Passed| !gives_way && is_configured(&passed.listener) && passed.is_reachable();
    let (wanted, dropped): (Vec<_>, Vec<_>) =
        passed.into_iter().partition(|passed: &Passed| !passed.was_kept() || is_wanted(passed));
    dropped.iter().for_each(|passed| notify.forget(&passed.name));
    wanted
}

/// Binds every address, or none.
fn bind(addresses: Vec<Address>, listen: &Listen) -> Result<Vec<Listener>, BindError> {
    let mut bound = Vec::with_capacity(addresses.len());
    for address in &addresses {
        match Listener::bind(address, listen) {
            Ok(listener) => bound.push(listener),
            Err(error) => {
                remove_files(&mut bound);
                return Err(error);
            }
        }
    }
    bound.iter().zip(&addresses).for_each(|(listener, address)| announce(listener, address, listen));
    Ok(bound)
}

/// Has systemd keep the socket, whose file then has to stay: the next supervisor's peers will look for it.
fn keep(listener: &mut Listener, notify: &mut Notify) {
    let name = activation::name_of_kept(listener.address());
    if notify.keep(&name, listener.as_fd()) {
        listener.leave_file();
    }
}

/// Removes the files of Unix sockets that are still ours.
pub(super) fn remove_files(listeners: &mut [Listener]) {
    for listener in listeners {
        match listener.remove_file() {
            Ok(()) => {}
            // Bound as root before --user took effect.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                info!("{}: this user may not remove the socket's file; the next start replaces it", listener.address());
            }
            Err(error) => {
                warn!("{}: the socket's file cannot be removed ({error}); remove it by hand", listener.address())
            }
        }
    }
}

fn announce(listener: &Listener, address: &Address, listen: &Listen) {
    match address {
        Address::Unix(_) => info!("listening on {} (mode {:04o})", listener.address(), listen.socket_mode),
        Address::Tcp(_) => info!("listening on {}", listener.address()),
    }
    warn_of_strangers(address, listener, listen);
}

fn announced(inherited: Vec<Listener>, listen: &Listen) -> Vec<Listener> {
    inherited.iter().for_each(|listener| info!("listening on {}, taken over", listener.address()));
    let is_inherited = |address: &Address| inherited.iter().any(|listener| address.admits(listener.address()));
    for address in listen.addresses.iter().filter(|address| !listen.is_default && !is_inherited(address)) {
        warn!("{address}: an upgrade takes over sockets and binds none; restart rusgi to listen there as well");
    }
    inherited
}

fn announce_passed(Passed { listener, name }: &Passed, listen: &Listen) {
    info!("listening on {}, passed by systemd as {name}", listener.address());
    if let Ok(address) = listener.address().parse() {
        warn_of_strangers(&address, listener, listen);
    }
}

fn warn_of_strangers(address: &Address, listener: &Listener, listen: &Listen) {
    if !address.is_local() && listen.admission.networks.is_none() {
        warn!(
            "{}: the uwsgi protocol knows no authentication; name nginx's addresses with --allow-from, or let a firewall admit nobody else",
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
