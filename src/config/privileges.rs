//! Whom the daemon runs as once its sockets are bound.

use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;

/// Whom to become, and whether it may be root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Whom to become; `None` stays who it is.
    pub account: Option<Account>,
    /// Whether an application may run as root because the operator says so.
    pub may_be_root: bool,
}

/// A user with a group, as `setuid(2)` and its kin need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub user: u32,
    /// The main group's number.
    pub group: u32,
    /// What the user database knows beyond the numbers, if it knows the user.
    pub known: Option<Known>,
}

/// A user's entry in the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The user's name, to which supplementary groups belong.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
}

/// Why there is no such account.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccountError {
    /// The user database knows no such name.
    #[error("there is no user `{0}`: create it, or write its number")]
    User(String),
    /// The group database knows no such name.
    #[error("there is no group `{0}`: create it, or write its number")]
    Group(String),
    /// A number that the user database does not know has no group of its own.
    #[error("user {0} is not in the user database and so has no group: name one with --group")]
    NoGroup(u32),
}

impl Account {
    /// Looks up `user` and `group`, names or numbers; without a group it is the user's own.
    ///
    /// # Errors
    /// [`AccountError`] when a name is unknown, or a number comes without a group.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, AccountError> {
        let unknown = || AccountError::User(user.to_owned());
        let number = user.parse().ok();
        let entry = match number {
            Some(number) => User::from_uid(Uid::from_raw(number)),
            None => User::from_name(user),
        };
        let entry = entry.ok().flatten();
        let user = number.or_else(|| entry.as_ref().map(|entry| entry.uid.as_raw())).ok_or_else(unknown)?;
        let own_group = entry.as_ref().map(|entry| entry.gid);
        let group = group.map(find_group).transpose()?.or(own_group).ok_or(AccountError::NoGroup(user))?;
        let known = entry.map(|entry| Known { name: entry.name, home: entry.dir });
        Ok(Self { user, group: group.as_raw(), known })
    }
}

fn find_group(group: &str) -> Result<Gid, AccountError> {
    if let Ok(number) = group.parse() {
        return Ok(Gid::from_raw(number));
    }
    let entry = Group::from_name(group).ok().flatten();
    entry.map(|entry| entry.gid).ok_or_else(|| AccountError::Group(group.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_brings_name_group_and_home_along() {
        let root = Account::find("root", None).unwrap();
        assert_eq!((root.user, root.group), (0, 0));
        assert_eq!(root.known.as_ref().map(|known| known.name.as_str()), Some("root"));
        assert_eq!(Account::find("0", None).as_ref(), Ok(&root));
        assert_eq!(Account::find("root", Some("55")).unwrap().group, 55);
    }

    #[test]
    fn a_number_that_nobody_knows_needs_a_group() {
        assert_eq!(Account::find("4000000", None), Err(AccountError::NoGroup(4_000_000)));
        let account = Account::find("4000000", Some("root")).unwrap();
        assert_eq!(account, Account { user: 4_000_000, group: 0, known: None });
    }

    #[test]
    fn unknown_names_are_refused() {
        assert_eq!(Account::find("no-such-user", None), Err(AccountError::User("no-such-user".to_owned())));
        assert_eq!(Account::find("root", Some("no-such-group")), Err(AccountError::Group("no-such-group".to_owned())));
    }
}
