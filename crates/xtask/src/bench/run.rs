//! The cost of a backup to a disk: dump, verification, compression and encryption, in addition to
//! the server's work.

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, compare};
use super::database::{Database, NAME, shell};
use crate::{Result, setup};

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_demo()?;
    let database = Database::make(bench.scale)?;
    let bench_dir = BenchDir::make()?;
    let near = bench_dir.folder("near")?;
    let dump = format!("dump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n");
    let destinations = [("near", local(&near))];
    let verified = bench_dir.configure("verified.toml", &database, &destinations, &dump)?;
    let unverified =
        bench_dir.configure("unverified.toml", &database, &destinations, &format!("{dump}verify = []\n"))?;
    let longshore = bench.longshore()?;
    let run = |config: &str| {
        // Two backups of the same second have the same name, and existing ones are never
        // overwritten.
        format!(
            "rm -rf {near}/main; {} --quiet --config {config} run > /dev/null",
            longshore.display(),
            near = near.display()
        )
    };
    let (pg_dump, file) = (database.dump(), near.join("file.age"));
    let sealed = format!("age -r {} > {}", bench_dir.recipient, file.display());
    let mut commands = vec![
        ("pg_dump -Fc -Z0 > /dev/null", format!("{pg_dump} --compress=none > /dev/null")),
        ("longshore run", run(&verified)),
        ("longshore run, without verification", run(&unverified)),
        (
            "pg_dump -Fc -Z0 | zstd -T2 -3 | age > file",
            format!("{pg_dump} --compress=none | zstd -q -T2 -3 | {sealed}"),
        ),
        ("pg_dump -Fc | age > file", format!("{pg_dump} | {sealed}")),
    ];
    if bench.compares_with("gpg") {
        let sealed = bench_dir.gpg()?;
        commands.push(("pg_dump -Fc | gpg > file", format!("{pg_dump} | {sealed} > {}", file.display())));
    }
    if bench.compares_with("restic") {
        commands.push(("pg_dump -Fc -Z0 | restic backup --stdin", with_restic(&bench_dir, &pg_dump)?));
    }
    Ok(vec![compare("one dump to a disk", bench.rounds, database.bytes, &commands)?])
}

/// Returns the command for a backup by restic. Each run uses a new repository, because restic
/// stores nothing twice.
fn with_restic(bench_dir: &BenchDir, pg_dump: &str) -> Result<String> {
    let (empty, repository) = (bench_dir.path("restic-empty"), bench_dir.path("restic"));
    let (empty, repository) = (empty.display(), repository.display());
    let restic = "RESTIC_PASSWORD=bench restic --quiet --no-cache";
    shell(&format!("{restic} --repo {empty} init"))?;
    Ok(format!(
        "rm -rf {repository}; cp -r {empty} {repository}; \
         {pg_dump} --compress=none | {restic} --repo {repository} backup --stdin --stdin-filename {NAME}.dump"
    ))
}
