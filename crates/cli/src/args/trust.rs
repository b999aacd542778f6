//! `longshore trust`.

use clap::{Args as ClapArgs, Subcommand};

use super::{Identity, Json};

#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Verify the backups without a trusted signature in a destination, and sign the good ones.
    ///
    /// For backups from before the first signature, or of a key that is no longer trusted. A
    /// signature states that this host trusts the backup: look at the list first.
    Adopt(Adopt),
    /// Accept the present state of a host's run reports and backups, or of a destination.
    ///
    /// After a host lost its state, after a rollback or a deletion that is explained, or after a
    /// cluster was created anew.
    AcceptChain {
        /// The name of the host, as `longshore status` reports it, or of a destination, where all
        /// is accepted.
        host: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Adopt {
    /// The destination.
    pub(crate) destination: String,
    /// Sign the backups [default: only verify and list them].
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}
