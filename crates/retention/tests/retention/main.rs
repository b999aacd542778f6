//! Retention must not lose a good backup. These tests compare the engine with a model, with
//! invariants, with the known faults of other tools, and with restic.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod almanac;
mod chance;
mod invariants;
mod model;
mod origin;
mod peer;
mod scale;
mod scars;
mod search;
mod world;
