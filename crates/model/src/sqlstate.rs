//! SQLSTATE codes of PostgreSQL's errors, which are the same in every language of the server.

use std::fmt;

/// A code of five characters, of which the first two are the class. Source: PostgreSQL's
/// documentation, "PostgreSQL Error Codes".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// The session was terminated by an administrator or by the server's shutdown.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// A row violates a `CHECK` constraint.
    pub const CHECK_VIOLATION: Self = Self(*b"23514");
    /// The server's disk is full.
    pub const DISK_FULL: Self = Self(*b"53100");
    /// A row violates a foreign key.
    pub const FOREIGN_KEY_VIOLATION: Self = Self(*b"23503");
    /// A database of this name exists.
    pub const DUPLICATE_DATABASE: Self = Self(*b"42P04");
    /// A lock was not acquired within `lock_timeout`.
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    /// The role lacks a privilege.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// The database does not exist.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// Memory or the shared lock table is exhausted.
    pub const OUT_OF_MEMORY: Self = Self(*b"53200");
    /// A statement was cancelled by a timeout or by a request.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// The transaction is read-only.
    pub const READ_ONLY_TRANSACTION: Self = Self(*b"25006");
    /// A conflict with another transaction, or with replay on a standby.
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// An object is not in the state that the command needs, such as a slot without its WAL.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    /// An object, such as a slot, is in use.
    pub const OBJECT_IN_USE: Self = Self(*b"55006");
    /// The connection limit of the server, the database or the role is exceeded.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// The server is starting, stopping or in recovery.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// An object, such as a role, a collation or a type, does not exist.
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// A file, such as that of an extension, does not exist.
    pub const UNDEFINED_FILE: Self = Self(*b"58P01");
    /// A row violates a unique constraint.
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");

    /// Parses a code.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 5] = text.as_bytes().try_into().ok()?;
        code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(Self(code))
    }

    /// Returns the five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the class: the first two characters, such as `22` for data exceptions.
    pub fn class(&self) -> &str {
        &self.as_str()[..2]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that failed on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error code.
    pub sqlstate: SqlState,
    /// The command's tag, such as `COPY` or `CREATE INDEX`.
    pub command: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_five_digits_or_capitals() {
        let code = SqlState::parse("42P04").unwrap();
        assert_eq!((code, code.class(), code.to_string()), (SqlState::DUPLICATE_DATABASE, "42", "42P04".to_owned()));
        for text in ["", "42P0", "42P045", "42p04", "42 04", "4205ß"] {
            assert_eq!(SqlState::parse(text), None, "{text}");
        }
    }
}
