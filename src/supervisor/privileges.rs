//! Who the daemon runs as: whether it may, and the way from root to somebody else.

use std::ffi::CString;

use nix::{
    errno::Errno,
    unistd::{Gid, Uid, getgrouplist, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid, setuid},
};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use thiserror::Error;
use tracing::{info, warn};

use crate::config::{Account, Privileges, container::container};

/// Why the daemon does not start as who it was started.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// Applications would run as root.
    #[error(
        "started as root, and so would be the application: name whom to become with --user, or insist with --allow-root"
    )]
    Root,
    /// Only root can become somebody else.
    #[error(
        "--user: only root can become another user or group, and this is user {0} of group {1}; start as root, or leave --user out"
    )]
    NotRoot(Uid, Gid),
    /// The system does not let us.
    #[error("--user: cannot {action} ({source}); grant CAP_SETUID and CAP_SETGID until rusgi has started")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: Errno,
    },
    /// The system said yes and did something else.
    #[error(
        "--user: {0} after the change; this system cannot be relied upon to drop privileges, start rusgi as that user"
    )]
    NotDropped(&'static str),
}

/// Whether the daemon may run as `privileges` say, started by whoever started it; to be asked before anything is bound.
///
/// # Errors
/// [`Refusal::Root`] and [`Refusal::NotRoot`].
pub(super) fn check(privileges: &Privileges) -> Result<(), Refusal> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    match &privileges.account {
        Some(account) if !uid.is_root() && (account.user, account.group) != (uid.as_raw(), gid.as_raw()) => {
            Err(Refusal::NotRoot(uid, gid))
        }
        Some(_) => Ok(()),
        None if !uid.is_root() || privileges.may_be_root => Ok(()),
        None => {
            let mark = container().ok_or(Refusal::Root)?;
            warn!("the application runs as root in this container ({mark}); name whom to become with --user");
            Ok(())
        }
    }
}

/// Becomes `account` for good, with its supplementary groups, and makes sure of it.
///
/// # Errors
/// [`Refusal`], and then the process must end: it may be between two identities.
pub(super) fn become_account(account: &Account) -> Result<(), Refusal> {
    let (user, group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    let groups = groups_of(account)?;
    if !Uid::effective().is_root() {
        return verify_user(user, group).inspect(|()| compare(&groups));
    }
    let refused = |action| move |source| Refusal::Refused { action, source };
    setgroups(&groups).map_err(refused("set the supplementary groups"))?;
    setresgid(group, group, group).map_err(refused("set the group"))?;
    setresuid(user, user, user).map_err(refused("set the user"))?;
    verify(user, group, &groups)?;
    // The kernel has made /proc/self root's with the change; nothing secret was read before it.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::Dumpable) {
        warn!("{error}: applications leave no core and cannot be traced; this does no other harm");
    }
    let name = account.known.as_ref().map_or_else(|| user.to_string(), |known| known.name.clone());
    info!("running as {name} (user {user}, group {group})");
    Ok(())
}

/// What `initgroups(3)` would set; somebody unknown is in the one group only.
fn groups_of(account: &Account) -> Result<Vec<Gid>, Refusal> {
    let group = Gid::from_raw(account.group);
    let name = account.known.as_ref().and_then(|known| CString::new(known.name.as_str()).ok());
    let groups = name.map_or_else(|| Ok(vec![group]), |name| getgrouplist(&name, group));
    groups.map_err(|source| Refusal::Refused { action: "look up the supplementary groups", source })
}

fn verify(user: Uid, group: Gid, groups: &[Gid]) -> Result<(), Refusal> {
    verify_user(user, group)?;
    let has_changed = getgroups().map(sorted) != Ok(sorted(groups.to_vec()));
    if has_changed { Err(Refusal::NotDropped("the supplementary groups are others")) } else { Ok(()) }
}

fn verify_user(user: Uid, group: Gid) -> Result<(), Refusal> {
    let users = getresuid().map(|now| [now.real, now.effective, now.saved]);
    if users != Ok([user; 3]) {
        return Err(Refusal::NotDropped("the user is another"));
    }
    let own = getresgid().map(|now| [now.real, now.effective, now.saved]);
    if own != Ok([group; 3]) {
        return Err(Refusal::NotDropped("the group is another"));
    }
    if !user.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(Refusal::NotDropped("root can be had back"));
    }
    Ok(())
}

/// Only root could change them: after an upgrade they are those of the first start.
fn compare(groups: &[Gid]) {
    if getgroups().map(sorted) != Ok(sorted(groups.to_vec())) {
        warn!(
            "--user: the supplementary groups are not those the user has by now; start rusgi anew as root to change them"
        );
    }
}

fn sorted(groups: Vec<Gid>) -> Vec<u32> {
    let mut groups: Vec<_> = groups.into_iter().map(Gid::as_raw).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
