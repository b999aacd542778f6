//! What it costs to judge every byte: against a dump that nobody judges, and against `pg_restore` on a file.

use std::path::Path;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};

use super::Bench;
use super::contest::{Contest, contest};
use crate::{Result, setup};

const DATABASE: &str = "bench";

/// How pg_dump compresses, and by which word.
const COMPRESSIONS: [&str; 4] = ["none", "gzip", "lz4", "zstd"];

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    let installation = setup::for_tests()?;
    let cluster = Cluster::start(&installation, &["shared_buffers=1GB", "fsync=off"]);
    fill(&cluster, &installation, bench.scale)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let (pg_dump, pg_restore) = (program(&installation, "pg_dump"), program(&installation, "pg_restore"));
    let database = format!("-d '{} dbname={DATABASE}'", cluster.connection());
    let longshore = bench.longshore.display();
    let dump = format!("{pg_dump} {database} --format=custom --compress=none");

    let size = bytes_of(&format!("{dump} | wc -c"))?;
    println!("    PostgreSQL {}, a database of {} MB in COPY's text", installation.version, size / 1_000_000);
    let mut all = vec![contest(
        "while it is dumped",
        bench.rounds,
        size,
        &[
            ("pg_dump -Fc -Z0 > /dev/null", format!("{dump} > /dev/null")),
            ("pg_dump -Fc -Z0 | cat > /dev/null", format!("{dump} | cat > /dev/null")),
            (
                "pg_dump -Fc -Z0 | longshore inspect --check -",
                format!("{dump} | {longshore} --quiet inspect --check - > /dev/null"),
            ),
        ],
    )?];
    for compression in COMPRESSIONS {
        let file = folder.path().join(compression);
        let file = file.display();
        shell(&format!("{pg_dump} {database} --format=custom --compress={compression} --file={file}"))?;
        all.push(contest(
            &format!("a stored archive, {compression}"),
            bench.rounds,
            size,
            &[
                ("pg_restore -f /dev/null", format!("{pg_restore} -f /dev/null {file}")),
                ("longshore inspect --check", format!("{longshore} --quiet inspect --check {file} > /dev/null")),
            ],
        )?);
        std::fs::remove_file(Path::new(&file.to_string())).map_err(|error| format!("cannot remove {file}: {error}"))?;
    }
    Ok(all)
}

/// pgbench's tables, and text, jsonb, bytea and large objects in proportion; the same in every run.
fn fill(cluster: &Cluster, installation: &Installation, scale: u32) -> Result<()> {
    cluster.create_database(DATABASE);
    let pgbench = program(installation, "pgbench");
    shell(&format!("{pgbench} -i -q -s {scale} '{} dbname={DATABASE}' 2> /dev/null", cluster.connection()))?;
    cluster.psql(DATABASE, &format!("\\set scale {scale}\n{}", include_str!("verify.sql")));
    Ok(())
}

fn program(installation: &Installation, name: &str) -> String {
    installation.program(name).display().to_string()
}

fn shell(command: &str) -> Result<()> {
    let status = Command::new("bash").args(["-c", command]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command}: {status}")),
        Err(error) => Err(format!("cannot run bash: {error}")),
    }
}

/// The number that a command prints.
fn bytes_of(command: &str) -> Result<u64> {
    let output = Command::new("bash").args(["-o", "pipefail", "-c", command]).output();
    let output = output.map_err(|error| format!("cannot run bash: {error}"))?;
    let number = String::from_utf8_lossy(&output.stdout).trim().parse();
    number.map_err(|error| format!("{command} printed no number: {error}"))
}
