//! What an account with a shell promises as a destination: what every destination does, and what is SSH's own.

// What fails here fails a test, in helpers, too.
#![allow(clippy::unwrap_used)]

mod conformance;
mod own;

use longshore_core::plugin::Plugin;
use longshore_ship_ssh::Ssh;
use longshore_testkit::behind_ssh::Reach;
use longshore_testkit::sshd::Account;

/// How it gets to a server.
const SSH: Reach = Reach {
    build: |settings| serde_json::from_value::<Ssh>(settings).unwrap().build(&()).unwrap(),
    account: Account::Shell,
};
