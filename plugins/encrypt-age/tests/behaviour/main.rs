//! Tests the plugin against the real `age` and `ssh-keygen`.
#![allow(clippy::unwrap_used)]

mod damage;
mod hardware_key;
mod header;
mod identity;
mod interchange;
mod settings;
mod support;
