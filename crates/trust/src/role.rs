//! Roles: the parts of the work that a signer may report.

use std::fmt;

use crate::pattern;

/// A part of the work. The name of a principal begins with it: `backup@db1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Making backups: manifests, and reports of runs.
    Backup,
    /// Deleting backups: released holds, withdrawn marks, and reports of deletions.
    Prune,
    /// Testing backups: marks of read-backs and drills, and reports about them.
    Drill,
}

/// All roles.
pub const ROLES: [Role; 3] = [Role::Backup, Role::Prune, Role::Drill];

impl Role {
    /// Returns the role's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Prune => "prune",
            Self::Drill => "drill",
        }
    }

    /// Returns true if a principal has this role: the part before the first `@` is the role's word,
    /// or a pattern that matches it.
    pub fn is_of(self, principal: &str) -> bool {
        pattern::matches(self.word(), principal.split('@').next().unwrap_or_default())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_begins_with_its_role() {
        for (principal, roles) in [
            ("backup@db1", &[Role::Backup][..]),
            ("prune", &[Role::Prune]),
            ("*@db1", &ROLES),
            ("*", &ROLES),
            ("backup2@db1", &[]),
            ("alice@backup", &[]),
            ("", &[]),
        ] {
            let of: Vec<_> = ROLES.into_iter().filter(|role| role.is_of(principal)).collect();
            assert_eq!(of, roles, "{principal}");
        }
    }
}
