//! The messages of the protocol `longshore-exec/1`.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use longshore_core::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The name of the protocol.
pub const PROTOCOL: &str = "longshore-exec/1";

/// The work that a program is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Writes the plaintext of a subject to standard output.
    Dump,
    /// Reads a plaintext from standard input, and fails if it is damaged.
    Verify,
    /// Restores a plaintext from standard input. Only plain commands have this role.
    #[serde(skip_deserializing)]
    Restore,
    /// Encrypts standard input to standard output.
    Encrypt,
    /// Decrypts standard input to standard output, and fails if it is incomplete or modified.
    Decrypt,
    /// Stores standard input under a key, once the upload is committed.
    Ship,
    /// Writes an object, or a part of it, to standard output.
    Fetch,
    /// Lists objects.
    List,
    /// Reports one object.
    Stat,
    /// Removes an object, or a temporary file.
    Remove,
    /// Checks everything that later work needs.
    Check,
}

impl Role {
    /// Returns the name of the role in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Ship => "ship",
            Self::Fetch => "fetch",
            Self::List => "list",
            Self::Stat => "stat",
            Self::Remove => "remove",
            Self::Check => "check",
        }
    }

    /// Returns true if the program reads standard input.
    pub fn reads(self) -> bool {
        matches!(self, Self::Verify | Self::Restore | Self::Encrypt | Self::Decrypt | Self::Ship)
    }

    /// Returns true if the program writes bytes to standard output.
    pub fn writes(self) -> bool {
        matches!(self, Self::Dump | Self::Encrypt | Self::Decrypt | Self::Fetch)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A message to a program.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToProgram<'a> {
    /// The first message.
    Hello { protocol: &'a str, longshore: &'a str },
    /// The work to begin, after the program's `hello`.
    Start {
        role: Role,
        settings: &'a Map<String, Value>,
        secrets: &'a BTreeMap<String, String>,
        #[serde(flatten)]
        fields: &'a Map<String, Value>,
    },
    /// The whole body was written and is to be published.
    Commit { bytes: u64, sha256: &'a str },
}

/// A message from a program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromProgram {
    /// The first message.
    Hello {
        protocol: String,
        name: String,
        #[serde(default)]
        version: Option<String>,
        roles: Vec<Role>,
    },
    /// Work continues.
    Progress {
        #[serde(default, rename = "bytes")]
        _bytes: Option<u64>,
    },
    /// A message for the operator.
    Log {
        #[serde(default)]
        level: Level,
        message: String,
    },
    /// An object, of a list or of its own.
    Entry(ObjectEntry),
    /// The work succeeded.
    Done(Done),
    /// The work failed.
    Error {
        #[serde(default)]
        kind: String,
        message: String,
        #[serde(default)]
        hint: Option<String>,
    },
}

/// The severity of a message for the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// A message for the log.
    #[default]
    Info,
    /// A warning, which becomes part of the report.
    Warning,
}

/// An object that a program reports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectEntry {
    /// The object's key, or the name of a temporary file.
    pub key: String,
    /// The object's size in bytes.
    pub bytes: u64,
    /// The time of the last change, if known.
    #[serde(default)]
    pub modified: Option<DateTime<Utc>>,
}

/// The report of a program whose work succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The number of bytes read from standard input.
    #[serde(default)]
    pub bytes_in: Option<u64>,
    /// The number of bytes written to standard output.
    #[serde(default)]
    pub bytes_out: Option<u64>,
    /// A result for the operator, such as the name of a found format.
    #[serde(default)]
    pub note: Option<String>,
}

/// Returns the kind with this name; other names are [`Kind::Failed`].
pub(crate) fn kind(word: &str) -> Kind {
    let all = [
        Kind::Usage,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Denied,
        Kind::Unavailable,
        Kind::Corrupt,
        Kind::Locked,
        Kind::Refused,
    ];
    all.into_iter().find(|kind| kind.word() == word).unwrap_or(Kind::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_to_programs_are_flat_objects() {
        let fields = Map::from_iter([("key".to_owned(), "a/b".into())]);
        let secrets = BTreeMap::from([("token".to_owned(), "hush".to_owned())]);
        let start = ToProgram::Start { role: Role::Ship, settings: &Map::new(), secrets: &secrets, fields: &fields };
        assert_eq!(
            serde_json::to_string(&start).unwrap(),
            r#"{"type":"start","role":"ship","settings":{},"secrets":{"token":"hush"},"key":"a/b"}"#
        );
        let commit = ToProgram::Commit { bytes: 7, sha256: "ab" };
        assert_eq!(serde_json::to_string(&commit).unwrap(), r#"{"type":"commit","bytes":7,"sha256":"ab"}"#);
    }

    #[test]
    fn unknown_messages_and_fields_are_errors() {
        let parse = serde_json::from_str::<FromProgram>;
        for line in [
            r#"{"type":"progress"}"#,
            r#"{"type":"progress","bytes":7}"#,
            r#"{"type":"log","message":"x"}"#,
            r#"{"type":"log","level":"warning","message":"x"}"#,
            r#"{"type":"done"}"#,
            r#"{"type":"done","bytes_in":1,"bytes_out":2,"note":"x"}"#,
            r#"{"type":"error","message":"x"}"#,
            r#"{"type":"entry","key":"a","bytes":1,"modified":"2026-06-07T09:15:00Z"}"#,
            r#"{"type":"hello","protocol":"longshore-exec/1","name":"x","roles":["dump","ship"]}"#,
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for line in [
            r#"{"type":"finished"}"#,
            r#"{"type":"done","bytes":1}"#,
            r#"{"type":"done","bytes_in":-1}"#,
            r#"{"type":"hello","protocol":"longshore-exec/1","name":"x","roles":["fly"]}"#,
            r#"{"bytes":1}"#,
            "7",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn kinds_of_errors_are_those_of_longshore() {
        assert_eq!(kind("already_exists"), Kind::AlreadyExists);
        assert_eq!(kind("corrupt"), Kind::Corrupt);
        assert_eq!((kind("failed"), kind("odd"), kind("")), (Kind::Failed, Kind::Failed, Kind::Failed));
    }
}
