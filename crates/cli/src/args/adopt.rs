//! The flags of `adopt`.

use clap::{Args as ClapArgs, Subcommand};

use super::{Identity, Json};

/// The commands about files of other programs.
#[derive(Debug, Subcommand)]
pub(crate) enum Adopt {
    /// Look for the files of other backup tools, and print [adopt.NAME] tables for them.
    ///
    /// Recognizes the names of pg_back, autopostgresqlbackup, postgres-backup-local, db-backup, PG
    /// Back Web, postgres-backup-s3 and mysql-backup. Changes nothing: append the output to the
    /// configuration, and `longshore prune --explain` shows what retention would remove.
    Detect(Detect),
    /// Make backups of adopted files.
    ///
    /// Reads each file to its end, and encrypts and ships it like a new dump of the job. The
    /// originals stay. Files of which a backup exists, and hard links of them, are left alone.
    Take(Take),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Detect {
    /// The destination, as in [destination.NAME].
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Take {
    /// The adopt, as in [adopt.NAME].
    pub(crate) adopt: String,
    /// The job whose backups the files become; optional if there is only one.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Take only this file, or the newest file of this database.
    #[arg(long, value_name = "NAME")]
    pub(crate) file: Option<String>,
    /// Show which files would be taken; read and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}
