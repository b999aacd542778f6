//! What it costs to have a database back: against the pipe of somebody who does it by hand.

use std::fs;
use std::path::Path;

use super::Bench;
use super::contest::{Contest, bytes_of, contest};
use super::database::{Database, NAME, shell};
use super::ship::recipient;
use crate::Result;

/// The database that is made anew in every round.
const AGAIN: &str = "again";

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    let database = Database::make(bench.scale)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let (longshore, place) = (bench.longshore()?.display().to_string(), folder.path());
    let config = configure(&database, place)?;
    shell(&format!("{longshore} --quiet --config {config} run > /dev/null"))?;
    let bytes = bytes_of(&format!("cat {}/near/main/{NAME}/*.age | wc -c", place.display()))?;
    println!("    the backup has {} MB", bytes / 1_000_000);

    let (psql, pg_restore) = (database.program("psql"), database.program("pg_restore"));
    let (to, identity) = (database.connection(), place.join("identity.txt").display().to_string());
    let anew = format!("{psql} -qXd '{to} dbname=postgres' -c 'drop database if exists {AGAIN}'");
    let made = format!("{anew} -c 'create database {AGAIN} template template0'");
    let plain = format!("age -d -i {identity} {}/near/main/{NAME}/*.dump.zst.age | zstd -dc", place.display());
    let into = format!("-d '{to} dbname={AGAIN}'");
    let scratch = place.display();
    let restore = |more: &str| {
        format!(
            "{anew} && {longshore} --quiet --config {config} restore {NAME} --create --to '{to} dbname={AGAIN}' -i {identity} {more} > /dev/null"
        )
    };
    let alike = "--no-analyze --no-compare";
    let by_stream = contest(
        "a database is brought back by one connection",
        bench.rounds,
        database.bytes,
        &[
            ("age -d | zstd -d | pg_restore", format!("{made} && {plain} | {pg_restore} --exit-on-error {into}")),
            ("longshore restore --no-analyze --no-compare", restore(alike)),
            ("longshore restore", restore("")),
        ],
    )?;
    let by_file = contest(
        "a database is brought back by two connections",
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

/// Writes a configuration, and says where.
fn configure(database: &Database, folder: &Path) -> Result<String> {
    let failed = |error| format!("cannot write in {}: {error}", folder.display());
    fs::create_dir(folder.join("near")).map_err(failed)?;
    let text = format!(
        "lock_dir = '{folder}/locks'\nstate_dir = '{folder}/state'\n[cluster.main]\nconnection = \"{connection}\"\nbin_dir = '{bin_dir}'\n\
         [destination.near]\ntype = 'local'\npath = '{folder}/near'\n\
         [job.bench]\ncluster = 'main'\ndump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n\
         encrypt = {{ type = 'age', recipients = ['{recipient}'] }}\nship = ['near']\n",
        folder = folder.display(),
        connection = database.connection(),
        bin_dir = database.bin_dir(),
        recipient = recipient(folder)?,
    );
    let config = folder.join("config.toml");
    fs::write(&config, text).map_err(failed)?;
    Ok(config.display().to_string())
}
