//! The cost of a base backup to a disk and of its restore into a folder, compared with a pipe of
//! standard tools, and with pgBackRest.

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, bytes_of, compare, compare_from};
use super::database::{Database, shell};
use super::pg_backrest::PgBackRest;
use crate::Result;

/// The configured compression, the same in all programs. Level 3 saves hardly any space.
const COMPRESSION: &str = "compression = { by = 'longshore', method = 'zstd', level = 1, threads = 2 }";

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
    commands.extend(pg_backrest.as_ref().map(|it| ("pgbackrest backup, two processes", it.backup(2))));
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
    commands.extend(pg_backrest.as_ref().map(|it| ("pgbackrest restore, two processes", it.restore())));
    let restores = compare_from(&start, "restore of a base backup into a folder", bench.rounds, bytes, &commands)?;
    Ok(vec![backups, restores])
}
