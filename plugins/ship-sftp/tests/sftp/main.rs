//! Tests an account without a shell as a destination: the conformance tests, and the behaviour of
//! SFTP.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod chroot;
mod conformance;
mod server;

use longshore_ship_sftp::Sftp;
use longshore_testkit::ssh_conformance::{SshPlugin, build};
use longshore_testkit::sshd::Account;

/// The way to build a destination on a server.
const SFTP: SshPlugin = SshPlugin { build: build::<Sftp>, account: Account::Sftp };
