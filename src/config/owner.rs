//! Who owns a socket's file, and its permission bits.

use std::str::FromStr;

use nix::unistd::{Group, User};
use thiserror::Error;

use crate::config::Account;

/// The owner of a Unix socket's file; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's number.
    pub user: Option<u32>,
    /// The group's number.
    pub group: Option<u32>,
}

impl From<&Account> for Owner {
    fn from(account: &Account) -> Self {
        Self { user: Some(account.user), group: Some(account.group) }
    }
}

/// Why a text is not an owner or not a mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnerError {
    /// Neither a user nor a group is named.
    #[error("`{0}` names nobody: write USER, USER:GROUP or :GROUP")]
    Nobody(String),
    /// The user database knows no such user.
    #[error("there is no user `{0}`: create it, or write its number")]
    User(String),
    /// The group database knows no such group.
    #[error("there is no group `{0}`: create it, or write its number")]
    Group(String),
    /// Not octal, or more than the permission bits.
    #[error("`{0}` is not a file mode: write octal permissions from 000 to 777, as in 660")]
    Mode(String),
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() && group.is_empty() {
            return Err(OwnerError::Nobody(text.to_owned()));
        }
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Ok(Self { user: named(user).map(uid).transpose()?, group: named(group).map(gid).transpose()? })
    }
}

/// Reads octal permission bits such as `660` or `0660`.
///
/// # Errors
/// [`OwnerError::Mode`] when the text is not octal or names more than the nine permission bits.
pub fn parse_mode(text: &str) -> Result<u32, OwnerError> {
    let bits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !bits.is_empty() && bits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = is_octal.then(|| u32::from_str_radix(bits, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777).ok_or_else(|| OwnerError::Mode(text.to_owned()))
}

fn uid(name: String) -> Result<u32, OwnerError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let user = User::from_name(&name).ok().flatten();
    user.map(|user| user.uid.as_raw()).ok_or(OwnerError::User(name))
}

fn gid(name: String) -> Result<u32, OwnerError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = Group::from_name(&name).ok().flatten();
    group.map(|group| group.gid.as_raw()).ok_or(OwnerError::Group(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Owner, OwnerError> {
        text.parse()
    }

    #[test]
    fn user_and_group_may_each_be_left_out() {
        assert_eq!(parse("33"), Ok(Owner { user: Some(33), group: None }));
        assert_eq!(parse("33:"), Ok(Owner { user: Some(33), group: None }));
        assert_eq!(parse("33:44"), Ok(Owner { user: Some(33), group: Some(44) }));
        assert_eq!(parse(":44"), Ok(Owner { user: None, group: Some(44) }));
    }

    #[test]
    fn names_are_looked_up() {
        assert_eq!(parse("root:root"), Ok(Owner { user: Some(0), group: Some(0) }));
        assert_eq!(parse("no-such-user"), Err(OwnerError::User("no-such-user".to_owned())));
        assert_eq!(parse("root:no-such-group"), Err(OwnerError::Group("no-such-group".to_owned())));
    }

    #[test]
    fn an_owner_of_nobody_is_refused() {
        assert_eq!(parse(""), Err(OwnerError::Nobody(String::new())));
        assert_eq!(parse(":"), Err(OwnerError::Nobody(":".to_owned())));
    }

    #[test]
    fn a_mode_is_octal_with_or_without_its_zero() {
        assert_eq!(parse_mode("660"), Ok(0o660));
        assert_eq!(parse_mode("0660"), Ok(0o660));
        assert_eq!(parse_mode("0o777"), Ok(0o777));
        for wrong in ["", "0o", "888", "u=rw", "1777", "-660", "+660"] {
            assert_eq!(parse_mode(wrong), Err(OwnerError::Mode(wrong.to_owned())));
        }
    }
}
