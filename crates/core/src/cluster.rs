//! A cluster and its connection.

use std::path::PathBuf;

use secrecy::SecretString;

/// A cluster and its connection.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The cluster's name in the configuration.
    pub name: String,
    /// The libpq connection string: keywords, a URI or a service. It may contain a password.
    pub connection: SecretString,
    /// A password from another source, such as a terminal.
    pub password: Option<SecretString>,
    /// The folder of PostgreSQL's client programs; searched for if absent.
    pub bin_dir: Option<PathBuf>,
}
