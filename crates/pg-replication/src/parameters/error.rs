//! The errors of connection parameters.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// An error in the parameters of a connection. It never contains a secret value.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ParameterError {
    /// A keyword that libpq does not know.
    Unknown {
        /// The keyword.
        keyword: String,
    },
    /// A value that libpq rejects.
    Invalid {
        /// The keyword.
        keyword: &'static str,
        /// The value, unless it is secret.
        value: String,
        /// The rule that the value breaks.
        rule: &'static str,
    },
    /// A setting that libpq would follow and that this client does not implement.
    Unsupported {
        /// The keyword.
        keyword: &'static str,
        /// The value, unless it is secret.
        value: String,
    },
    /// Two settings that contradict each other.
    Conflict {
        /// The first setting, as `keyword=value`.
        setting: String,
        /// The second setting, as `keyword=value`.
        other: String,
        /// The rule that the two settings break.
        rule: &'static str,
    },
    /// Lists of hosts, addresses or ports whose lengths differ.
    ListLength {
        /// The keyword of the list.
        keyword: &'static str,
        /// The number of values in the list.
        count: usize,
        /// The number of hosts.
        hosts: usize,
    },
    /// A service that no service file defines, or a service file that cannot be parsed.
    Service {
        /// The name of the service.
        service: String,
        /// The rule that is broken.
        rule: String,
    },
    /// A file that is needed and that cannot be used as it is.
    File {
        /// The keyword that names the file.
        keyword: &'static str,
        /// The file.
        path: PathBuf,
        /// The rule that the file breaks.
        rule: &'static str,
    },
    /// A file that cannot be read.
    Read {
        /// The keyword that names the file.
        keyword: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// No user name is set, and the operating system has none for this process.
    NoUser {
        /// The effective user id of this process.
        uid: u32,
    },
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { keyword } => write!(f, "{keyword:?}: not a connection parameter of libpq"),
            Self::Invalid { keyword, value, rule } => write!(f, "{keyword}={value:?}: {rule}"),
            Self::Unsupported { keyword, value } => {
                write!(f, "{keyword}={value:?}: not supported by the replication client")
            }
            Self::Conflict { setting, other, rule } => write!(f, "{setting} with {other}: {rule}"),
            Self::ListLength { keyword, count, hosts } => write!(f, "{keyword}: {count} values for {hosts} hosts"),
            Self::Service { service, rule } => write!(f, "service {service:?}: {rule}"),
            Self::File { keyword, path, rule } => write!(f, "{keyword} {}: {rule}", path.display()),
            Self::Read { keyword, path, .. } => write!(f, "{keyword} {}: cannot be read", path.display()),
            Self::NoUser { uid } => write!(f, "user: not set, and the system has no user with id {uid}"),
        }
    }
}

impl std::error::Error for ParameterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
