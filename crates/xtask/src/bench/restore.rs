//! The cost of a restore, compared with a pipe of standard tools.

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, bytes_of, compare_from};
use super::database::{Database, NAME, shell};
use crate::Result;

/// The database that is created in every round.
const AGAIN: &str = "again";

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    let database = Database::make(bench.scale)?;
    let bench_dir = BenchDir::make()?;
    let (longshore, near) = (bench.longshore()?.display().to_string(), bench_dir.folder("near")?);
    let job = format!("dump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n");
    let config = bench_dir.configure("config.toml", &database, &[("near", local(&near))], &job)?;
    shell(&format!("{longshore} --quiet --config {config} run > /dev/null"))?;
    let bytes = bytes_of(&format!("cat {}/main/{NAME}/*.age | wc -c", near.display()))?;
    println!("    the backup has {} MB", bytes / 1_000_000);

    let (psql, pg_restore) = (database.program("psql"), database.program("pg_restore"));
    let (to, identity) = (database.connection(), bench_dir.path("identity.txt").display().to_string());
    // Pending writes of the server and the kernel must not be charged to the next command.
    let start =
        format!("{psql} -qXd '{to} dbname=postgres' -c 'drop database if exists {AGAIN}' -c checkpoint && sync");
    let made = format!("{psql} -qXd '{to} dbname=postgres' -c 'create database {AGAIN} template template0'");
    let plain = format!("age -d -i {identity} {}/main/{NAME}/*.dump.zst.age | zstd -dc", near.display());
    let into = format!("-d '{to} dbname={AGAIN}'");
    let scratch = bench_dir.folder("scratch")?;
    let scratch = scratch.display();
    // The programs of the target's version: a restore to another server does not use the cluster's
    // bin_dir.
    let bin_dir = database.bin_dir();
    let restore = |more: &str| {
        format!(
            "PATH={bin_dir}:$PATH {longshore} --quiet --config {config} restore {NAME} --create --to '{to} dbname={AGAIN}' -i {identity} {more} > /dev/null"
        )
    };
    let alike = "--no-analyze --no-compare";
    let by_stream = compare_from(
        &start,
        "restore of a database with one connection",
        bench.rounds,
        database.bytes,
        &[
            ("age -d | zstd -d | pg_restore", format!("{made} && {plain} | {pg_restore} --exit-on-error {into}")),
            ("longshore restore --no-analyze --no-compare", restore(alike)),
            ("longshore restore", restore("")),
        ],
    )?;
    let by_file = compare_from(
        &start,
        "restore of a database with two connections",
        bench.rounds,
        database.bytes,
        &[
            (
                "age -d | zstd -d > file; pg_restore -j 2 file",
                format!(
                    "{made} && {plain} > {scratch}/plain && {pg_restore} --exit-on-error -j 2 {into} {scratch}/plain; s=$?; rm {scratch}/plain; exit $s"
                ),
            ),
            (
                "longshore restore --jobs 2 --no-analyze --no-compare",
                restore(&format!("--jobs 2 --scratch-dir {scratch} {alike}")),
            ),
            ("longshore restore --jobs 2", restore(&format!("--jobs 2 --scratch-dir {scratch}"))),
        ],
    )?;
    Ok(vec![by_stream, by_file])
}
