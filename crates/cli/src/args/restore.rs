//! `longshore restore`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};
use longshore_core::unit::TimeSpan;
use longshore_pg_wal::Lsn;

use super::{Identity, Json, Password, Section, quantity, role_mapping};

/// The options that need a target, and conflict with `--output` and `--list`.
const TARGET_OPTIONS: [&str; 19] = [
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
    "tablespace",
    "owner",
];

/// The options of a recovery that ends, which a standby does not.
const STANDBY_CONFLICTS: [&str; 7] = ["at", "lsn", "xid", "name", "immediate", "timeline", "pause"];

/// The options of restores from a destination.
const SNAPSHOT_CONFLICTS: [&str; 14] = [
    "run",
    "at",
    "lsn",
    "xid",
    "name",
    "immediate",
    "timeline",
    "pause",
    "standby",
    "delta",
    "plan",
    "from",
    "scratch_dir",
    "allow_unsealed",
];

/// The options of restores into a server or a data directory.
const PROGRAM_CONFLICTS: [&str; 16] = [
    "run",
    "base",
    "create",
    "clean",
    "append",
    "globals",
    "table",
    "schema",
    "section",
    "list_file",
    "no_owner",
    "no_privileges",
    "role_map",
    "no_analyze",
    "own_search_path",
    "trust_script",
];

#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("what").args(["subject", "run"]).required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("where").args(["to", "to_dir", "program", "output", "list"]).required(true))]
#[command(group = clap::ArgGroup::new("target").args(["to", "to_dir", "program"]))]
pub(crate) struct Restore {
    /// The database, `globals`, CLUSTER/SUBJECT, or backup to restore.
    pub(crate) subject: Option<String>,
    /// Restore a base backup; the subject is the name of the cluster. Implied by --to-dir.
    #[arg(long, conflicts_with_all = ["run", "to"])]
    pub(crate) base: bool,
    /// Restore everything from this run (id or `latest`), globals first.
    ///
    /// With `latest`, the subject is the name of a job.
    #[arg(long, value_name = "ID", conflicts_with_all = ["at", "output", "list", "globals"])]
    pub(crate) run: Option<String>,
    /// Choose the job, if several have backups of the subject.
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// Restore into this cluster or database: libpq keywords, URI or service.
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) to: Option<String>,
    /// Unpack a base backup into this new or empty data directory.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to_dir: Option<PathBuf>,
    /// Restore by the program that the job names: `restore` in its entry of `dump`.
    ///
    /// Only for backups in other programs' formats, whose dump has `type = "exec"`.
    #[arg(long, conflicts_with_all = PROGRAM_CONFLICTS)]
    pub(crate) program: bool,
    /// Unpack a tablespace into this new or empty directory. Can be repeated.
    ///
    /// TABLESPACE is its name, its OID, or its directory at the source.
    #[arg(long, value_name = "TABLESPACE=DIR", requires = "to_dir", value_parser = tablespace_folder)]
    pub(crate) tablespace: Vec<(String, PathBuf)>,
    /// Let this user own the files [default: the owner of the directory].
    #[arg(long, value_name = "USER", requires = "to_dir")]
    pub(crate) owner: Option<String>,
    /// Replace the files of a stopped server of the same cluster, except for equal ones.
    ///
    /// Files in the directories that the backup lacks are removed. The whole backup is read all the
    /// same.
    #[arg(long, requires = "to_dir")]
    pub(crate) delta: bool,
    /// Write the decrypted archive to this new file.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = TARGET_OPTIONS)]
    pub(crate) output: Option<PathBuf>,
    /// Show the contents of the backup.
    #[arg(long, conflicts_with_all = TARGET_OPTIONS)]
    pub(crate) list: bool,
    /// Check the target and the backup; restore nothing.
    ///
    /// Prints problems. With --to, also prints the subscriptions, event triggers, scheduled jobs
    /// and foreign servers that a restore would activate.
    #[arg(long, requires = "target")]
    pub(crate) plan: bool,
    /// Restore the newest backup at or before this time: 2026-06-07, or "2026-06-07 12:00+02".
    ///
    /// Without an offset, the time is in UTC. With --base and a WAL archive, recover to this time,
    /// or to the end of the archive: latest.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Recover to this position in the WAL.
    #[arg(long, value_name = "LSN", requires = "to_dir", conflicts_with = "at")]
    pub(crate) lsn: Option<Lsn>,
    /// Recover to the end of this transaction.
    #[arg(long, value_name = "XID", requires = "to_dir", conflicts_with_all = ["at", "lsn"])]
    pub(crate) xid: Option<u64>,
    /// Recover to this restore point.
    #[arg(long, value_name = "NAME", requires = "to_dir", conflicts_with_all = ["at", "lsn", "xid"])]
    pub(crate) name: Option<String>,
    /// Recover only until the backup is consistent.
    #[arg(long, requires = "to_dir", conflicts_with_all = ["at", "lsn", "xid", "name"])]
    pub(crate) immediate: bool,
    /// Recover along this timeline [default: the newest one that continues the backup].
    #[arg(long, value_name = "NUMBER", requires = "to_dir")]
    pub(crate) timeline: Option<u32>,
    /// Stay read-only at the end of recovery, until pg_wal_replay_resume().
    #[arg(long, requires = "to_dir")]
    pub(crate) pause: bool,
    /// Start the server, and wait until its recovery has ended.
    #[arg(long, requires = "to_dir", conflicts_with_all = ["standby", "pause", "plan"])]
    pub(crate) start: bool,
    /// Make a standby, which fetches WAL from the archive until it is promoted.
    #[arg(long, requires = "to_dir", conflicts_with_all = STANDBY_CONFLICTS)]
    pub(crate) standby: bool,
    /// Let the standby stream from this primary.
    ///
    /// Keep the password in the password file of the server's user.
    #[arg(long, value_name = "CONNINFO", requires = "standby")]
    pub(crate) primary_conninfo: Option<String>,
    /// Let the standby use this replication slot of the primary.
    #[arg(long, value_name = "NAME", requires = "primary_conninfo")]
    pub(crate) primary_slot_name: Option<String>,
    /// Restore this snapshot of the cluster on this host, or the newest one: latest.
    ///
    /// The files share their blocks with the snapshot where the file system can.
    #[arg(long, value_name = "NAME", requires = "to_dir", conflicts_with_all = SNAPSHOT_CONFLICTS)]
    pub(crate) from_snapshot: Option<String>,
    /// Restore from this destination [default: the fastest].
    #[arg(long, value_name = "NAME")]
    pub(crate) from: Option<String>,
    /// Restore roles and tablespaces of the same run first.
    #[arg(long, requires = "to")]
    pub(crate) globals: bool,
    /// Create the database if it is missing.
    #[arg(long, requires = "to")]
    pub(crate) create: bool,
    /// Drop and recreate the database if it is not empty; full restores only.
    #[arg(long, requires = "to", conflicts_with_all = ["table", "schema", "section", "list_file"])]
    pub(crate) clean: bool,
    /// Restore into a database that is not empty, such as rows of a data-only backup.
    #[arg(long, requires = "to", conflicts_with = "clean")]
    pub(crate) append: bool,
    /// Run --clean without a prompt for the name of the database.
    #[arg(long, requires = "clean")]
    pub(crate) yes: bool,
    /// Restore only this table, view or sequence, like `pg_restore --table`. Can be repeated.
    ///
    /// Indexes are not restored.
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(crate) table: Vec<String>,
    /// Restore only this schema. Can be repeated.
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(crate) schema: Vec<String>,
    /// Restore only this section. Can be repeated.
    #[arg(long, value_name = "SECTION", requires = "to")]
    pub(crate) section: Vec<Section>,
    /// Restore only the entries in this file, an edited copy of the output of --list.
    #[arg(long, value_name = "FILE", requires = "to", value_hint = ValueHint::FilePath)]
    pub(crate) list_file: Option<PathBuf>,
    /// Do not restore owners; the connecting role owns all objects.
    #[arg(long, requires = "to")]
    pub(crate) no_owner: bool,
    /// Do not restore privileges (GRANT and REVOKE).
    #[arg(long, requires = "to")]
    pub(crate) no_privileges: bool,
    /// Replace role OLD of the backup by role NEW of the target. Can be repeated.
    #[arg(long, value_name = "OLD=NEW", requires = "to", value_parser = role_mapping)]
    pub(crate) role_map: Vec<(String, String)>,
    /// Restore each database with N parallel connections; N > 1 needs --scratch-dir.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: u32,
    /// Restore N databases of a run in parallel.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) parallel: u32,
    /// Use this directory for plaintext that cannot be restored as a stream.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Do not run ANALYZE after the restore.
    #[arg(long, requires = "to")]
    pub(crate) no_analyze: bool,
    /// Do not compare the backup and the restored database with the record of the dump.
    #[arg(long, requires = "to")]
    pub(crate) no_compare: bool,
    /// Restore with the search_path of the database instead of an empty one.
    ///
    /// For functions that use names without a schema. Use only if you trust all functions of the
    /// backup.
    #[arg(long, requires = "to")]
    pub(crate) own_search_path: bool,
    /// Run SQL scripts that may execute shell commands through psql.
    ///
    /// Use only if you trust the source server.
    #[arg(long, requires = "to")]
    pub(crate) trust_script: bool,
    /// Accept an unencrypted backup where an encrypted one is expected.
    ///
    /// Anyone who can write to the destination could have created such a backup.
    #[arg(long)]
    pub(crate) allow_unsealed: bool,
    /// Fail after this time without progress. Building an index counts as progress.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = quantity::<TimeSpan>)]
    pub(crate) stall_timeout: TimeSpan,
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    pub(crate) password: Password,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Parses a tablespace and its folder, written as `tablespace=folder`.
fn tablespace_folder(text: &str) -> Result<(String, PathBuf), String> {
    match text.rsplit_once('=') {
        Some((tablespace, folder)) if !tablespace.is_empty() && !folder.is_empty() => {
            Ok((tablespace.to_owned(), folder.into()))
        }
        _ => Err("expected TABLESPACE=DIR: a tablespace of the backup and a new or empty directory".to_owned()),
    }
}
