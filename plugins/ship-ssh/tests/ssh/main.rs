//! Tests an account with a shell as a destination: the conformance tests, and the behaviour of SSH.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod busybox;
mod command;
mod conformance;

use longshore_ship_ssh::Ssh;
use longshore_testkit::ssh_conformance::{SshPlugin, build};
use longshore_testkit::sshd::Account;

/// The way to build a destination on a server.
const SSH: SshPlugin = SshPlugin { build: build::<Ssh>, account: Account::Shell };
