//! The cost of backing up many small databases, where the fixed cost of each database dominates.

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, compare};
use super::database::{Database, shell};
use crate::{Result, setup};

/// The number of databases.
const DATABASES: usize = 200;

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_demo()?;
    let cluster = Database::none()?;
    let (psql, connection) = (cluster.program("psql"), cluster.connection());
    // Each database has about a megabyte.
    shell(&format!(
        "for n in $(seq {DATABASES}); do echo \"create database small$n;\"; done | {psql} -Xq -d '{connection} dbname=postgres' && \
         for n in $(seq {DATABASES}); do {psql} -Xq -d \"{connection} dbname=small$n\" -c \
         \"create table t as select i, md5(i::text) || md5('x' || i) as noise from generate_series(1, 14000) i\"; done"
    ))?;
    let bench_dir = BenchDir::make()?;
    let (near, files) = (bench_dir.folder("near")?, bench_dir.folder("files")?);
    let job = "parallel = 2\ndump = [{ type = 'pg_dump', databases = ['small*'] }]\n";
    let config = bench_dir.configure("config.toml", &cluster, &[("near", local(&near))], job)?;
    let pg_dump = cluster.program("pg_dump");
    let one = format!(
        "{pg_dump} -Fc -d \"{connection} dbname=small$n\" | age -r {} > {}/$n.age",
        bench_dir.recipient,
        files.display()
    );
    let comparison = compare(
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
    Ok(vec![comparison])
}
