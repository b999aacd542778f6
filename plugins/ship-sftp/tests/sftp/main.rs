//! What an account without a shell promises as a destination: what every destination does, and what is SFTP's own.

// What fails here fails a test, in helpers, too.
#![allow(clippy::unwrap_used)]

mod chroot;
mod conformance;
mod own;

use longshore_ship_sftp::Sftp;
use longshore_testkit::behind_ssh::{Reach, built};
use longshore_testkit::sshd::Account;

/// How it gets to a server.
const SFTP: Reach = Reach { build: built::<Sftp>, account: Account::Sftp };
