//! SQLSTATE: the code that a server gives an error, the same in every language that it speaks.

use std::fmt;

/// Five characters, of which the first two are the class. Source: PostgreSQL's documentation, "PostgreSQL Error Codes".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// The end of a session by an administrator, or by the end of the server.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// A constraint `CHECK` that a row breaks.
    pub const CHECK_VIOLATION: Self = Self(*b"23514");
    /// No room where the server writes.
    pub const DISK_FULL: Self = Self(*b"53100");
    /// A foreign key that a row breaks.
    pub const FOREIGN_KEY_VIOLATION: Self = Self(*b"23503");
    /// A name that is taken by a database.
    pub const DUPLICATE_DATABASE: Self = Self(*b"42P04");
    /// A lock that was not had within `lock_timeout`.
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    /// A privilege that the role does not have.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// A database that is not there.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// Memory, or room in the shared lock table, that is used up.
    pub const OUT_OF_MEMORY: Self = Self(*b"53200");
    /// A statement that was ended by a timeout or by a request.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// A transaction that may not write.
    pub const READ_ONLY_TRANSACTION: Self = Self(*b"25006");
    /// A conflict with another transaction, or with replay on a standby.
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// More connections than the server, the database or the role may have.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// A server that starts, stops or only replays.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// Something that is not there, such as a role, a collation or a type.
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// A file that is not there, such as an extension's.
    pub const UNDEFINED_FILE: Self = Self(*b"58P01");
    /// A unique constraint that a row breaks.
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");

    /// Reads a code.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 5] = text.as_bytes().try_into().ok()?;
        code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first two characters, such as `22` for data that is not what its type demands.
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

/// A command that a server could not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
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
