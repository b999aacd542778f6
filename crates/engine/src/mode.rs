//! The mode of a command that deletes.

/// The mode of a command that deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Delete.
    Act,
    /// Only show the plan.
    DryRun,
}
