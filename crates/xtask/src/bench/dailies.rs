//! The cost of a month of daily backups of a database that changes little: full dumps, differences
//! with a full dump each week, and the repositories of restic and borg.

use std::time::Instant;

use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, bytes_of, compare_from};
use super::database::{Database, NAME, shell};
use super::{Bench, build_release};
use crate::Result;
use crate::setup;

/// The number of days.
const DAYS: usize = 30;

/// The number of days between two full dumps.
const WEEK: usize = 7;

/// The number of days that are printed one by one.
const PRINTED: usize = 8;

/// The tables of the workloads: hard to compress, one of them never changed. `:rows` is their size.
const TABLES: &str = "
    create table customer as select i id, md5(i::text) || md5('c' || i) note from generate_series(1, :rows / 4) i;
    create table item as select i id, md5('i' || i) note, i % 97 n from generate_series(1, :rows) i;
    create table event as select i id, now() at, md5('e' || i) || md5('f' || i) body from generate_series(1, :rows) i;
    create table still as select i id, md5('s' || i) || md5('t' || i) body from generate_series(1, :rows) i;
    create index on customer (id); create index on item (id); create index on event (id); analyze";

/// A hundredth of the rows of each table, at random places.
const RANDOM: &str = "
    update customer set note = md5(random()::text) where random() < 0.01;
    update item set note = md5(random()::text) where random() < 0.01;
    update event set body = md5(random()::text) where random() < 0.01";

/// A hundredth of the rows appended, some recent ones changed, and a few at random places.
const APPENDED: &str = "
    insert into event select i, now(), md5('e' || i) || md5(random()::text) from generate_series(1, :rows / 100) i;
    insert into item select i, md5('i' || random()), 1 from generate_series(1, :rows / 100) i;
    update item set note = md5(random()::text) where id > :rows - :rows / 4500;
    update customer set note = md5(random()::text)
        where id in (select (random() * :rows / 4)::int from generate_series(1, :rows / 4500))";

/// A workload: the commands for its first day and for each further day.
struct Workload {
    name: &'static str,
    first: String,
    change: String,
}

/// A way to store a dump each day.
struct Contestant {
    name: &'static str,
    command: String,
    /// The command for the first day of a week, if it is another.
    weekly: Option<String>,
    /// The folder that grows.
    folder: String,
}

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_demo()?;
    encoder_speed(bench)?;
    let rows = 100_000 * u64::from(bench.scale);
    let workload = |name, change: &str| Workload { name, first: TABLES.to_owned(), change: change.to_owned() };
    let all = [
        workload("A: 1 % of the rows at random places", RANDOM),
        workload("B: 1 % of the rows appended", APPENDED),
        Workload { name: "pgbench", first: String::new(), change: String::new() },
    ];
    let mut comparisons = Vec::new();
    for workload in &all {
        comparisons.push(days(bench, workload, rows)?);
    }
    Ok(comparisons)
}

/// Stores a dump each day by every contestant, prints megabytes and seconds, and compares restores
/// of a full dump and of a difference.
fn days(bench: &Bench, workload: &Workload, rows: u64) -> Result<Comparison> {
    let database = Database::none()?;
    let (psql, connection) = (database.program("psql"), database.connection());
    shell(&format!("{psql} -qXd '{connection} dbname=postgres' -c 'create database {NAME}'"))?;
    let sql = |text: &str| {
        shell(&format!("{psql} -qXd '{connection} dbname={NAME}' -v rows={rows} <<< \"{text}\" > /dev/null"))
    };
    let pgbench = |more: &str| {
        shell(&format!("{} {more} '{connection} dbname={NAME}' > /dev/null 2>&1", database.program("pgbench")))
    };
    let is_pgbench = workload.first.is_empty();
    if is_pgbench {
        pgbench(&format!("-i -q -s {}", bench.scale * 3))?
    } else {
        sql(&workload.first)?
    }
    let bench_dir = BenchDir::make()?;
    let contestants = contestants(bench, &database, &bench_dir)?;
    let plain = bytes_of(&format!("{} -Z0 | wc -c", database.dump()))?;
    println!("    {}: a dump of {} MB", workload.name, plain / 1_000_000);
    let mut stored: Vec<Vec<(f64, f64)>> = vec![Vec::new(); contestants.len()];
    for day in 0..DAYS {
        if day > 0 {
            if is_pgbench { pgbench(&format!("-n -t {} -c 4", bench.scale * 500))? } else { sql(&workload.change)? }
        }
        for (contestant, stored) in contestants.iter().zip(&mut stored) {
            let used = format!("mkdir -p {0} && du -sb --apparent-size {0} | cut -f1", contestant.folder);
            let before = bytes_of(&used)?;
            let begun = Instant::now();
            let weekly = contestant.weekly.as_ref().filter(|_| day % WEEK == 0);
            shell(weekly.unwrap_or(&contestant.command))?;
            let seconds = begun.elapsed().as_secs_f64();
            let added = bytes_of(&used)?.saturating_sub(before);
            stored.push((added as f64 / 1e6, seconds));
        }
    }
    let days: String = (1..=PRINTED).map(|day| format!("{:>8}", format!("day {day}"))).collect();
    println!("      {:<24}{days}{:>10}{:>8}", "MB", format!("{DAYS} days"), "s/day");
    for (contestant, stored) in contestants.iter().zip(&stored) {
        let (total, seconds) = stored.iter().fold((0.0, 0.0), |sum, day| (sum.0 + day.0, sum.1 + day.1));
        let days: String = stored.iter().take(PRINTED).map(|(added, _)| format!("{added:>8.2}")).collect();
        println!("      {:<24}{days}{total:>10.1}{:>8.1}", contestant.name, seconds / DAYS as f64);
    }
    restores(bench, workload, &database, &bench_dir)
}

fn contestants(bench: &Bench, database: &Database, bench_dir: &BenchDir) -> Result<Vec<Contestant>> {
    let longshore = bench.longshore()?.display().to_string();
    let job = format!("dump = [{{ type = 'pg_dump', databases = ['{NAME}'] }}]\n");
    let folder = |name: &str| bench_dir.folder(name).map(|path| path.display().to_string());
    let (full, difference, restic, borg) = (folder("full")?, folder("difference")?, folder("restic")?, folder("borg")?);
    let run = |name: &str, folder: &str, more: &str| -> Result<String> {
        let destination = [("there", local(folder.as_ref()))];
        let config = bench_dir.configure(&format!("{name}.toml"), database, &destination, &format!("{job}{more}"))?;
        // Two runs in one second would have the same name.
        Ok(format!("{longshore} --quiet --config {config} run > /dev/null"))
    };
    let dump = format!("{} -Z0", database.dump());
    let restic_variables = format!("RESTIC_REPOSITORY={restic} RESTIC_PASSWORD=x RESTIC_CACHE_DIR={restic}-cache");
    let borg_variables = format!("BORG_PASSPHRASE=x BORG_BASE_DIR={borg}-base");
    shell("command -v borg > /dev/null").map_err(|_| "borg is missing: install the package borgbackup".to_owned())?;
    shell(&format!("{restic_variables} restic init -q > /dev/null"))?;
    shell(&format!("{borg_variables} borg init -e repokey-blake2 {borg} 2> /dev/null"))?;
    let made = |name, command, folder| Contestant { name, command, weekly: None, folder };
    let differences = run("difference", &difference, "differential = { full_every = '7d' }")?;
    let weekly = Some(differences.replace(" run ", " run --no-differential "));
    Ok(vec![
        made("longshore, full dumps", run("full", &full, "")?, full),
        Contestant { weekly, ..made("longshore, differences", differences, difference) },
        made("restic", format!("{dump} | {restic_variables} restic backup -q --stdin > /dev/null"), restic),
        made(
            "borg",
            format!("{dump} | {borg_variables} borg create -C zstd,3 {borg}::$(date +%s%N) - 2> /dev/null"),
            borg,
        ),
    ])
}

/// Compares the restore of the full dump with that of the last difference, into a new database.
fn restores(bench: &Bench, workload: &Workload, database: &Database, bench_dir: &BenchDir) -> Result<Comparison> {
    let (psql, to) = (database.program("psql"), database.connection());
    let start = format!("{psql} -qXd '{to} dbname=postgres' -c 'drop database if exists {NAME}' -c checkpoint && sync");
    let restore = |pick: &str| -> Result<String> {
        Ok(format!(
            "name=$(ls {folder}/main/{NAME}/*.dump*.age | {pick} -n 1); name=${{name##*/}}; PATH={bin_dir}:$PATH {longshore} --quiet \
             --config {config} restore main/{NAME}/${{name%%.*}} --create --to '{to}' -i {identity} --no-analyze --no-compare > /dev/null",
            folder = bench_dir.path("difference").display(),
            bin_dir = database.bin_dir(),
            longshore = bench.longshore()?.display(),
            config = bench_dir.path("difference.toml").display(),
            identity = bench_dir.path("identity.txt").display(),
        ))
    };
    compare_from(
        &start,
        &format!("restore, {}", workload.name),
        bench.rounds,
        0,
        &[("a full dump", restore("head")?), ("a difference", restore("tail")?)],
    )
}

/// Prints the speed of the encoder on one core, with rows that mostly stay.
fn encoder_speed(bench: &Bench) -> Result<()> {
    let program =
        build_release(&["--package", "longshore-rdiff", "--example", "compare_files"], "examples/compare_files")?;
    let folder = BenchDir::make()?;
    let (old, new) = (folder.path("old"), folder.path("new"));
    let rows = 1_000_000 * u64::from(bench.scale);
    let numbers = format!("seq {rows} | awk '{{ printf \"%d\\t%x%x\\n\", $1, $1 * 2654435761, $1 * 40503 }}'");
    shell(&format!(
        "{numbers} > {old} && sed '0~997s/$/changed/' {old} > {new}",
        old = old.display(),
        new = new.display()
    ))?;
    shell(&format!("{} {} {}", program.display(), old.display(), new.display()))
}
