//! Tests an account with a shell as a destination: the conformance tests, and the behaviour of SSH.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod busybox;
mod conformance;
mod own;

use longshore_ship_ssh::Ssh;
use longshore_testkit::behind_ssh::{Reach, built};
use longshore_testkit::sshd::Account;

/// The way to build a destination on a server.
const SSH: Reach = Reach { build: built::<Ssh>, account: Account::Shell };
