//! The naming rules of other backup tools.
//!
//! Each scheme cites the file of the tool that makes the names. The text of a pattern is that of
//! [`Pattern`](super::Pattern); `{host}` is a host's name, which every file of a section shares.

/// The naming rule of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The tool.
    pub tool: &'static str,
    /// The start of the names of its sections.
    pub section: &'static str,
    /// The meaning of the times in its names.
    pub clock: Clock,
    /// The patterns, without the extension.
    pub(super) patterns: &'static [&'static str],
    /// The extensions.
    pub(super) extensions: &'static [&'static str],
}

/// The meaning of the times in the names of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The name states its offset from UTC, or is always in UTC.
    Stated,
    /// The local time of the host that made the file.
    Local,
}

/// The placeholder of a host's name.
pub(super) const HOST: &str = "{host}";

/// The extensions of pg_back: those of its formats, then of its compression of plain dumps, then of
/// its encryption, which leaves dumps in directory format out.
const PG_BACK: &[&str] = &[
    ".dump",
    ".d/toc.dat",
    ".sql",
    ".sql.gz",
    ".tar",
    ".out",
    ".createdb.sql",
    ".dump.age",
    ".sql.age",
    ".sql.gz.age",
    ".tar.age",
    ".out.age",
    ".createdb.sql.age",
];

/// The extensions of files beside dumps: settings and configuration files of the server, and
/// commands that create a database.
pub(super) const COMPANIONS: [&str; 4] = [".out", ".createdb.sql", ".out.age", ".createdb.sql.age"];

/// All schemes.
pub const SCHEMES: &[Scheme] = &[
    // orgrim/pg_back, `internal/helpers/helpers.go`, FormatDumpPath: `dbname_time.suffix` with a
    // time of RFC 3339, whose offset is `Z` in UTC; suffixes and their order in
    // `internal/storage/purge.go`, genPurgeJobs.
    Scheme {
        tool: "pg_back",
        section: "pg_back",
        clock: Clock::Stated,
        patterns: &["{database}_%FT%T%:z"],
        extensions: PG_BACK,
    },
    // orgrim/pg_back: `timestamp_format = legacy`, the only form before 2.0, whose shell script
    // had PGBK_TIMESTAMP='%Y-%m-%d_%H-%M-%S'.
    Scheme {
        tool: "pg_back (timestamp_format = legacy)",
        section: "pg_back-legacy",
        clock: Clock::Local,
        patterns: &["{database}_%F_%H-%M-%S"],
        extensions: PG_BACK,
    },
    // k0lter/autopostgresqlbackup 2, main() and dump(): a folder for each database in that of the
    // period, DATE, the extension of the compression and ENCRYPTION_SUFFIX. Names of databases are
    // percent-encoded.
    Scheme {
        tool: "autopostgresqlbackup 2",
        section: "autopostgresqlbackup",
        clock: Clock::Local,
        patterns: &[
            "daily/{database}/{database}_%F_%Hh%Mm",
            "weekly/{database}/{database}_%F_%Hh%Mm",
            "monthly/{database}/{database}_%F_%Hh%Mm",
        ],
        extensions: &[
            ".sql",
            ".sql.gz",
            ".sql.bz2",
            ".sql.xz",
            ".sql.zstd",
            ".sql.comp",
            ".sql.enc",
            ".sql.gz.enc",
            ".sql.bz2.enc",
            ".sql.xz.enc",
            ".sql.zstd.enc",
            ".sql.comp.enc",
        ],
    },
    // The same before 2.0: DATE, DOW, M and W; with SEPDIR=yes a folder for each database, else all
    // databases in one file. 1.0 had no time of day.
    Scheme {
        tool: "autopostgresqlbackup 1",
        section: "autopostgresqlbackup",
        clock: Clock::Local,
        patterns: &[
            "daily/{database}/{database}_%F_%Hh%Mm.%A",
            "daily/{database}/{database}_%F.%A",
            "weekly/{database}/{database}_week.%V.%F_%Hh%Mm",
            "weekly/{database}/{database}_week.%V.%F",
            "monthly/{database}/{database}_%F_%Hh%Mm.%B.{database}",
            "monthly/{database}/{database}_%F.%B.{database}",
            "daily/%F_%Hh%Mm.%A",
            "daily/%F.%A",
            "weekly/week.%V.%F_%Hh%Mm",
            "weekly/week.%V.%F",
            "monthly/%F_%Hh%Mm.%B.all-databases",
            "monthly/%F.%B.all-databases",
        ],
        extensions: &[
            ".sql",
            ".sql.gz",
            ".sql.bz2",
            ".sql.xz",
            ".sql.gz.enc",
            ".sql.bz2.enc",
            ".sql.xz.enc",
            ".sql.enc",
        ],
    },
    // prodrigestivill/docker-postgres-backup-local, backup.sh, LAST_FILENAME to MONTHY_FILENAME:
    // the other folders contain hard links of files in `last`. Before `last` existed, the files in
    // `daily` had a time of day. The links named `latest` are symbolic.
    Scheme {
        tool: "postgres-backup-local (prodrigestivill)",
        section: "backup-local",
        clock: Clock::Local,
        patterns: &[
            "last/{database}-%Y%m%d-%H%M%S",
            "daily/{database}-%Y%m%d-%H%M%S",
            "daily/{database}-%Y%m%d",
            "weekly/{database}-%G%V",
            "monthly/{database}-%Y%m",
        ],
        extensions: &[".sql.gz", ".sql", ".dump", ".sql.zst"],
    },
    // tiredofit/docker-db-backup, later nfrastack/db-backup, install/assets/functions/10-db-backup,
    // backup_pgsql: `pgsql_${db}_${host}_${now}.sql` and the extension of the compression.
    Scheme {
        tool: "db-backup (tiredofit, nfrastack)",
        section: "db-backup",
        clock: Clock::Local,
        patterns: &["pgsql_{database}_{host}_%Y%m%d-%H%M%S"],
        extensions: &[
            ".sql",
            ".sql.gz",
            ".sql.zst",
            ".sql.bz2",
            ".sql.xz",
            ".sql.gpg",
            ".sql.gz.gpg",
            ".sql.zst.gpg",
            ".sql.bz2.gpg",
            ".sql.xz.gpg",
        ],
    },
    // nfrastack/db-backup 5, `src/internal/database/common/filename.go`, backupRe: type, database,
    // host, strategy, time. Only full backups are whole dumps.
    Scheme {
        tool: "db-backup 5 (nfrastack)",
        section: "db-backup-5",
        clock: Clock::Local,
        patterns: &[
            "pgsql-{database}-{host}-full-%Y%m%d-%H%M%S",
            "postgres-{database}-{host}-full-%Y%m%d-%H%M%S",
            "postgresql-{database}-{host}-full-%Y%m%d-%H%M%S",
        ],
        extensions: &[
            ".sql",
            ".sql.gz",
            ".sql.zst",
            ".sql.bz2",
            ".sql.xz",
            ".sql.age",
            ".sql.gz.age",
            ".sql.zst.age",
            ".sql.xz.age",
            ".sql.gpg",
            ".sql.gz.gpg",
            ".sql.zst.gpg",
            ".sql.enc",
            ".sql.gz.enc",
            ".sql.zst.enc",
        ],
    },
    // eduardolat/pgbackweb, `internal/service/executions/run_execution.go`: the directory of the
    // backup, the date, `dump-time-uuid.zip`.
    Scheme {
        tool: "PG Back Web",
        section: "pgbackweb",
        clock: Clock::Local,
        patterns: &["{database}/%Y/%m/%d/dump-%Y%m%d-%H%M%S-{uuid}", "%Y/%m/%d/dump-%Y%m%d-%H%M%S-{uuid}"],
        extensions: &[".zip"],
    },
    // eeshugerman/postgres-backup-s3, src/backup.sh, s3_uri_base.
    Scheme {
        tool: "postgres-backup-s3 (eeshugerman)",
        section: "backup-s3",
        clock: Clock::Local,
        patterns: &["{database}_%FT%T"],
        extensions: &[".dump", ".dump.gpg"],
    },
    // databacker/mysql-backup, `pkg/core/const.go`, DefaultFilenamePattern, and
    // `pkg/core/prune.go`, filenameRE: all databases in one file, in UTC; `-` instead of `:` if
    // `safechars` is set.
    Scheme {
        tool: "mysql-backup (databacker)",
        section: "mysql-backup",
        clock: Clock::Stated,
        patterns: &["db_backup_%FT%TZ", "db_backup_%FT%H-%M-%SZ"],
        extensions: &[".gz", ".tgz", ".bz2", ".tbz2", ".zst"],
    },
];
