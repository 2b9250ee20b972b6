//! Where an application is mounted: `PREFIX=TARGET`.

use std::{path::Path, str::FromStr};

use thiserror::Error;

use crate::config::target::{Target, TargetError};

/// An application below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path, from `/` to the end of a segment; it becomes the end of SCRIPT_NAME.
    pub prefix: String,
    /// The application.
    pub target: Target,
}

/// Why a text is not a mount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MountError {
    /// There is no equals sign.
    #[error("`{0}` has no =: write PREFIX=TARGET, as in /api=api:app")]
    NoTarget(String),
    /// The prefix is no path below the root.
    #[error("`{0}` is no prefix: write a path such as /api; the application for / is TARGET itself")]
    Prefix(String),
    /// What stands behind the equals sign is no target.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl Mount {
    /// The same mount, its target seen from `directory`.
    #[must_use]
    pub fn found_in(self, directory: &Path) -> Self {
        Self { target: self.target.found_in(directory), ..self }
    }
}

impl FromStr for Mount {
    type Err = MountError;

    fn from_str(text: &str) -> Result<Self, MountError> {
        let (prefix, target) = text.split_once('=').ok_or_else(|| MountError::NoTarget(text.to_owned()))?;
        let path = prefix.strip_suffix('/').unwrap_or(prefix);
        if !path.starts_with('/') || path.ends_with('/') || path.contains("//") {
            return Err(MountError::Prefix(prefix.to_owned()));
        }
        Ok(Self { prefix: path.to_owned(), target: target.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, String), MountError> {
        text.parse::<Mount>().map(|mount| (mount.prefix, mount.target.to_string()))
    }

    #[test]
    fn a_prefix_ends_at_the_end_of_a_segment() {
        let expected = Ok(("/api/v1".to_owned(), "api:app".to_owned()));
        assert_eq!(parse("/api/v1=api:app"), expected);
        assert_eq!(parse("/api/v1/=api:app"), expected);
    }

    #[test]
    fn what_is_no_mount_is_refused_by_its_faulty_part() {
        assert_eq!(parse("/api"), Err(MountError::NoTarget("/api".to_owned())));
        for prefix in ["", "/", "api", "//", "/a//b"] {
            assert_eq!(parse(&format!("{prefix}=app")), Err(MountError::Prefix(prefix.to_owned())));
        }
        assert!(matches!(parse("/a=2x"), Err(MountError::Target(_))));
    }
}
