//! The cost of archiving a segment of WAL at a disk and of fetching it, compared with a pipe of
//! standard tools, and with pgBackRest.

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, compare};
use super::database::{Database, shell};
use super::pg_backrest::PgBackRest;
use crate::Result;

/// The size of a segment in bytes.
const SEGMENT_BYTES: u64 = 16 << 20;

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    let with_pg_backrest = bench.compares_with("pgbackrest");
    let database = if with_pg_backrest { Database::make_on_system } else { Database::make }(bench.scale)?;
    let bench_dir = BenchDir::make()?;
    let (longshore, near) = (bench.longshore()?.display().to_string(), bench_dir.folder("near")?);
    let archive = format!(
        "dump = [{{ type = 'pg_base' }}]\n[cluster.main.wal]\nship = ['near']\n\
         encrypt = {{ type = 'age', recipients = ['{}'] }}\n",
        bench_dir.recipient
    );
    let config = bench_dir.configure("config.toml", &database, &[("near", local(&near))], &archive)?;
    let pg_backrest = if with_pg_backrest { Some(PgBackRest::make(&database)?) } else { None };
    // A segment of the bulk load, which is complete.
    let name = database.first_segment()?;
    let segment = format!("{}/pg_wal/{name}", database.data_dir());
    let (near, identity) = (near.display().to_string(), bench_dir.path("identity.txt").display().to_string());
    let (file, recipient) = (format!("{near}/file.age"), &bench_dir.recipient);
    // All programs start through the same wrapper.
    let wrapper = "setpriv --init-groups --reuid=root --regid=root env";
    let push = format!("cd {} && {wrapper} {longshore} --config {config} wal push pg_wal/{name}", database.data_dir());
    let mut commands = vec![
        (
            "zstd -1 | age > file && sync",
            format!("{wrapper} zstd -q -1 -c {segment} | age -r {recipient} > {file} && sync {file}"),
        ),
        ("longshore wal push", format!("rm -rf {near}/main; {push}")),
        ("longshore wal push, archived before", push.clone()),
    ];
    if let Some(it) = &pg_backrest {
        commands.push(("pgbackrest archive-push", format!("{}; {}", it.forget(&name), it.push(&segment))));
        commands.push(("pgbackrest archive-push, archived before", it.push(&segment)));
    }
    let pushes = compare("one segment of WAL to a disk", bench.rounds, SEGMENT_BYTES, &commands)?;

    shell(&push)?;
    let target = format!("{}/pg_wal/BENCH", database.data_dir());
    let fetch = format!(
        "cd {} && {wrapper} {longshore} --config {config} wal fetch {name} pg_wal/BENCH -i {identity}",
        database.data_dir()
    );
    let mut commands = vec![
        (
            "age -d | zstd -d > file && sync",
            format!("{wrapper} age -d -i {identity} {file} | zstd -q -d > {target} && sync {target}"),
        ),
        ("longshore wal fetch", fetch),
    ];
    if let Some(it) = &pg_backrest {
        commands.push(("pgbackrest archive-get", format!("rm -f {target}; {}", it.get(&name, &target))));
    }
    let fetches = compare("one segment of WAL from a disk", bench.rounds, SEGMENT_BYTES, &commands)?;
    Ok(vec![pushes, fetches])
}
