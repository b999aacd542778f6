//! The cost of backing up many small databases, where the fixed cost of each database dominates.

use super::Bench;
use super::contest::{Contest, contest};
use super::database::{Database, shell};
use super::site::{Site, local};
use crate::{Result, setup};

/// The number of databases.
const DATABASES: usize = 200;

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    setup::for_demo()?;
    let cluster = Database::none()?;
    let (psql, connection) = (cluster.program("psql"), cluster.connection());
    // Each database has about a megabyte.
    shell(&format!(
        "for n in $(seq {DATABASES}); do echo \"create database small$n;\"; done | {psql} -Xq -d '{connection} dbname=postgres' && \
         for n in $(seq {DATABASES}); do {psql} -Xq -d \"{connection} dbname=small$n\" -c \
         \"create table t as select i, md5(i::text) || md5('x' || i) as noise from generate_series(1, 14000) i\"; done"
    ))?;
    let site = Site::make()?;
    let (near, files) = (site.folder("near")?, site.folder("files")?);
    let job = "parallel = 2\ndump = [{ type = 'pg_dump', databases = ['small*'] }]\n";
    let config = site.configure("config.toml", &cluster, &[("near", local(&near))], job)?;
    let pg_dump = cluster.program("pg_dump");
    let one = format!(
        "{pg_dump} -Fc -d \"{connection} dbname=small$n\" | age -r {} > {}/$n.age",
        site.recipient,
        files.display()
    );
    let contest = contest(
        &format!("{DATABASES} databases of a megabyte"),
        bench.rounds,
        0,
        &[
            ("for each: pg_dump -Fc | age > file", format!("for n in $(seq {DATABASES}); do {one}; done")),
            (
                "longshore run, parallel = 2",
                format!(
                    "rm -rf {}/main; {} --quiet --config {config} run > /dev/null",
                    near.display(),
                    bench.longshore()?.display()
                ),
            ),
        ],
    )?;
    Ok(vec![contest])
}
