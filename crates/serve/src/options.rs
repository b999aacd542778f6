//! The parts of the service that the command line provides.

use std::path::PathBuf;

use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_config::serve::Listen;
use longshore_core::Result;
use longshore_core::plugin::Identities;
use longshore_engine::status::TablesOf;

/// The binary and the configuration of tasks.
#[derive(Debug, Clone)]
pub struct Program {
    /// The path of the binary.
    pub binary: PathBuf,
    /// The path of the configuration.
    pub config: PathBuf,
}

/// The parts of the service that the command line provides.
pub struct Options<'a> {
    /// The binary and the configuration of tasks.
    pub program: Program,
    /// The address or socket, in place of the configured one.
    pub listen: Option<Listen>,
    /// False to run no jobs, even if the configuration permits it.
    pub may_run: bool,
    /// The plugins.
    pub registry: &'a Registry,
    /// The identities of the command line.
    pub identities: &'a Identities,
    /// The function that reads names of tables from a record.
    pub tables: &'a TablesOf<'a>,
    /// Reads the configuration.
    pub load: &'a dyn Fn() -> Result<Config>,
    /// Prints a note.
    pub note: &'a dyn Fn(&str),
    /// The version of Longshore.
    pub version: &'a str,
}
