//! `longshore retention`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args as ClapArgs, Subcommand, ValueHint};
use longshore_core::quantity::{Size, Span};

use super::{Json, quantity};

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Show what a policy would keep, over time and on a day, were there a run every so often. Touches no destination.
    Simulate(Simulate),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Simulate {
    /// The policy's name in the configuration.
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: String,
    /// How long after each run the next is, such as 6h or 1d.
    #[arg(long, value_name = "TIME", value_parser = quantity::<Span>)]
    pub(crate) every: Span,
    /// For how long there are runs, such as 90d or 3y; a year has 365 days.
    #[arg(long = "for", value_name = "TIME", value_parser = quantity::<Span>)]
    pub(crate) lasting: Span,
    /// The day of the first run, in UTC. Today without it.
    #[arg(long, value_name = "DATE")]
    pub(crate) start: Option<NaiveDate>,
    /// What each backup takes, such as 10GB or 256MiB.
    #[arg(long, value_name = "SIZE", value_parser = quantity::<Size>)]
    pub(crate) size: Option<Size>,
    /// Show what there is at the end of this day, in UTC, instead of the last.
    #[arg(long, value_name = "DATE")]
    pub(crate) on: Option<NaiveDate>,
    /// Draw it into this new file, too.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
