//! The rules for paths in a data directory, and their hashes.

use sha2::{Digest, Sha256};

/// The longest path of a file in a data directory, in bytes: PostgreSQL's `MAXPGPATH`
/// (`src/include/pg_config_manual.h`).
const LONGEST: usize = 1024;

/// The first 128 bits of the SHA-256 of a path: equal for no two paths, hostile ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PathHash([u8; 16]);

impl PathHash {
    /// Returns the hash of a path.
    pub(crate) fn of(path: &[u8]) -> Self {
        let digest = Sha256::digest(path);
        let mut hash = [0; 16];
        hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(hash)
    }
}

/// Returns the reason why a path names no file below the data directory, if there is one.
pub(crate) fn fault(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return Some("empty path");
    }
    if path.len() >= LONGEST {
        return Some("path of 1024 bytes or more");
    }
    if path.starts_with(b"/") {
        return Some("absolute path");
    }
    if path.contains(&0) {
        return Some("path with a zero byte");
    }
    path.split(|byte| *byte == b'/').find_map(|part| match part {
        b"" => Some("path with an empty part"),
        b"." => Some("path with a part `.`"),
        b".." => Some("path with a part `..`"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_names_paths_that_leave_the_directory() {
        for path in ["", "/etc/passwd", "a//b", "a/", "./a", "..", "a/../../b", "a/..", "a\0b"] {
            assert!(fault(path.as_bytes()).is_some(), "{path:?}");
        }
        for path in ["PG_VERSION", "base/1/2619", "..a", "a..b/c", "a/...", "a b"] {
            assert_eq!(fault(path.as_bytes()), None, "{path:?}");
        }
        assert!(fault(&[b'a'; 1024]).is_some());
        assert_eq!(fault(&[b'a'; 1023]), None);
    }

    #[test]
    fn hash_differs_for_similar_paths() {
        assert_eq!(PathHash::of(b"base/1/2619"), PathHash::of(b"base/1/2619"));
        assert_ne!(PathHash::of(b"base/1/2619"), PathHash::of(b"base/12/619"));
    }
}
