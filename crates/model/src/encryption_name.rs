//! The names of encryptions by programs of the operator.

use std::fmt;

use crate::error::{Error, Kind, Result, Stage};

/// The name of an encryption by a program, such as `gpg`: lower-case letters and digits after a
/// letter, at most 16 bytes. Files end with a dot and the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncryptionName(String);

/// The maximum length of a name in bytes.
const MAX_BYTES: usize = 16;
/// Ends of file names with another meaning.
const RESERVED: [&str; 12] = ["age", "base", "dir", "dump", "gz", "json", "lz4", "rdiff", "sig", "sql", "tar", "zst"];

impl EncryptionName {
    /// Creates a name.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] for other characters, and for ends of file names with another
    /// meaning.
    pub fn new(name: &str) -> Result<Self> {
        let usage = |message: &str, hint: &str| Err(Error::new(Stage::Config, Kind::Usage, name, message).hint(hint));
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_valid = name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_inner);
        if !is_valid || name.len() > MAX_BYTES {
            let message = "invalid name of an encryption: expected at most 16 of a-z 0-9, beginning with a letter";
            return usage(message, "choose the end of the names of its files, such as \"gpg\"");
        }
        if RESERVED.contains(&name) {
            let message = "an encryption by a program cannot have this name: files that end with it are others";
            return usage(message, "choose another name, such as \"gpg\"; age needs no program");
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EncryptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ends_of_file_names_without_other_meaning() {
        for name in ["gpg", "asc", "enc2", "abcdefghijklmnop"] {
            assert_eq!(EncryptionName::new(name).unwrap().to_string(), name);
        }
        for name in ["", "GPG", "2gpg", "a.b", "age-header", "abcdefghijklmnopq", "age", "json", "sig", "zst"] {
            let error = EncryptionName::new(name).unwrap_err();
            assert!(error.kind() == Kind::Usage && error.remedy().is_some(), "{name}: {error:?}");
        }
    }
}
