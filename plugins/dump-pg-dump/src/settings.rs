//! The settings and their validation.

use longshore_core::manifest::Format;
use longshore_core::plugin::{CompressBy, JobContext};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::argument::{self, CONNECTION, Reserved};
use serde::Deserialize;

/// A format that pg_dump writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DumpFormat {
    /// The custom format.
    Custom,
    /// A script.
    Plain,
    /// The tar format.
    Tar,
    /// The directory format.
    Directory,
}

impl From<DumpFormat> for Format {
    fn from(format: DumpFormat) -> Self {
        match format {
            DumpFormat::Custom => Self::Custom,
            DumpFormat::Plain => Self::Plain,
            DumpFormat::Tar => Self::Tar,
            DumpFormat::Directory => Self::Directory,
        }
    }
}

/// Settings of `{ type = "pg_dump", … }`: the databases to dump, and the options of the dump.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PgDump {
    /// Patterns of the databases to dump: `*`, `?`, `[…]` and `{a,b}`. A template is dumped if it
    /// contains objects of its own; `template0` and `template1` only if named explicitly.
    pub databases: Vec<String>,
    /// Patterns of the databases to exclude.
    pub exclude: Vec<String>,
    /// The archive's format.
    pub format: DumpFormat,
    /// The number of tables dumped in parallel; more than one requires the directory format.
    pub jobs: u32,
    /// Dumps only these schemas: patterns as for pg_dump's `--schema`.
    pub schemas: Vec<String>,
    /// Excludes these schemas.
    pub exclude_schemas: Vec<String>,
    /// Dumps only these tables: patterns as for pg_dump's `--table`.
    pub tables: Vec<String>,
    /// Excludes these tables.
    pub exclude_tables: Vec<String>,
    /// Dumps these tables without their rows.
    pub exclude_table_data: Vec<String>,
    /// Dumps definitions without data.
    pub schema_only: bool,
    /// Dumps data without definitions.
    pub data_only: bool,
    /// Omits ownership.
    pub no_owner: bool,
    /// Omits privileges.
    pub no_privileges: bool,
    /// The time to wait for a table's lock, as pg_dump's `--lock-wait-timeout`: a waiting dump
    /// blocks later lock requests.
    pub lock_wait_timeout: String,
    /// Additional options of pg_dump, one argument each.
    pub extra_args: Vec<String>,
}

impl Default for PgDump {
    fn default() -> Self {
        Self {
            databases: vec!["*".to_owned()],
            exclude: Vec::new(),
            format: DumpFormat::Custom,
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

/// Options that the pipeline sets itself, or that would make a backup silently incomplete or
/// unsafe.
const RESERVED: [Reserved; 8] = [
    (Some('F'), "format"),
    (Some('j'), "jobs"),
    (Some('Z'), "compress"),
    (None, "lock-wait-timeout"),
    // Rows hidden by a policy would be missing silently.
    (None, "enable-row-security"),
    // A plain script with these options drops and creates the database of its name on the server
    // that it is restored to.
    (Some('C'), "create"),
    (Some('c'), "clean"),
    (None, "if-exists"),
];

impl PgDump {
    /// Fails if the settings cannot work, before anything is read.
    pub(crate) fn check(&self, site: &JobContext) -> Result<()> {
        let usage =
            |message: &str, hint: &str| Err(Error::new(Stage::Config, Kind::Usage, "pg_dump", message).hint(hint));
        if self.databases.is_empty() {
            return usage("databases is empty", "write databases = [\"*\"] for all");
        }
        if self.schema_only && self.data_only {
            return usage("schema_only and data_only leave nothing to dump", "set at most one of them");
        }
        if self.jobs == 0 || self.jobs > 1 && self.format != DumpFormat::Directory {
            return usage("jobs requires the directory format", "write format = \"directory\", or remove jobs");
        }
        if self.format == DumpFormat::Directory && site.scratch_dir.is_none() {
            return usage(
                "format = \"directory\" requires scratch_dir: pg_dump writes plaintext files",
                "set scratch_dir in the job, preferably to a directory in memory such as /dev/shm; format = \"custom\" needs none",
            );
        }
        let compresses = matches!(site.compress_by, CompressBy::Tool { .. });
        if compresses && matches!(self.format, DumpFormat::Plain | DumpFormat::Tar) {
            return usage(
                "compression by pg_dump requires the custom or the directory format",
                "remove compression: Longshore then compresses with zstd",
            );
        }
        argument::check_timeout("lock_wait_timeout", &self.lock_wait_timeout)?;
        argument::check("extra_args", &self.extra_args, &[&CONNECTION[..], &RESERVED[..]].concat())
    }

    /// Returns the parts of a database that a dump with these settings may lack, in words for the
    /// user.
    pub(crate) fn excluded_parts(&self) -> Vec<String> {
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
        let set =
            settings.iter().filter(|(_, set)| *set).map(|(setting, _)| format!("everything excluded by {setting}"));
        // Most options of pg_dump omit something; their effects are not interpreted here.
        let more = (!self.extra_args.is_empty()).then(|| format!("anything excluded by {}", self.extra_args.join(" ")));
        set.chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::compress::Compression;
    use longshore_core::plugin::Cluster;

    use super::*;

    fn check_extra_args(extra: &str) -> Result<()> {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let site = JobContext { cluster, compress_by: CompressBy::Pipeline(Compression::None), scratch_dir: None };
        PgDump { extra_args: vec![extra.into()], ..PgDump::default() }.check(&site)
    }

    #[test]
    fn only_formats_of_pg_dump_are_settings() {
        let format =
            |word: &str| toml::from_str::<PgDump>(&format!("format = \"{word}\"")).map(|settings| settings.format);
        for word in ["custom", "plain", "tar", "directory"] {
            assert_eq!(Format::from(format(word).unwrap()).to_string(), word);
        }
        for word in ["base", "x-mysqldump", "Custom", ""] {
            let error = format(word).unwrap_err().to_string();
            assert!(error.contains("expected one of `custom`, `plain`, `tar`, `directory`"), "{word}: {error}");
        }
    }

    #[test]
    fn clean_options_are_refused() {
        for bad in ["-C", "-c", "-vC", "--create", "--clean", "--cle", "--if-exists"] {
            assert_eq!(check_extra_args(bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
        check_extra_args("--no-comments").unwrap();
    }

    #[test]
    fn excluded_parts_name_their_setting() {
        assert!(PgDump::default().excluded_parts().is_empty());
        let filtered = PgDump {
            exclude: vec!["old".into()],
            exclude_tables: vec!["log".into()],
            no_owner: true,
            extra_args: vec!["--no-comments".into()],
            ..PgDump::default()
        };
        let expected = [
            "everything excluded by exclude_tables",
            "everything excluded by no_owner",
            "anything excluded by --no-comments",
        ];
        assert_eq!(filtered.excluded_parts(), expected);
    }
}
