//! Tests an account without a shell as a destination: the conformance tests, and the behaviour of
//! SFTP.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod chroot;
mod conformance;
mod own;

use longshore_ship_sftp::Sftp;
use longshore_testkit::behind_ssh::{Reach, built};
use longshore_testkit::sshd::Account;

/// The way to build a destination on a server.
const SFTP: Reach = Reach { build: built::<Sftp>, account: Account::Sftp };
