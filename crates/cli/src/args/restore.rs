//! What can be said to `longshore restore`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};
use longshore_core::quantity::Span;

use super::{Identity, Json, Password, Section, quantity, renamed};

/// Options that are of a target, and that a file or a list has no use for.
const OF_A_TARGET: [&str; 17] = [
    "create",
    "clean",
    "append",
    "yes",
    "globals",
    "table",
    "schema",
    "section",
    "list_file",
    "no_owner",
    "no_privileges",
    "role_map",
    "no_analyze",
    "no_compare",
    "own_search_path",
    "trust_script",
    "plan",
];

#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("what").args(["subject", "run"]).required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("where").args(["to", "output", "list"]).required(true))]
pub(crate) struct Restore {
    /// A database, `globals`, CLUSTER/SUBJECT, or a backup's name.
    pub(crate) subject: Option<String>,
    /// All that one run made, globals first: its id, or `latest`; a name beside `latest` is then a job's.
    #[arg(long, value_name = "ID", conflicts_with_all = ["at", "output", "list", "globals"])]
    pub(crate) run: Option<String>,
    /// Only backups of this job.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// The cluster to restore into, and the database where it is one: libpq's keywords, URI or service.
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) to: Option<String>,
    /// Write the plaintext archive to this new file instead.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = OF_A_TARGET)]
    pub(crate) output: Option<PathBuf>,
    /// Show what is in the backup instead.
    #[arg(long, conflicts_with_all = OF_A_TARGET)]
    pub(crate) list: bool,
    /// Look at the target, print what would stand in the way and what would become active, and restore nothing.
    #[arg(long, requires = "to")]
    pub(crate) plan: bool,
    /// The newest backup at or before this time, in UTC: 2026-06-07, or "2026-06-07 12:00".
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Take it from this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// Restore the roles and tablespaces of its run first.
    #[arg(long, requires = "to")]
    pub(crate) globals: bool,
    /// Make the database if it is missing.
    #[arg(long, requires = "to")]
    pub(crate) create: bool,
    /// Drop the database if it is not empty, and make it anew: for a whole backup alone.
    #[arg(long, requires = "to", conflicts_with_all = ["table", "schema", "section", "list_file"])]
    pub(crate) clean: bool,
    /// Add to what is in a database that is not empty, as a backup of data alone does.
    #[arg(long, requires = "to", conflicts_with = "clean")]
    pub(crate) append: bool,
    /// Do as --clean says without asking for the name of the database on the terminal.
    #[arg(long, requires = "clean")]
    pub(crate) yes: bool,
    /// Only the table, view or sequence of this name, without its indexes, as `pg_restore --table` does. May be given more than once.
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(crate) table: Vec<String>,
    /// Only what is in this schema. May be given more than once.
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(crate) schema: Vec<String>,
    /// Only this section. May be given more than once.
    #[arg(long, value_name = "SECTION", requires = "to")]
    pub(crate) section: Vec<Section>,
    /// Only what stands in this file: what --list has printed, with the lines removed that are not wanted.
    #[arg(long, value_name = "FILE", requires = "to", value_hint = ValueHint::FilePath)]
    pub(crate) list_file: Option<PathBuf>,
    /// Whoever restores it owns everything.
    #[arg(long, requires = "to")]
    pub(crate) no_owner: bool,
    /// Grant nothing to anybody.
    #[arg(long, requires = "to")]
    pub(crate) no_privileges: bool,
    /// A role of the backup, and the role of the target that takes its place. May be given more than once.
    #[arg(long, value_name = "OLD=NEW", requires = "to", value_parser = renamed)]
    pub(crate) role_map: Vec<(String, String)>,
    /// How many connections restore a database at once; more than one needs --scratch-dir.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: u32,
    /// How many databases of a run are restored at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) parallel: u32,
    /// A folder for the plaintext of what cannot be restored from a stream.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Do not gather the planner's statistics afterwards.
    #[arg(long, requires = "to")]
    pub(crate) no_analyze: bool,
    /// Do not compare the backup's definitions before, and what was restored after, with the record
    /// of its dump.
    #[arg(long, requires = "to")]
    pub(crate) no_compare: bool,
    /// Let functions find what they name without a schema: restore with the search_path of the database, instead of an empty one. For
    /// backups whose functions are all trusted.
    #[arg(long, requires = "to")]
    pub(crate) own_search_path: bool,
    /// Run scripts that could have psql run programs here: whoever ruled the server that was dumped is trusted with this host.
    #[arg(long, requires = "to")]
    pub(crate) trust_script: bool,
    /// Take an unsealed backup in the place of a sealed one: anyone who can write to the destination could have made it.
    #[arg(long)]
    pub(crate) allow_unsealed: bool,
    /// Give up when nothing was restored for so long. An index that is built is work, however long it takes.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = quantity::<Span>)]
    pub(crate) stall_timeout: Span,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) json: Json,
}
