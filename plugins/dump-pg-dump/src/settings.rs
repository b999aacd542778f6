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
    /// Patterns of the databases to dump: `*`, `?`, `[…]` and `{a,b}`. Of the templates, those with objects of their own are dumped;
    /// `template0` and `template1` only by their names.
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
const RESERVED: [Reserved; 8] = [
    (Some('F'), "format"),
    (Some('j'), "jobs"),
    (Some('Z'), "compress"),
    (None, "lock-wait-timeout"),
    // Rows that a policy hides would be missing without a word.
    (None, "enable-row-security"),
    // A plain script made with these drops and makes the database of that name, wherever it is restored to.
    (Some('C'), "create"),
    (Some('c'), "clean"),
    (None, "if-exists"),
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
        argument::check_timeout("lock_wait_timeout", &self.lock_wait_timeout)?;
        argument::check("extra_args", &self.extra_args, &[&CONNECTION[..], &RESERVED[..]].concat())
    }

    /// What a dump with these settings may lack of its database, in words of its owner.
    pub(crate) fn leaves_out(&self) -> Vec<String> {
        let settings = [
            ("schemas", !self.schemas.is_empty()),
            ("exclude_schemas", !self.exclude_schemas.is_empty()),
            ("tables", !self.tables.is_empty()),
            ("exclude_tables", !self.exclude_tables.is_empty()),
            ("exclude_table_data", !self.exclude_table_data.is_empty()),
            ("schema_only", self.schema_only),
            ("data_only", self.data_only),
            ("no_owner", self.no_owner),
            ("no_privileges", self.no_privileges),
        ];
        let set = settings.iter().filter(|(_, set)| *set).map(|(setting, _)| format!("what {setting} leaves out"));
        // What they do is pg_dump's business: most of its options make a dump less.
        let more = (!self.extra_args.is_empty()).then(|| format!("what {} may leave out", self.extra_args.join(" ")));
        set.chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::compress::Compression;
    use longshore_core::plugin::Cluster;

    use super::*;

    fn checked(extra: &str) -> Result<()> {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let site = Site { cluster, packing: Packing::Pipeline(Compression::None), scratch_dir: None };
        PgDump { extra_args: vec![extra.into()], ..PgDump::default() }.check(&site)
    }

    #[test]
    fn a_script_that_would_drop_what_is_there_is_refused() {
        for bad in ["-C", "-c", "-vC", "--create", "--clean", "--cle", "--if-exists"] {
            assert_eq!(checked(bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
        checked("--no-comments").unwrap();
    }

    #[test]
    fn what_a_filter_leaves_out_is_told_by_the_name_of_its_setting() {
        assert!(PgDump::default().leaves_out().is_empty());
        let filtered = PgDump {
            exclude: vec!["old".into()],
            exclude_tables: vec!["log".into()],
            no_owner: true,
            extra_args: vec!["--no-comments".into()],
            ..PgDump::default()
        };
        let told = ["what exclude_tables leaves out", "what no_owner leaves out", "what --no-comments may leave out"];
        assert_eq!(filtered.leaves_out(), told);
    }
}
