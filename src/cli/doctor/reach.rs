//! Whether nginx's user gets through to a Unix socket: it must search every directory on the way and write to the socket.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::{cli::doctor::Finding, config::Listen};

/// Looks at the way to `socket`, as `user` goes it.
pub(super) fn check(socket: &Path, listen: &Listen, user: Option<&str>) -> Vec<Finding> {
    let Some(walker) = user.map_or_else(Walker::usual, Walker::find) else {
        let who = user.unwrap_or("www-data, nginx or http");
        return vec![Finding::warning(
            format!("{}: who nginx runs as is not known: there is no user {who}", socket.display()),
            "name the user with --nginx-user",
        )];
    };
    let mut findings: Vec<_> =
        socket.parent().into_iter().flat_map(|directory| on_the_way(directory, &walker)).collect();
    findings.extend(at_the_end(socket, listen, &walker));
    findings.extend(private_tmp(socket));
    if findings.is_empty() {
        findings.push(Finding::fine(format!("unix:{}: nginx's user {} reaches it", socket.display(), walker.name)));
    }
    findings
}

/// Somebody who has to get through.
struct Walker {
    name: String,
    user: u32,
    groups: Vec<u32>,
}

impl Walker {
    fn find(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        let c_name = std::ffi::CString::new(name).ok()?;
        let groups = getgrouplist(&c_name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        Some(Self { name: user.name, user: user.uid.as_raw(), groups: groups.into_iter().map(Gid::as_raw).collect() })
    }

    /// Debian's, the upstream packages', and Arch's name for it.
    fn usual() -> Option<Self> {
        ["www-data", "nginx", "http"].into_iter().find_map(Self::find)
    }

    /// Whether the mode bits grant `bit` (4 read, 2 write, 1 search).
    fn may(&self, bit: u32, owner: u32, group: u32, mode: u32) -> bool {
        let shift = match () {
            () if self.user == 0 => return true,
            () if self.user == owner => 6,
            () if self.groups.contains(&group) => 3,
            () => 0,
        };
        mode >> shift & bit != 0
    }
}

fn on_the_way(directory: &Path, walker: &Walker) -> Vec<Finding> {
    let ancestors: Vec<_> = directory.ancestors().collect();
    let mut findings = Vec::new();
    for place in ancestors.into_iter().rev() {
        match fs::metadata(place) {
            Ok(is) if walker.may(1, is.uid(), is.gid(), is.mode()) => {}
            Ok(is) => findings.push(Finding::problem(
                format!("{}: nginx's user {} may not pass ({})", place.display(), walker.name, describe(&is)),
                format!(
                    "chmod o+x {0}    (or, as a member: usermod -aG {1} {2}, then restart nginx)",
                    place.display(),
                    group_name(is.gid()),
                    walker.name
                ),
            )),
            Err(error) => {
                findings.push(Finding::problem(
                    format!("{}: {error}", place.display()),
                    format!(
                        "RuntimeDirectory= in the unit makes it below /run; by hand: mkdir -p {}",
                        directory.display()
                    ),
                ));
                break;
            }
        }
    }
    findings
}

/// The socket as it is, or as rusgi will make it.
fn at_the_end(socket: &Path, listen: &Listen, walker: &Walker) -> Option<Finding> {
    let owner = listen.socket_owner;
    let (user, group, mode) = match fs::symlink_metadata(socket) {
        Ok(is) if is.file_type().is_socket() => (is.uid(), is.gid(), is.mode()),
        Ok(_) => {
            return Some(Finding::problem(
                format!("{}: is not a socket, and rusgi will leave it alone", socket.display()),
                format!("mv {0} {0}.old", socket.display()),
            ));
        }
        Err(_) => (
            owner.and_then(|owner| owner.user).unwrap_or_else(|| Uid::current().as_raw()),
            owner.and_then(|owner| owner.group).unwrap_or_else(|| Gid::current().as_raw()),
            listen.socket_mode,
        ),
    };
    (!walker.may(2, user, group, mode)).then(|| {
        Finding::problem(
            format!(
                "{}: nginx's user {} may not connect (mode {:04o}, {}:{})",
                socket.display(),
                walker.name,
                mode & 0o777,
                user_name(user),
                group_name(group)
            ),
            give_to(walker, user),
        )
    })
}

/// How the socket's file comes to nginx's group.
fn give_to(walker: &Walker, owner: u32) -> String {
    let group = walker.groups.first().map_or_else(|| walker.name.clone(), |group| group_name(*group));
    match owner {
        0 => format!("--socket-owner :{group}"),
        _ => format!(
            "--socket-owner :{group}    (rusgi's user has to be in it: usermod -aG {group} {})",
            user_name(owner)
        ),
    }
}

/// systemd gives nginx a /tmp of its own on many distributions.
fn private_tmp(socket: &Path) -> Option<Finding> {
    let is_there = socket.starts_with("/tmp") || socket.starts_with("/var/tmp");
    is_there.then(|| {
        Finding::warning(
            format!("{}: nginx does not see it where its unit says PrivateTmp=yes", socket.display()),
            "use a directory below /run, which RuntimeDirectory= in the unit makes",
        )
    })
}

fn describe(is: &Metadata) -> String {
    format!("mode {:04o}, {}:{}", is.mode() & 0o7777, user_name(is.uid()), group_name(is.gid()))
}

fn user_name(number: u32) -> String {
    let user = User::from_uid(Uid::from_raw(number)).ok().flatten();
    user.map_or_else(|| number.to_string(), |user| user.name)
}

fn group_name(number: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(number)).ok().flatten();
    group.map_or_else(|| number.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walker(user: u32, groups: &[u32]) -> Walker {
        Walker { name: "nginx".to_owned(), user, groups: groups.to_vec() }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        // As path_resolution(7) has it: an owner without the bit is refused although everybody else has it.
        assert!(!walker(5, &[7]).may(1, 5, 7, 0o077));
        assert!(!walker(5, &[7]).may(1, 6, 7, 0o701));
        assert!(walker(5, &[7]).may(1, 6, 8, 0o701));
        assert!(walker(5, &[9, 7]).may(2, 6, 7, 0o020));
        assert!(walker(0, &[]).may(2, 6, 7, 0));
    }
}
