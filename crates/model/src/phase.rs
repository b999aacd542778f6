//! The phases of a restore or a drill.

use serde::{Deserialize, Serialize};

/// A part of a drill or a restore, and its duration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The name, such as `fetch`, `decrypt`, `restore`, `index`, `analyze`, `compare`.
    pub name: String,
    /// The duration in seconds.
    pub seconds: f64,
    /// True if a real restore includes this phase.
    pub restores: bool,
}
