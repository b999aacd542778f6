//! Retention must not lose a good backup. These tests compare the engine with a model, with
//! invariants, with the known faults of other tools, and with restic.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod calendar_oracle;
mod full_backups;
mod invariants;
mod known_faults;
mod model;
mod restic_oracle;
mod rng;
mod scale;
mod scenario;
mod shrink;
mod unknown_origin;
