//! The names of encryptions by programs of the operator.

use std::fmt;

use crate::error::{Error, Kind, Result, Stage};

/// The name of an encryption by a program, such as `gpg`: lower-case letters and digits after a
/// letter, at most 16 bytes. Files end with a dot and the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncryptionName(String);

/// The maximum length of a name in bytes.
const MAX_BYTES: usize = 16;
/// Ends of file names with another meaning: of formats, compressions, records, checksums, temporary
/// files, WAL and pages.
const RESERVED: [&str; 38] = [
    "age", "backup", "base", "blocks", "bz2", "dat", "details", "dir", "dump", "gz", "header", "history", "html",
    "json", "lock", "lz4", "md", "md5", "partial", "rdiff", "sha1", "sha224", "sha256", "sha384", "sha512", "sig",
    "spool", "sql", "tar", "tbz2", "tgz", "tmp", "toc", "txt", "xz", "zip", "zst", "zstd",
];

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
            let message = "an encryption by a program cannot have this name, which other files end with";
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
    use crate::format::OWN;
    use crate::key::DETAILS;
    use crate::{difference, header, signature};

    #[test]
    fn ends_of_other_files_are_reserved() {
        let formats: Vec<String> = OWN.iter().map(|format| format.extension().into_owned()).collect();
        let others = [DETAILS, difference::EXTENSION, header::SEALED, header::WORD, signature::SIGNATURE];
        for extension in formats.iter().map(String::as_str).chain(others) {
            for name in extension.split('.').filter(|name| !name.is_empty()) {
                assert!(EncryptionName::new(name).is_err(), "{name}");
            }
        }
        assert!(RESERVED.is_sorted(), "{RESERVED:?}");
    }

    #[test]
    fn names_are_ends_of_file_names_without_other_meaning() {
        for name in ["gpg", "asc", "enc2", "abcdefghijklmnop"] {
            assert_eq!(EncryptionName::new(name).unwrap().to_string(), name);
        }
        for name in ["", "GPG", "2gpg", "a.b", "age-header", "abcdefghijklmnopq", "age", "json", "sig", "xz"] {
            let error = EncryptionName::new(name).unwrap_err();
            assert!(error.kind() == Kind::Usage && error.remedy().is_some(), "{name}: {error:?}");
        }
    }
}
