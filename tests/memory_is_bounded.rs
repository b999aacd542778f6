//! Memory does not grow with the size of the dump.

use longshore_testkit::runs::lay;

use crate::support::{Ended, Job, Workshop, files};

/// The most resident memory that a process of ours may take, in KiB.
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

/// The quick test of destinations of different speeds: the dump is larger than the memory it may take, and the slowest takes it last.
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

    /// None runs ahead of the others by more than its buffers hold, and what is in them does not grow with the dump.
    ///
    /// Eight sealed copies of 4 GiB, and the two more that a store of three nodes makes, are more than a machine that runs tests has room for, and
    /// nothing compresses them. So two are kept, one of them judged byte by byte on the far side and one here; the other far sides forget what they
    /// have written: all of it came through this process, which is what is measured.
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
            // 60 MiB a second for the slowest of them, which all wait for.
            assert!(destination["seconds"].as_f64().unwrap() > 60.0, "{destination}");
        }
        assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
        workshop.longshore(&["verify", "--destination", "kept"]).expect(0);
    }
}

/// A database `bulk`, with a table of so many rows of 94 KiB. The server keeps each in 1 KiB, copied as it was compressed once; a dump has them whole.
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
    // Six bytes a backup: what is more than 32,666 of them goes.
    let (pruned, peak) = watched(&workshop, &["prune", "--json"]);
    let series = pruned[0]["series"].as_array().unwrap();
    let count = |what: &str| series.iter().map(|series| series[what].as_array().unwrap().len()).sum::<usize>();
    assert_eq!((count("keep"), count("remove"), count("failed")), (32_666, 674, 0));
    assert_eq!(files(&workshop.local()).len(), 32_666 * 3);
    assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
}

/// Runs the job, and tells its report and the most memory that it took, in KiB.
fn run(workshop: &Workshop) -> (serde_json::Value, u64) {
    watched(workshop, &["run", "--json"])
}

/// Does what the words say, and tells what it answers and the most memory that it took, in KiB.
#[allow(clippy::print_stdout)] // for whoever asks the runner of tests for it
fn watched(workshop: &Workshop, words: &[&str]) -> (serde_json::Value, u64) {
    let run = workshop.start(words);
    let status = format!("/proc/{}/status", run.id());
    // Its answer may be longer than a pipe holds, so it is read meanwhile.
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
