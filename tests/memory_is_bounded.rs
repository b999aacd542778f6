//! Memory use is independent of the size of the dump.

use longshore_testkit::runs::lay;

use crate::support::{Ended, Job, Workshop, files};

/// The limit of a process's resident memory, in KiB.
const LIMIT_KIB: u64 = 100 * 1024;

#[test]
fn memory_stays_under_100_mb_for_a_2_gb_dump() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("bulk");
    workshop.cluster.psql(
        "bulk",
        "create unlogged table bulk as select i, repeat(md5(i::text), 60) as text from generate_series(1, 1150000) i;",
    );
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let (report, peak) = run(&workshop);
    assert!(report["artifacts"][0]["plaintext_bytes"].as_u64().unwrap() > 2 << 30);
    assert!(peak > 0 && peak < LIMIT_KIB, "{peak} KiB");
}

/// The quick test of destinations of different speeds: the dump is larger than the memory limit,
/// and the slowest destination limits the run.
#[test]
fn memory_does_not_hold_what_a_slow_destination_has_yet_to_take() {
    let workshop = Workshop::new();
    make_compressible(&workshop, 4_000);
    let locals = ["fast", "slow", "slower"].map(|name| (name, workshop.make_folder(name)));
    let ship: Vec<_> = locals.iter().map(|(name, folder)| (*name, folder.as_path())).collect();
    let terms = [("slow", "max_rate = '100MiB'"), ("slower", "max_rate = '60MiB'")];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump, ship: &ship, terms: &terms, more, ..Job::default() });
    let (report, peak) = run(&workshop);
    let artifact = &report["artifacts"][0];
    let sealed = artifact["sealed_bytes"].as_u64().unwrap();
    assert!(sealed > 360 << 20, "{sealed}");
    for destination in artifact["destinations"].as_array().unwrap() {
        assert_eq!(destination["bytes"].as_u64(), Some(sealed), "{destination}");
    }
    assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
}

mod slow {
    use longshore_testkit::garage::{Garage, Permission};
    use longshore_testkit::sshd::Sshd;

    use super::{make_compressible, run};
    use crate::support::{Forgetful, Job, Workshop};

    /// A destination runs ahead of the others by at most the size of its buffers, which does not
    /// depend on the size of the dump.
    ///
    /// Eight encrypted copies of 4 GiB, and the two further replicas of a store of three nodes,
    /// exceed the disk space of a test machine, and encrypted bytes do not compress. So only two
    /// copies are kept, one of them verified byte by byte at the host and one here. The other
    /// destinations discard their content: this process has sent all of it, and only its memory is
    /// measured.
    #[test]
    fn memory_stays_under_256_mb_for_a_4_gb_artifact_with_eight_destinations_of_different_speeds() {
        let workshop = Workshop::new();
        make_compressible(&workshop, 46_000);
        let locals = ["kept", "fast", "slow", "slower"].map(|name| (name, workshop.make_folder(name)));
        let ship: Vec<_> = locals.iter().map(|(name, folder)| (*name, folder.as_path())).collect();
        let (judge, hosts, garage) = (Sshd::start(), [Sshd::start(), Sshd::start()], Garage::start());
        let elsewhere = [
            ("judged", workshop.on_host("ssh", &judge, "")),
            ("host", workshop.on_host("sftp", &hosts[0], "")),
            ("throttled", workshop.on_host("sftp", &hosts[1], "max_rate = '80MiB'")),
            ("bucket", workshop.in_bucket(&garage, "acme", Permission::Everything, "")),
        ];
        let terms = [("slow", "max_rate = '100MiB'"), ("slower", "max_rate = '60MiB'")];
        let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
        let more = "compression = { method = 'none' }";
        workshop.configure(&Job { dump, ship: &ship, elsewhere: &elsewhere, terms: &terms, more, ..Job::default() });
        let forgetting = locals[1..].iter().map(|(_, folder)| folder.clone()).chain(hosts.iter().map(Sshd::backups));
        let _forgetful = Forgetful::folders(forgetting.chain(garage.blocks()).collect());

        let (report, peak) = run(&workshop);
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
        workshop.longshore(&["verify", "--destination", "kept"]).expect(0);
    }
}

/// Creates a database `bulk` with a table of `rows` rows of 94 KiB. The server stores each row
/// compressed in 1 KiB; a dump contains the rows uncompressed.
fn make_compressible(workshop: &Workshop, rows: u32) {
    workshop.cluster.create_database("bulk");
    for step in [
        "create unlogged table one as select repeat(md5('x'), 3000) as text",
        &format!("create unlogged table bulk as select i, text from one, generate_series(1, {rows}) i"),
    ] {
        workshop.cluster.psql("bulk", step);
    }
}

#[test]
fn memory_stays_under_256_mb_for_a_look_at_100_000_objects_and_a_prune_among_them() {
    let workshop = Workshop::new();
    let policy =
        "max_age = 'none'\nretention = 'standard'\n[retention.standard]\nkeep_last = 'all'\nmax_total_size = '196kB'";
    workshop.configure(&Job { more: policy, ..Job::default() });
    lay(&workshop.local(), 20, 1_667);
    let (status, peak) = watched(&workshop, &["status", "--json"]);
    assert_eq!(
        (&status["destinations"][0]["backups"], &status["series"].as_array().unwrap().len()),
        (&33_340.into(), &20)
    );
    assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
    // At six bytes a backup, the limit keeps 32,666 backups.
    let (pruned, peak) = watched(&workshop, &["prune", "--json"]);
    let series = pruned[0]["series"].as_array().unwrap();
    let count = |what: &str| series.iter().map(|series| series[what].as_array().unwrap().len()).sum::<usize>();
    assert_eq!((count("keep"), count("remove"), count("failed")), (32_666, 674, 0));
    assert_eq!(files(&workshop.local()).len(), 32_666 * 3);
    assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
}

/// Runs the job, and returns its report and its peak memory in KiB.
fn run(workshop: &Workshop) -> (serde_json::Value, u64) {
    watched(workshop, &["run", "--json"])
}

/// Runs a command, and returns its JSON output and its peak memory in KiB.
#[allow(clippy::print_stdout)] // shown by `--nocapture`
fn watched(workshop: &Workshop, words: &[&str]) -> (serde_json::Value, u64) {
    let run = workshop.start(words);
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
    let ended = Ended::of(answer.join().unwrap()).expect(0);
    (serde_json::from_str(&ended.stdout).unwrap(), peak)
}
