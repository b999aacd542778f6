//! The cost of a base backup to a disk and of its restore into a folder, compared with a pipe of
//! standard tools, and with pgBackRest.

use longshore_testkit::cluster::NewFolder;

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, bytes_of, compare, compare_from};
use super::database::{Database, shell};
use crate::Result;

/// The configured compression, the same in all programs. Level 3 saves hardly any space.
const COMPRESSION: &str = "compression = { by = 'longshore', method = 'zstd', level = 1, threads = 2 }";

/// The user of the server, if this process is root: pgBackRest reads its files.
const AS_SERVER: &str = "setpriv --reuid=postgres --regid=postgres --init-groups";

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    let with_pg_backrest = bench.compares_with("pgbackrest");
    let database = if with_pg_backrest { Database::make_on_system } else { Database::make }(bench.scale)?;
    let bench_dir = BenchDir::make()?;
    let (longshore, near) = (bench.longshore()?.display().to_string(), bench_dir.folder("near")?);
    let job = format!("dump = [{{ type = 'pg_base', checkpoint = 'fast' }}]\n{COMPRESSION}\n");
    let config = bench_dir.configure("config.toml", &database, &[("near", local(&near))], &job)?;
    let pg_basebackup =
        format!("{} -d '{}' -D - -Ft -c fast --no-sync", database.program("pg_basebackup"), database.connection());
    let (near, identity) = (near.display().to_string(), bench_dir.path("identity.txt").display().to_string());
    let file = format!("{near}/file.age");
    let pipe = format!("{pg_basebackup} -X fetch | zstd -q -T2 -1 | age -r {} > {file}", bench_dir.recipient);
    let run = format!("{longshore} --quiet --config {config} run > /dev/null");
    let pg_backrest = match with_pg_backrest {
        true => Some(PgBackRest::make(&database)?),
        false => None,
    };

    let bytes = bytes_of(&format!("{pg_basebackup} -X fetch | wc -c"))?;
    println!("    the cluster has {} MB in tar format", bytes / 1_000_000);
    let mut commands = vec![
        ("pg_basebackup -X fetch | zstd -T2 -1 | age > file", pipe.clone()),
        ("pg_basebackup -X none > /dev/null", format!("{pg_basebackup} -X none > /dev/null")),
        ("pg_basebackup -X fetch > /dev/null", format!("{pg_basebackup} -X fetch > /dev/null")),
        // Two backups of the same second have the same name.
        ("longshore run", format!("rm -rf {near}/main; {run}")),
    ];
    commands.extend(pg_backrest.as_ref().map(|it| ("pgbackrest backup, two processes", it.backup.clone())));
    let backups = compare("one base backup to a disk", bench.rounds, bytes, &commands)?;

    shell(&format!("rm -rf {near}/main; {run} && {pipe}"))?;
    let restored = bench_dir.path("restored").display().to_string();
    let of_pg_backrest = pg_backrest.as_ref().map(PgBackRest::restored).unwrap_or_default();
    let start = format!("rm -rf {restored} {of_pg_backrest} && sync");
    let mut commands = vec![
        (
            "age -d | zstd -d | tar x",
            format!(
                "mkdir {restored} && age -d -i {identity} {file} | zstd -dc | tar xC {restored} && sync -f {restored}"
            ),
        ),
        (
            "longshore restore",
            format!(
                "{longshore} --quiet --config {config} restore main --base --to-dir {restored} -i {identity} > /dev/null"
            ),
        ),
    ];
    commands.extend(pg_backrest.as_ref().map(|it| ("pgbackrest restore, two processes", it.restore.clone())));
    let restores = compare_from(&start, "restore of a base backup into a folder", bench.rounds, bytes, &commands)?;
    Ok(vec![backups, restores])
}

/// A repository of pgBackRest with encryption, and the commands that use it.
struct PgBackRest {
    /// A folder that the server's user can enter. Dropping it removes the folder.
    folder: NewFolder,
    backup: String,
    restore: String,
}

impl PgBackRest {
    /// Creates the repository, with the same compression as in the other commands.
    fn make(database: &Database) -> Result<Self> {
        let new_folder = NewFolder::new();
        let folder = new_folder.path().display().to_string();
        let (socket, port) = database.socket();
        let options = format!(
            "--stanza=bench --config=/dev/null --pg1-socket-path={socket} --pg1-port={port} --pg1-user=postgres \
             --repo1-path={folder}/repo --lock-path={folder}/lock --log-path={folder}/log --log-level-console=error \
             --log-level-file=off"
        );
        let source = format!("--pg1-path={}", database.data_dir());
        let cipher = "PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc PGBACKREST_REPO1_CIPHER_PASS=bench";
        let pg_backrest = format!("{AS_SERVER} env {cipher} pgbackrest {options}");
        shell(&format!("{pg_backrest} {source} --no-online stanza-create"))?;
        let restored = Self::in_folder(&new_folder);
        Ok(Self {
            folder: new_folder,
            backup: format!(
                "{pg_backrest} {source} --process-max=2 --compress-type=zst --compress-level=1 --type=full \
                 --repo1-retention-full=1 --start-fast --no-archive-check backup"
            ),
            restore: format!(
                "install -d -o postgres -m 700 {restored} && \
                 {pg_backrest} --process-max=2 --pg1-path={restored} restore && sync -f {restored}"
            ),
        })
    }

    /// Returns the folder into which the restore command restores.
    fn restored(&self) -> String {
        Self::in_folder(&self.folder)
    }

    fn in_folder(folder: &NewFolder) -> String {
        folder.data_dir().display().to_string()
    }
}
