//! The verification of a dump, as recorded in its manifest.

use serde::{Deserialize, Serialize};

/// A verification of the plaintext during the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verification {
    /// The verifier, such as `pg_restore 17.4`.
    pub by: String,
    /// The method, such as `decoded`.
    pub method: String,
    /// Totals that reveal no content, such as the number of tables.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub totals: std::collections::BTreeMap<String, u64>,
}

impl Verification {
    /// Returns true for Longshore's own verifier, which always writes its findings into the
    /// details.
    pub fn writes_details(&self) -> bool {
        self.by.split(' ').next() == Some("longshore")
    }
}
