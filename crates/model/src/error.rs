//! The error type of all stages: a kind for the caller, a subject for the operator, a source for
//! debugging.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::sqlstate::SqlState;

/// The stage in which an error occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The configuration, or a file that it names.
    Config,
    /// Queries to a server.
    Connect,
    /// Reading a database.
    Dump,
    /// Verification of a dump.
    Verify,
    /// Compression or decompression.
    Compress,
    /// Encryption.
    Encrypt,
    /// Decryption.
    Decrypt,
    /// Writing to or reading from a destination.
    Ship,
    /// Reading the manifests of a destination.
    Catalog,
    /// Retention.
    Retention,
    /// Restoring a backup into a cluster.
    Restore,
    /// Creating a cluster for a drill, and comparing the restored database.
    Drill,
    /// Exclusive locks.
    Lock,
    /// Programs of the operator before and after a run.
    Hook,
    /// Notices of problems.
    Notify,
    /// Signatures of records.
    Trust,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Connect => "connect",
            Self::Dump => "dump",
            Self::Verify => "verify",
            Self::Compress => "compress",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Ship => "ship",
            Self::Catalog => "catalog",
            Self::Retention => "retention",
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Lock => "lock",
            Self::Hook => "hook",
            Self::Notify => "notify",
            Self::Trust => "trust",
        })
    }
}

/// The kind of an error, by which a caller decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request or the configuration is invalid.
    Usage,
    /// The named object does not exist.
    NotFound,
    /// The named object exists, and objects are never overwritten.
    AlreadyExists,
    /// The credentials or permissions do not suffice.
    Denied,
    /// A temporary failure: a connection, a timeout, a server that is down.
    Unavailable,
    /// Bytes differ from the recorded or the expected ones.
    Corrupt,
    /// Another process holds the lock.
    Locked,
    /// A safety rule forbids the operation.
    Refused,
    /// Any other failure.
    Failed,
}

impl Kind {
    /// Returns the kind's name in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Locked => "locked",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// An error of one layer. `Display` shows only this layer; user interfaces print the chain and the
/// hint.
#[derive(Debug, Clone)]
pub struct Error {
    stage: Stage,
    kind: Kind,
    subject: String,
    message: String,
    hint: Option<String>,
    sqlstate: Option<SqlState>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The result of fallible operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error about `subject` (a database, a destination, a key, a file).
    pub fn new(stage: Stage, kind: Kind, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { stage, kind, subject: subject.into(), message: message.into(), hint: None, sqlstate: None, source: None }
    }

    /// Creates an error whose kind follows from an I/O error.
    pub fn io(stage: Stage, subject: impl Into<String>, message: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => Kind::NotFound,
            Io::AlreadyExists => Kind::AlreadyExists,
            Io::PermissionDenied => Kind::Denied,
            Io::ConnectionRefused | Io::ConnectionReset | Io::TimedOut | Io::HostUnreachable => Kind::Unavailable,
            _ => Kind::Failed,
        };
        Self::new(stage, kind, subject, message).because(source)
    }

    /// Returns the error with another subject, one that the operator knows.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Sets the hint, which is shown on a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the error code of a server.
    #[must_use]
    pub fn code(mut self, sqlstate: SqlState) -> Self {
        self.sqlstate = Some(sqlstate);
        self
    }

    /// Sets the cause of the error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns the stage in which the error occurred.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the kind, by which a caller decides.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the subject of the error.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the hint, if any.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the server's error code, if a server reported the error.
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.sqlstate
    }

    /// Returns the messages of this error and its causes on one line, for records and logs.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            line.push_str(": ");
            line.push_str(&on_one_line(&error.to_string()));
            next = error.source();
        }
        line
    }
}

/// Joins the lines of a text. A line of marks beneath a quoted line means nothing without it.
fn on_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.bytes().all(|byte| byte == b'^'));
    lines.collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)?;
        if !self.subject.is_empty() {
            write!(f, " \"{}\"", printable(&self.subject))?;
        }
        write!(f, ": {}", self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Escapes a name for display: control characters, so that no name can break a line or control a
/// terminal, and invisible or reordering characters, so that no name looks like another.
pub fn printable(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            _ if char.is_control() => shown.extend(char.escape_debug()),
            _ if is_hidden(char) => shown.extend(char.escape_unicode()),
            _ => shown.push(char),
        }
    }
    shown
}

/// Returns true for a character that only affects the display of others: text direction, joiners,
/// marks, tags.
fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Carries an [`Error`] through interfaces that use [`std::io::Error`].
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::other(error)
    }
}

impl Error {
    /// Returns the [`Error`] that `error` carries, if any.
    pub fn carried_by(error: &std::io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_one_layer_and_chain_shows_all() {
        let error = Error::io(Stage::Ship, "local", "cannot write", std::io::Error::from_raw_os_error(28));
        assert_eq!(error.to_string(), "ship \"local\": cannot write");
        assert_eq!(error.chain(), "ship \"local\": cannot write: No space left on device (os error 28)");
    }

    #[test]
    fn chain_is_one_line() {
        let error =
            Error::new(Stage::Config, Kind::Usage, "config.toml:2:1", "unknown field").because("x = 1\n^\nmore");
        assert_eq!(error.chain(), format!("{error}: x = 1; more"));
    }

    #[test]
    fn printable_names_are_safe_and_distinct() {
        for (name, shown) in [
            ("Köln 1/2 \"x\" 日本 e\u{301}", "Köln 1/2 \"x\" 日本 e\u{301}"),
            ("a\nb\u{1b}[2J", "a\\nb\\u{1b}[2J"),
            ("abc\u{202e}fed", "abc\\u{202e}fed"),
            ("\u{2066}a\u{2069}\u{200f}", "\\u{2066}a\\u{2069}\\u{200f}"),
            ("shop\u{200b}\u{feff}\u{ad}\u{2060}", "shop\\u{200b}\\u{feff}\\u{ad}\\u{2060}"),
            ("a\u{2028}b\u{e0041}", "a\\u{2028}b\\u{e0041}"),
        ] {
            assert_eq!(printable(name), shown);
        }
    }

    #[test]
    fn io_error_carries_the_error() {
        let through: std::io::Error = Error::new(Stage::Dump, Kind::Corrupt, "appdb", "cut").into();
        assert_eq!(Error::carried_by(&through).unwrap().kind(), Kind::Corrupt);
        assert!(Error::carried_by(&std::io::Error::other("x")).is_none());
    }
}
