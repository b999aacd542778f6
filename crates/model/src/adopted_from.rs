//! The file of another program that a backup was made of.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::key::Key;

/// The file of another program that a backup was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AdoptedFrom {
    /// The name of the destination in the configuration.
    pub destination: String,
    /// The key of the file.
    pub key: Key,
    /// The time of the dump, by the name of the file or its header, in UTC.
    pub time: DateTime<Utc>,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The removed compressions and encryptions, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrappings: Vec<String>,
    /// The time at which Longshore read the file, in UTC.
    pub taken: DateTime<Utc>,
}
