//! The settings, and what of them cannot work.

use longshore_core::manifest::Format;
use longshore_core::plugin::{Packing, Site};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::argument::{self, CONNECTION, Reserved};
use serde::Deserialize;

/// `{ type = "pg_dump", … }`: which databases to dump, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PgDump {
    /// Patterns of the databases to dump: `*`, `?`, `[…]` and `{a,b}`. A template is dumped only if it is named as it is.
    pub databases: Vec<String>,
    /// Patterns of the databases to leave out.
    pub exclude: Vec<String>,
    /// The archive's format.
    pub format: Format,
    /// How many tables are dumped at once; more than one for the directory format alone.
    pub jobs: u32,
    /// Only these schemas: pg_dump's patterns, as of `--schema`.
    pub schemas: Vec<String>,
    /// Not these schemas.
    pub exclude_schemas: Vec<String>,
    /// Only these tables: pg_dump's patterns, as of `--table`.
    pub tables: Vec<String>,
    /// Not these tables.
    pub exclude_tables: Vec<String>,
    /// These tables without their rows.
    pub exclude_table_data: Vec<String>,
    /// Definitions without data.
    pub schema_only: bool,
    /// Data without definitions.
    pub data_only: bool,
    /// Nothing about who owns what.
    pub no_owner: bool,
    /// Nothing about who may do what.
    pub no_privileges: bool,
    /// How long to wait for a table's lock: a dump that waits makes others wait behind it. As pg_dump's `--lock-wait-timeout`.
    pub lock_wait_timeout: String,
    /// More options of pg_dump, one argument each.
    pub extra_args: Vec<String>,
}

impl Default for PgDump {
    fn default() -> Self {
        Self {
            databases: vec!["*".to_owned()],
            exclude: Vec::new(),
            format: Format::Custom,
            jobs: 1,
            schemas: Vec::new(),
            exclude_schemas: Vec::new(),
            tables: Vec::new(),
            exclude_tables: Vec::new(),
            exclude_table_data: Vec::new(),
            schema_only: false,
            data_only: false,
            no_owner: false,
            no_privileges: false,
            lock_wait_timeout: "60s".to_owned(),
            extra_args: Vec::new(),
        }
    }
}

/// Options that the pipeline gives itself, or that would make a backup less than it seems.
const RESERVED: [Reserved; 5] = [
    (Some('F'), "format"),
    (Some('j'), "jobs"),
    (Some('Z'), "compress"),
    (None, "lock-wait-timeout"),
    // Rows that a policy hides would be missing without a word.
    (None, "enable-row-security"),
];

impl PgDump {
    /// Says what cannot work, before anything is read.
    pub(crate) fn check(&self, site: &Site) -> Result<()> {
        let usage =
            |message: &str, hint: &str| Err(Error::new(Stage::Config, Kind::Usage, "pg_dump", message).hint(hint));
        if self.databases.is_empty() {
            return usage("databases is empty, so nothing would be dumped", "write databases = [\"*\"] for all");
        }
        if self.schema_only && self.data_only {
            return usage("schema_only and data_only leave nothing to dump", "set at most one of them");
        }
        if self.jobs == 0 || self.jobs > 1 && self.format != Format::Directory {
            return usage("jobs is for the directory format alone", "write format = \"directory\", or leave jobs out");
        }
        if self.format == Format::Directory && site.scratch_dir.is_none() {
            return usage(
                "format = \"directory\" is no stream: pg_dump writes plaintext files, which need a place",
                "set scratch_dir in the job, best to a folder in memory such as /dev/shm; format = \"custom\" needs none",
            );
        }
        let compresses = matches!(site.packing, Packing::Tool { .. });
        if compresses && matches!(self.format, Format::Plain | Format::Tar) {
            return usage(
                "compression by pg_dump goes with the custom and the directory format",
                "leave compression out: Longshore then compresses with zstd",
            );
        }
        argument::check("extra_args", &self.extra_args, &[&CONNECTION[..], &RESERVED[..]].concat())
    }
}
