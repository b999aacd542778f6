//! The cost of base backups from files and from a snapshot, compared with a pipe of standard tools
//! on the same files, with the server's own base backup, and with pgBackRest.

use longshore_testkit::loop_mount::LoopMount;

use super::Bench;
use super::bench_dir::{BenchDir, local};
use super::comparison::{Comparison, bytes_of, compare};
use super::database::{Database, shell};
use super::pg_backrest::PgBackRest;
use crate::{Result, setup};

/// The configured compression, the same in all programs.
const COMPRESSION: &str = "compression = { by = 'longshore', method = 'zstd', level = 1, threads = 2 }";

/// The numbers of threads, and of processes of pgBackRest.
const THREADS: [u32; 3] = [1, 2, 4];

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_snapshot_bench()?;
    let mount = LoopMount::btrfs();
    let with_pg_backrest = bench.compares_with("pgbackrest");
    let database = Database::make_within(&mount.path(), with_pg_backrest, bench.scale)?;
    let bench_dir = BenchDir::make()?;
    let (longshore, near) = (bench.longshore()?.display().to_string(), bench_dir.folder("near")?);
    let destination = [("near", local(&near))];
    let run = |name: &str, stage: &str| -> Result<String> {
        let job = format!("dump = [{{ {stage}, checkpoint = 'fast' }}]\n{COMPRESSION}\n");
        let config = bench_dir.configure(name, &database, &destination, &job)?;
        // Two backups of the same second have the same name.
        Ok(format!("rm -rf {}/main; {longshore} --quiet --config {config} run > /dev/null", near.display()))
    };
    let data = database.data_dir();
    let tar = format!("tar -C {data} --exclude=./pg_wal/0* -c .");
    let bytes = bytes_of(&format!("{tar} | wc -c"))?;
    println!("    the cluster has {} MB in tar format, on btrfs", bytes / 1_000_000);
    let file = near.join("file.age");
    let pipe = format!("{tar} | zstd -q -T2 -1 | age -r {} > {}", bench_dir.recipient, file.display());
    let mut commands = vec![
        ("tar c | zstd -T2 -1 | age > file".to_owned(), pipe),
        ("tar c > /dev/null, through cat".to_owned(), format!("{tar} | cat > /dev/null")),
        ("longshore run, pg_base".to_owned(), run("pg_base.toml", "type = 'pg_base'")?),
        ("longshore run, snapshot".to_owned(), run("snapshot.toml", "type = 'snapshot', with = 'btrfs'")?),
    ];
    for threads in THREADS {
        let stage = format!("type = 'pg_files', threads = {threads}");
        commands.push((
            format!("longshore run, pg_files, {threads} threads"),
            run(&format!("files{threads}.toml"), &stage)?,
        ));
    }
    let pg_backrest = match with_pg_backrest {
        true => Some(PgBackRest::make(&database)?),
        false => None,
    };
    if let Some(it) = &pg_backrest {
        commands.extend(
            THREADS.map(|processes| (format!("pgbackrest backup, {processes} processes"), it.backup(processes))),
        );
    }
    shell("sync")?;
    let named: Vec<_> = commands.iter().map(|(name, command)| (name.as_str(), command.clone())).collect();
    Ok(vec![compare("one base backup of files to a disk", bench.rounds, bytes, &named)?])
}
