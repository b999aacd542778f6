//! Retention must not lose a good backup: the engine against a model, against what must hold whatever happens, against what went wrong
//! in other tools, and against one of them.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

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
