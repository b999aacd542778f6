//! `longshore rekey`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use super::{Identity, Json};

/// The limits of `rekey`.
pub(super) const REKEY_HELP: &str = "Adds readers and takes no access away: a backup still opens with every identity \
    that opened it before, and a kept copy of an old header, or of the key of a file, decrypts that file for ever. To \
    end the access of an identity, remove its recipient from the configuration, and let the older backups expire.\n\n\
    Reads only the headers of files, and never changes or replaces a file. Repeated, adds nothing twice.";

#[derive(Debug, ClapArgs)]
pub(crate) struct Rekey {
    /// The job whose backups and archived WAL are rekeyed; optional if there is only one.
    #[arg(conflicts_with_all = ["all", "backup"])]
    pub(crate) job: Option<String>,
    /// Rekey all backups and WAL archives in the destinations, of any job.
    #[arg(long, conflicts_with = "backup", requires = "recipients")]
    pub(crate) all: bool,
    /// Rekey only this backup, or the newest one of this subject.
    #[arg(long, value_name = "NAME", requires = "recipients")]
    pub(crate) backup: Option<String>,
    /// Add this recipient: age1…, ssh-ed25519 …, ssh-rsa …. Can be repeated [default: those of the
    /// job].
    #[arg(long, value_name = "RECIPIENT", group = "recipients")]
    pub(crate) to: Vec<String>,
    /// Add the recipients in this file, one per line. Can be repeated.
    #[arg(long, value_name = "FILE", group = "recipients", value_hint = ValueHint::FilePath)]
    pub(crate) to_file: Vec<PathBuf>,
    /// Rekey only in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Show which headers would be written; read and write none.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}
