//! One read of the database is shipped to a disk, to hosts over SSH and to a bucket. A failed
//! destination does not affect the others, and catches up later.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::proxy::{Fault, Proxy, Way};
use longshore_testkit::sshd::Sshd;

use crate::support::{Ended, Job, Workshop, files, wait_for};

const BULK: &str = "[{ type = 'pg_dump', databases = ['bulk'] }]";

#[test]
fn one_read_goes_to_a_disk_hosts_and_a_bucket_and_comes_back_from_each() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 16);
    let (garage, by_ssh, by_sftp, by_rsync) = (Garage::start(), Sshd::start(), Sshd::start(), Sshd::start());
    let spool = workshop.path("spool");
    let elsewhere = [
        ("shell", workshop.on_host("ssh", &by_ssh, "")),
        ("sftp", workshop.on_host("sftp", &by_sftp, "")),
        ("mirror", workshop.on_host("rsync", &by_rsync, &format!("spool_dir = '{}'", spool.display()))),
        ("offsite", workshop.in_bucket(&garage, "acme", Permission::Everything, "prefix = 'postgresql'")),
    ];
    workshop.configure(&Job { elsewhere: &elsewhere, ..Job::default() });
    workshop.longshore(&["check"]).expect(0);
    let report = workshop.json(&["run", "--json"]);
    for artifact in report["artifacts"].as_array().unwrap() {
        let destinations = artifact["destinations"].as_array().unwrap();
        assert_eq!(destinations.len(), 5);
        assert!(destinations.iter().all(|at| at["error"].is_null()), "{artifact}");
    }
    for host in [&by_ssh, &by_sftp, &by_rsync] {
        assert_eq!(files(&host.backups()), files(&workshop.local()));
    }
    assert_eq!(files(&spool), [""; 0], "the spool is not empty after the run");
    let read = workshop.opening(&["verify", "--all"]).expect(0);
    assert_eq!(read.stdout.matches("verified: read to its end").count(), 5 * 3, "{}", read.stdout);
    workshop.longshore(&["sync"]).expect(0).says("all destinations are in sync");

    let mut dumps = Vec::new();
    for name in ["local", "shell", "sftp", "mirror", "offsite"] {
        let output = workshop.path(&format!("{name}.dump"));
        let output_name = output.display().to_string();
        workshop.opening(&["restore", "bulk", "--from", name, "--output", &output_name]).expect(0);
        dumps.push(fs::read(output).unwrap());
    }
    assert!(dumps.iter().all(|dump| *dump == dumps[0]));
}

/// The connection is cut midway. Before the run ends, the host's copy is completed from another
/// destination.
#[test]
fn a_host_that_is_cut_half_way_is_brought_up_by_the_end_of_the_run() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 32);
    let sshd = Sshd::start();
    let elsewhere = [("sftp", workshop.on_host("sftp", &sshd, "max_rate = '8MiB'"))];
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump: BULK, elsewhere: &elsewhere, more, ..Job::default() });
    let run = workshop.start(&["run", "--json"]);
    wait_for("a part of the artifact", || (bytes_in(&sshd.backups()) > 4 << 20).then_some(()));
    assert!(sshd.cut() > 0);
    let ended = Ended::of(run.wait_with_output().unwrap()).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let destinations = report["artifacts"][0]["destinations"].as_array().unwrap();
    assert!(destinations.iter().any(|at| at["caught_up_from"] == "local"), "{report}");
    workshop.opening(&["verify"]).expect(0);
}

/// The run ends although the servers never answer, and the other destinations are complete. A later
/// sync copies the missing backups.
#[test]
fn a_bucket_whose_servers_are_gone_fails_alone() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 32);
    let garage = Garage::start();
    let terms = "max_rate = '8MiB'\nretries = 1\ntimeout = '5s'";
    let elsewhere = [("offsite", workshop.in_bucket(&garage, "acme", Permission::Everything, terms))];
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump: BULK, elsewhere: &elsewhere, more, ..Job::default() });
    let run = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%");
    for node in 0..3 {
        garage.kill(node);
    }
    Ended::of(run.wait_with_output().unwrap()).expect(3).says("offsite FAILED").says("hint: ");
    workshop.opening(&["verify", "--destination", "local"]).expect(0);
}

/// The stalled network returns no error, accepts no data and sends no answer. A flipped bit in a
/// download is detected.
#[test]
fn a_network_that_stalls_for_ever_is_given_up_and_one_that_turns_bits_is_found_out() {
    let workshop = Workshop::new();
    // More than the buffers between Longshore and the bucket hold.
    workshop.make_bulk("bulk", 96);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let network = runtime.block_on(Proxy::start(garage.address(0)));
    let offsite = workshop.in_bucket(&garage, "acme", Permission::Everything, "stall_timeout = '4s'");
    let offsite = offsite.replace(&garage.address(0).to_string(), &network.address().to_string());
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump: BULK, elsewhere: &[("offsite", offsite)], more, ..Job::default() });
    network.fault(Way::Up, Fault::Stall(12 << 20));
    let begun = Instant::now();
    workshop.longshore(&["run"]).expect(3).says("offsite FAILED").says("accepted no data for 4s").says("stall_timeout");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    workshop.opening(&["verify", "--destination", "local"]).expect(0);

    network.heal();
    network.cut();
    workshop.longshore(&["sync"]).expect(0).says("copied");
    network.fault(Way::Down, Fault::Corrupt(20 << 20));
    workshop.longshore(&["verify", "--destination", "offsite"]).expect(4).says("main/bulk/bulk-").says("DAMAGED");
    network.heal();
    network.cut();
    workshop.longshore(&["verify", "--destination", "offsite"]).expect(0);
}

/// A host that writes backups needs no permission to read or delete them.
#[test]
fn credentials_that_may_only_write_are_enough_to_back_up() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let garage = Garage::start();
    let offsite = workshop.in_bucket(&garage, "acme", Permission::Write, "retries = 1");
    workshop.configure(&Job { elsewhere: &[("offsite", offsite)], ..Job::default() });
    workshop.longshore(&["check"]).expect(0).says("offsite");
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["list", "--destination", "offsite"]).expect(2).says("not permitted");
    workshop
        .longshore(&["verify", "--destination", "offsite"])
        .expect(2)
        .says("not permitted")
        .says("error: at \"offsite\"");
}

#[test]
fn wrong_credentials_are_seen_before_any_dump() {
    let workshop = Workshop::new();
    let (garage, sshd) = (Garage::start(), Sshd::start());
    let offsite = workshop.in_bucket(&garage, "acme", Permission::Everything, "retries = 1");
    fs::write(workshop.path("secret-of-acme"), "0000000000000000000000000000000000000000000000000000000000000000")
        .unwrap();
    let host = workshop.on_host("sftp", &sshd, "");
    fs::write(sshd.known_hosts(), "").unwrap();
    workshop.configure(&Job { elsewhere: &[("offsite", offsite), ("host", host)], ..Job::default() });
    workshop.longshore(&["check"]).expect(2).says("offsite").says("ssh-keyscan").keeps_quiet_about("00000000");
}

/// Only old partial files are removed: a young file may belong to a running upload.
#[test]
fn prune_sweeps_what_interrupted_writers_left_long_ago() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let sshd = Sshd::start();
    let more = "retention = 'some'\n[retention.some]\nkeep_last = 3";
    workshop.configure(&Job { elsewhere: &[("host", workshop.on_host("sftp", &sshd, ""))], more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let left = ["old", "young"].map(|name| sshd.backups().join(format!("main/appdb/.longshore-{name}.partial")));
    left.iter().for_each(|path| fs::write(path, "half").unwrap());
    let touched = std::process::Command::new("touch").args(["--date", "3 days ago"]).arg(&left[0]).status();
    assert!(touched.unwrap().success());
    workshop.longshore(&["prune", "--dry-run"]).expect(0).says("longshore-old.partial").says("would remove");
    assert!(left[0].exists());
    workshop.longshore(&["prune"]).expect(0).says("longshore-old.partial").keeps_quiet_about("young");
    assert_eq!(left.map(|path| path.exists()), [false, true]);
}

/// Partial files of killed runs are removed under any policy.
#[test]
fn a_job_without_retention_sweeps_what_killed_runs_left() {
    let workshop = Workshop::new();
    let sshd = Sshd::start();
    let dump = "[{ type = 'pg_dumpall' }]";
    let elsewhere = [("host", workshop.on_host("sftp", &sshd, ""))];
    workshop.configure(&Job { dump, ship: &[], elsewhere: &elsewhere, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let leave = |name: &str, date: &str| {
        let path = sshd.backups().join(format!("main/globals/.longshore-{name}.partial"));
        fs::write(&path, "half").unwrap();
        assert!(std::process::Command::new("touch").args(["--date", date]).arg(&path).status().unwrap().success());
        path
    };
    let (old, young) = (leave("old", "3 days ago"), leave("young", "now"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    assert_eq!((old.exists(), young.exists()), (false, true));
    let old = leave("old", "3 days ago");
    workshop.longshore(&["prune"]).expect(0).says("longshore-old.partial").keeps_quiet_about("young");
    assert_eq!((old.exists(), young.exists()), (false, true));
}

/// rsync needs a file. The file in the spool is encrypted.
#[test]
fn no_plaintext_lies_on_any_disk_while_it_is_shipped() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("bulk");
    let marker = "a marker row in plaintext";
    workshop.cluster.psql(
        "bulk",
        &format!("create table t as select i, '{marker}' as note, md5(i::text) from generate_series(1, 100000) i"),
    );
    let sshd = Sshd::start();
    let (spool, temp) = (workshop.path("spool"), workshop.make_folder("temp"));
    let terms = format!("spool_dir = '{}'\nbwlimit = '2MiB'", spool.display());
    let elsewhere = [("mirror", workshop.on_host("rsync", &sshd, &terms))];
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump: BULK, elsewhere: &elsewhere, more, ..Job::default() });
    let mut run = workshop.command();
    let mut run = run.arg("run").env("TMPDIR", &temp).spawn().unwrap();
    let mut spooled = 0;
    while run.try_wait().unwrap().is_none() {
        for folder in [&spool, &temp, &workshop.local(), &sshd.backups()] {
            spooled = spooled.max(if *folder == spool { bytes_in(folder) } else { 0 });
            assert!(!holds(folder, marker.as_bytes()), "{}", folder.display());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(run.wait().unwrap().success());
    assert!(spooled > 4 << 20, "bytes seen in the spool: {spooled}");
    assert!(!holds(&sshd.backups(), marker.as_bytes()));
}

/// Returns the total size of the files below a folder, in bytes.
fn bytes_in(folder: &Path) -> u64 {
    all(folder).iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
}

/// Returns true if a file below a folder contains these bytes. A file that disappears meanwhile
/// counts as empty.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let of_file = |file: &std::path::PathBuf| fs::read(file).unwrap_or_default();
    all(folder).iter().any(|file| of_file(file).windows(bytes.len()).any(|window| window == bytes))
}

fn all(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(all(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
