//! The flags of `notify`.

use clap::{Args as ClapArgs, Subcommand};

/// The commands about notices.
#[derive(Debug, Subcommand)]
pub(crate) enum Notify {
    /// Send a test to a channel.
    Test(Test),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Test {
    /// The name of the channel, as in [notify.NAME].
    pub(crate) channel: String,
}
