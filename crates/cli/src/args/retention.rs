//! `longshore retention`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args as ClapArgs, Subcommand, ValueHint};
use longshore_core::unit::{ByteSize, TimeSpan};

use super::{Json, quantity};

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Show the backups that a policy would keep over time. Accesses no destination.
    Simulate(Simulate),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Simulate {
    /// Simulate this policy of the configuration.
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: String,
    /// Simulate a run at this interval, such as 6h or 1d.
    #[arg(long, value_name = "TIME", value_parser = quantity::<TimeSpan>)]
    pub(crate) every: TimeSpan,
    /// Simulate runs over this period, such as 90d or 3y; a year has 365 days.
    #[arg(long = "for", value_name = "TIME", value_parser = quantity::<TimeSpan>)]
    pub(crate) lasting: TimeSpan,
    /// Start on this UTC day [default: today].
    #[arg(long, value_name = "DATE")]
    pub(crate) start: Option<NaiveDate>,
    /// Assume this size for each full backup, such as 10GB or 256MiB.
    #[arg(long, value_name = "SIZE", value_parser = quantity::<ByteSize>)]
    pub(crate) size: Option<ByteSize>,
    /// Simulate differences, with a full backup at this interval, such as 7d.
    #[arg(long, value_name = "TIME", value_parser = quantity::<TimeSpan>)]
    pub(crate) full_every: Option<TimeSpan>,
    /// Assume this size for each difference.
    #[arg(long, value_name = "SIZE", requires = "full_every", value_parser = quantity::<ByteSize>)]
    pub(crate) difference_size: Option<ByteSize>,
    /// Show the backups at the end of this UTC day [default: the last].
    #[arg(long, value_name = "DATE")]
    pub(crate) on: Option<NaiveDate>,
    /// Write an SVG chart to this new file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
