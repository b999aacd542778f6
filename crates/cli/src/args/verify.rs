//! `longshore verify`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use super::{Identity, Json};

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// The backup, or the subject whose newest backup is verified [default: the newest backup of
    /// each series].
    #[arg(conflicts_with_all = ["all", "newest", "percent"])]
    pub(crate) backup: Option<String>,
    /// Verify all backups.
    #[arg(long, conflicts_with_all = ["newest", "percent"])]
    pub(crate) all: bool,
    /// Verify the newest backup of each series (the default).
    #[arg(long, conflicts_with = "percent")]
    pub(crate) newest: bool,
    /// Verify N % of backups, a different sample each day.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) percent: Option<u8>,
    /// Verify only backups of this job.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Verify only backups in this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Use this directory for plaintext that cannot be verified as a stream [default: scratch_dir
    /// of the job].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) scratch_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) json: Json,
}
