//! What an account with a shell promises as a destination: what every destination does, and what is SSH's own.

// What fails here fails a test, in helpers, too.
#![allow(clippy::unwrap_used)]

mod busybox;
mod conformance;
mod own;

use longshore_ship_ssh::Ssh;
use longshore_testkit::behind_ssh::{Reach, built};
use longshore_testkit::sshd::Account;

/// How it gets to a server.
const SSH: Reach = Reach { build: built::<Ssh>, account: Account::Shell };
