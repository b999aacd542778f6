//! The cost of a backup to a disk: dump, verification, compression and encryption, in addition to
//! the server's work.

use super::Bench;
use super::contest::{Contest, contest};
use super::database::{Database, NAME, shell};
use super::site::{Site, local};
use crate::{Result, setup};

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    setup::for_demo()?;
    let database = Database::make(bench.scale)?;
    let site = Site::make()?;
    let near = site.folder("near")?;
    let dump = format!("dump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n");
    let destinations = [("near", local(&near))];
    let judged = site.configure("judged.toml", &database, &destinations, &dump)?;
    let unjudged = site.configure("unjudged.toml", &database, &destinations, &format!("{dump}verify = []\n"))?;
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
    let sealed = format!("age -r {} > {}", site.recipient, file.display());
    let mut contestants = vec![
        ("pg_dump -Fc -Z0 > /dev/null", format!("{pg_dump} --compress=none > /dev/null")),
        ("longshore run", run(&judged)),
        ("longshore run, without verification", run(&unjudged)),
        (
            "pg_dump -Fc -Z0 | zstd -T2 -3 | age > file",
            format!("{pg_dump} --compress=none | zstd -q -T2 -3 | {sealed}"),
        ),
        ("pg_dump -Fc | age > file", format!("{pg_dump} | {sealed}")),
    ];
    if bench.asks("gpg") {
        let sealed = site.gpg()?;
        contestants.push(("pg_dump -Fc | gpg > file", format!("{pg_dump} | {sealed} > {}", file.display())));
    }
    if bench.asks("restic") {
        contestants.push(("pg_dump -Fc -Z0 | restic backup --stdin", with_restic(&site, &pg_dump)?));
    }
    Ok(vec![contest("one dump to a disk", bench.rounds, database.bytes, &contestants)?])
}

/// Returns the command for a backup by restic. Each run uses a new repository, because restic
/// stores nothing twice.
fn with_restic(site: &Site, pg_dump: &str) -> Result<String> {
    let (empty, repository) = (site.path("restic-empty"), site.path("restic"));
    let (empty, repository) = (empty.display(), repository.display());
    let restic = "RESTIC_PASSWORD=bench restic --quiet --no-cache";
    shell(&format!("{restic} --repo {empty} init"))?;
    Ok(format!(
        "rm -rf {repository}; cp -r {empty} {repository}; \
         {pg_dump} --compress=none | {restic} --repo {repository} backup --stdin --stdin-filename {NAME}.dump"
    ))
}
