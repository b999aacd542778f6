//! Memory use is independent of the size of the dump.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use longshore_testkit::cluster::NewFolder;
use longshore_testkit::sample_backups::fill;

use crate::support::{CommandOutput, Job, TestEnv, files};

/// The limit of a process's resident memory, in KiB.
const LIMIT_KIB: u64 = 100 * 1024;

/// Dumps a table with this number of rows of 1.9 KB.
fn memory_stays_under_100_mb(rows: u32) {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("bulk");
    test_env.cluster.psql(
        "bulk",
        &format!(
            "create unlogged table bulk as select i, repeat(md5(i::text), 60) as text from generate_series(1, {rows}) i;"
        ),
    );
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let (report, peak) = run(&test_env);
    assert!(report["artifacts"][0]["plaintext_bytes"].as_u64().unwrap() > u64::from(rows) * 1900);
    assert!(peak > 0 && peak < LIMIT_KIB, "{peak} KiB");
}

#[test]
fn memory_stays_under_100_mb_for_a_500_mb_dump() {
    memory_stays_under_100_mb(280_000);
}

/// The quick test of destinations of different speeds: the dump is larger than the memory limit,
/// and the slowest destination limits the run.
#[test]
fn slow_destination_does_not_fill_memory() {
    let test_env = TestEnv::new();
    make_compressible(&test_env, 4_000);
    let locals = ["fast", "slow", "slower"].map(|name| (name, test_env.make_folder(name)));
    let ship: Vec<_> = locals.iter().map(|(name, folder)| (*name, folder.as_path())).collect();
    let settings = [("slow", "max_rate = '100MiB'"), ("slower", "max_rate = '60MiB'")];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump, ship: &ship, settings: &settings, more, ..Job::default() });
    let (report, peak) = run(&test_env);
    let artifact = &report["artifacts"][0];
    let sealed = artifact["sealed_bytes"].as_u64().unwrap();
    assert!(sealed > 360 << 20, "{sealed}");
    for destination in artifact["destinations"].as_array().unwrap() {
        assert_eq!(destination["bytes"].as_u64(), Some(sealed), "{destination}");
    }
    assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
}

#[test]
fn differences_take_at_most_16_mb_more_memory() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("bulk");
    test_env.cluster.psql(
        "bulk",
        "create unlogged table bulk as select i, repeat(md5(i::text), 10) || i text from generate_series(1, 300000) i",
    );
    let peak = |more: &str| {
        let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
        test_env.configure(&Job { dump, more, ..Job::default() });
        std::thread::sleep(std::time::Duration::from_millis(1050));
        let (report, peak) = run(&test_env);
        assert!(peak > 0);
        (report["artifacts"][0]["difference"].is_object(), peak)
    };
    let differential = "differential = { full_every = '7d' }";
    let (_, without) = peak("");
    let (is_difference, full) = peak(differential);
    assert!(!is_difference && full <= without + (16 << 10), "{full} KiB instead of {without} KiB");
    test_env.cluster.psql("bulk", "update bulk set text = 'changed' where i % 100 = 0");
    let (is_difference, difference) = peak(differential);
    assert!(is_difference && difference <= without + (16 << 10), "{difference} KiB instead of {without} KiB");
}

/// Backs up and restores a cluster with this number of files, which the server takes for relations.
fn files_of_a_base_backup_fit(count: u32, limit_kib: u64) {
    let test_env = TestEnv::new();
    let folder = test_env.cluster.data_dir().join("base/1");
    let owner = fs::metadata(&folder).unwrap();
    for number in 0..count {
        let path = folder.join((1_000_000 + number).to_string());
        fs::write(&path, "").unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    test_env.configure(&Job { dump: "[{ type = 'pg_base', checkpoint = 'fast' }]", ..Job::default() });
    let (report, peak) = run(&test_env);
    assert!(report["artifacts"][0]["plaintext_bytes"].as_u64().unwrap() > u64::from(count) * 512);
    assert!(peak > 0 && peak < limit_kib, "{peak} KiB");
    let target = NewFolder::new();
    let to = target.data_dir().display().to_string();
    let identity = test_env.identity().display().to_string();
    let (_, peak) = peak_of(&test_env, &["restore", "main", "--base", "--to-dir", &to, "--identity", &identity]);
    assert!(target.data_dir().join("base/1").join((1_000_000 + count - 1).to_string()).exists());
    assert!(peak > 0 && peak < limit_kib, "{peak} KiB");
}

#[test]
fn memory_stays_under_100_mb_for_100_000_files() {
    files_of_a_base_backup_fit(100_000, LIMIT_KIB);
}

mod slow {
    use longshore_testkit::garage::{Garage, Permission};
    use longshore_testkit::sshd::Sshd;

    use super::{make_compressible, run};
    use crate::support::{DiscardingDirs, Job, TestEnv};

    #[test]
    fn memory_stays_under_100_mb_for_a_2_gb_dump() {
        super::memory_stays_under_100_mb(1_150_000);
    }

    #[test]
    fn memory_stays_under_256_mb_for_a_million_files() {
        super::files_of_a_base_backup_fit(1_000_000, 256 << 10);
    }

    #[test]
    fn memory_stays_under_256_mb_for_100_000_objects() {
        super::catalog_fits(1_667, 32_666, 256 << 10);
    }

    /// A destination runs ahead of the others by at most the size of its buffers, which does not
    /// depend on the size of the dump.
    ///
    /// Eight encrypted copies of 4 GiB, and the two further replicas of a store of three nodes,
    /// exceed the disk space of a test machine, and encrypted bytes do not compress. So only two
    /// copies are kept, one of them verified byte by byte at the host and one here. The other
    /// destinations discard their content: this process has sent all of it, and only its memory is
    /// measured.
    #[test]
    fn memory_stays_under_256_mb_with_eight_destinations() {
        let test_env = TestEnv::new();
        make_compressible(&test_env, 46_000);
        let locals = ["kept", "fast", "slow", "slower"].map(|name| (name, test_env.make_folder(name)));
        let ship: Vec<_> = locals.iter().map(|(name, folder)| (*name, folder.as_path())).collect();
        let (judge, hosts, garage) = (Sshd::start(), [Sshd::start(), Sshd::start()], Garage::start());
        let remote = [
            ("judged", test_env.on_host("ssh", &judge, "")),
            ("host", test_env.on_host("sftp", &hosts[0], "")),
            ("throttled", test_env.on_host("sftp", &hosts[1], "max_rate = '80MiB'")),
            ("bucket", test_env.in_bucket(&garage, "acme", Permission::Everything, "")),
        ];
        let settings = [("slow", "max_rate = '100MiB'"), ("slower", "max_rate = '60MiB'")];
        let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
        let more = "compression = { method = 'none' }";
        test_env.configure(&Job { dump, ship: &ship, remote: &remote, settings: &settings, more, ..Job::default() });
        let discarding = locals[1..].iter().map(|(_, folder)| folder.clone()).chain(hosts.iter().map(Sshd::backups));
        let _discarding_dirs = DiscardingDirs::new(discarding.chain(garage.blocks()).collect());

        let (report, peak) = run(&test_env);
        let artifact = &report["artifacts"][0];
        let sealed = artifact["sealed_bytes"].as_u64().unwrap();
        assert!(sealed > 4 << 30, "{sealed}");
        let destinations = artifact["destinations"].as_array().unwrap();
        assert_eq!(destinations.len(), 8);
        for destination in destinations {
            assert_eq!(destination["bytes"].as_u64(), Some(sealed), "{destination}");
            // All destinations wait for the slowest, which takes 60 MiB a second.
            assert!(destination["seconds"].as_f64().unwrap() > 60.0, "{destination}");
        }
        assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
        test_env.longshore(&["verify", "--destination", "kept"]).expect(0);
    }
}

/// Creates a database `bulk` with a table of `rows` rows of 94 KiB. The server stores each row
/// compressed in 1 KiB; a dump contains the rows uncompressed.
fn make_compressible(test_env: &TestEnv, rows: u32) {
    test_env.cluster.create_database("bulk");
    for step in [
        "create unlogged table one as select repeat(md5('x'), 3000) as text",
        &format!("create unlogged table bulk as select i, text from one, generate_series(1, {rows}) i"),
    ] {
        test_env.cluster.psql("bulk", step);
    }
}

/// The memory for many backups grows with their number, so a tenth of them must fit into much less.
#[test]
fn memory_stays_under_80_mb_for_10_000_objects() {
    catalog_fits(167, 3_266, 80 << 10);
}

/// Reads and prunes 20 series of backups, three objects each. Retention keeps `kept` of them.
fn catalog_fits(backups_per_series: usize, kept: usize, limit_kib: u64) {
    let test_env = TestEnv::new();
    // At six bytes a backup.
    let policy = format!(
        "max_age = 'none'\nretention = 'standard'\n[retention.standard]\nkeep_last = 'all'\nmax_total_size = '{}B'",
        kept * 6
    );
    test_env.configure(&Job { more: &policy, ..Job::default() });
    fill(&test_env.local(), 20, backups_per_series);
    let backups = 20 * backups_per_series;
    let (status, peak) = watched(&test_env, &["status", "--json"]);
    assert_eq!(
        (&status["destinations"][0]["backups"], &status["series"].as_array().unwrap().len()),
        (&backups.into(), &20)
    );
    assert!(peak > 0 && peak < limit_kib, "{peak} KiB");
    let (pruned, peak) = watched(&test_env, &["prune", "--json"]);
    let series = pruned[0]["series"].as_array().unwrap();
    let count = |what: &str| series.iter().map(|series| series[what].as_array().unwrap().len()).sum::<usize>();
    assert_eq!((count("keep"), count("remove"), count("failed")), (kept, backups - kept, 0));
    assert_eq!(files(&test_env.local()).len(), kept * 3);
    assert!(peak > 0 && peak < limit_kib, "{peak} KiB");
}

/// Runs the job, and returns its report and its peak memory in KiB.
fn run(test_env: &TestEnv) -> (serde_json::Value, u64) {
    watched(test_env, &["run", "--json"])
}

/// Runs a command, and returns its JSON output and its peak memory in KiB.
fn watched(test_env: &TestEnv, words: &[&str]) -> (serde_json::Value, u64) {
    let (result, peak) = peak_of(test_env, words);
    (serde_json::from_str(&result.stdout).unwrap(), peak)
}

/// Runs a command to its end, and returns its output and its peak memory in KiB.
#[allow(clippy::print_stdout)] // shown by `--nocapture`
fn peak_of(test_env: &TestEnv, words: &[&str]) -> (CommandOutput, u64) {
    let run = test_env.start(words);
    let status = format!("/proc/{}/status", run.id());
    // The output may exceed a pipe's buffer, so another thread reads it meanwhile.
    let answer = std::thread::spawn(|| run.wait_with_output().unwrap());
    let mut peak = 0;
    while !answer.is_finished() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(high.map_or(0, |high| high.trim().trim_end_matches(" kB").parse().unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!("{peak} KiB of memory at most");
    (CommandOutput::of(answer.join().unwrap()).expect(0), peak)
}
