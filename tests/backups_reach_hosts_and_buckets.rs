//! One read of the database is shipped to a disk, to hosts over SSH and to a bucket. A failed
//! destination does not affect the others, and catches up later.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::proxy::{Direction, Fault, Proxy};
use longshore_testkit::sshd::Sshd;

use crate::support::{CommandOutput, Job, TestEnv, files, wait_for};

const BULK: &str = "[{ type = 'pg_dump', databases = ['bulk'] }]";

#[test]
fn one_run_ships_to_disk_hosts_and_bucket() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 16);
    let (garage, by_ssh, by_sftp, by_rsync) = (Garage::start(), Sshd::start(), Sshd::start(), Sshd::start());
    let spool = test_env.path("spool");
    let remote = [
        ("shell", test_env.on_host("ssh", &by_ssh, "")),
        ("sftp", test_env.on_host("sftp", &by_sftp, "")),
        ("mirror", test_env.on_host("rsync", &by_rsync, &format!("spool_dir = '{}'", spool.display()))),
        ("offsite", test_env.in_bucket(&garage, "acme", Permission::Everything, "prefix = 'postgresql'")),
    ];
    test_env.configure(&Job { remote: &remote, ..Job::default() });
    test_env.longshore(&["check"]).expect(0);
    let report = test_env.json(&["run", "--json"]);
    for artifact in report["artifacts"].as_array().unwrap() {
        let destinations = artifact["destinations"].as_array().unwrap();
        assert_eq!(destinations.len(), 5);
        assert!(destinations.iter().all(|at| at["error"].is_null()), "{artifact}");
    }
    for host in [&by_ssh, &by_sftp, &by_rsync] {
        assert_eq!(files(&host.backups()), files(&test_env.local()));
    }
    assert_eq!(files(&spool), [""; 0], "the spool is not empty after the run");
    let read = test_env.run_with_identity(&["verify", "--all"]).expect(0);
    assert_eq!(read.stdout.matches("verified: read to its end").count(), 5 * 3, "{}", read.stdout);
    test_env.longshore(&["sync"]).expect(0).shows("all destinations are in sync");

    let mut dumps = Vec::new();
    for name in ["local", "shell", "sftp", "mirror", "offsite"] {
        let output = test_env.path(&format!("{name}.dump"));
        let output_name = output.display().to_string();
        test_env.run_with_identity(&["restore", "bulk", "--from", name, "--output", &output_name]).expect(0);
        dumps.push(fs::read(output).unwrap());
    }
    assert!(dumps.iter().all(|dump| *dump == dumps[0]));
}

/// The connection is cut midway. Before the run ends, the host's copy is completed from another
/// destination.
#[test]
fn run_completes_copy_after_disconnect() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 32);
    let sshd = Sshd::start();
    let remote = [("sftp", test_env.on_host("sftp", &sshd, "max_rate = '8MiB'"))];
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump: BULK, remote: &remote, more, ..Job::default() });
    let run = test_env.start(&["run", "--json"]);
    wait_for("a part of the artifact", || (bytes_in(&sshd.backups()) > 4 << 20).then_some(()));
    assert!(sshd.cut() > 0);
    let result = CommandOutput::of(run.wait_with_output().unwrap()).expect(0);
    let report: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    let destinations = report["artifacts"][0]["destinations"].as_array().unwrap();
    assert!(destinations.iter().any(|at| at["caught_up_from"] == "local"), "{report}");
    test_env.run_with_identity(&["verify"]).expect(0);
}

/// The run ends although the servers never answer, and the other destinations are complete. A later
/// sync copies the missing backups.
#[test]
fn unreachable_bucket_fails_alone() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 32);
    let garage = Garage::start();
    let settings = "max_rate = '8MiB'\nretries = 1\ntimeout = '5s'";
    let remote = [("offsite", test_env.in_bucket(&garage, "acme", Permission::Everything, settings))];
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump: BULK, remote: &remote, more, ..Job::default() });
    let run = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%");
    for node in 0..3 {
        garage.kill(node);
    }
    CommandOutput::of(run.wait_with_output().unwrap()).expect(3).stdout_shows("offsite failed").shows("hint: ");
    test_env.run_with_identity(&["verify", "--destination", "local"]).expect(0);
}

/// The stalled network returns no error, accepts no data and sends no answer. A flipped bit in a
/// download is detected.
#[test]
fn stalled_network_times_out_and_flipped_bits_are_detected() {
    let test_env = TestEnv::new();
    // More than the buffers between Longshore and the bucket hold.
    test_env.make_bulk("bulk", 96);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let network = runtime.block_on(Proxy::start(garage.address(0)));
    let offsite = test_env.in_bucket(&garage, "acme", Permission::Everything, "stall_timeout = '4s'");
    let offsite = offsite.replace(&garage.address(0).to_string(), &network.address().to_string());
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump: BULK, remote: &[("offsite", offsite)], more, ..Job::default() });
    network.fault(Direction::Up, Fault::Stall(12 << 20));
    let begun = Instant::now();
    test_env
        .longshore(&["run"])
        .expect(3)
        .stdout_shows("offsite failed")
        .shows("accepted no data for 4s")
        .shows("stall_timeout");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    test_env.run_with_identity(&["verify", "--destination", "local"]).expect(0);

    network.heal();
    network.cut();
    test_env.longshore(&["sync"]).expect(0).shows("copied");
    network.fault(Direction::Down, Fault::Corrupt(20 << 20));
    test_env
        .longshore(&["verify", "--destination", "offsite"])
        .expect(4)
        .shows("main/bulk/bulk-")
        .stdout_shows("damaged");
    network.heal();
    network.cut();
    test_env.longshore(&["verify", "--destination", "offsite"]).expect(0);
}

/// A host that writes backups needs no permission to read or delete them.
#[test]
fn write_only_credentials_suffice_for_backup() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let garage = Garage::start();
    let offsite = test_env.in_bucket(&garage, "acme", Permission::Write, "retries = 1");
    test_env.configure(&Job { remote: &[("offsite", offsite)], ..Job::default() });
    test_env.longshore(&["check"]).expect(0).shows("offsite");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["list", "--destination", "offsite"]).expect(2).shows("not permitted");
    test_env
        .longshore(&["verify", "--destination", "offsite"])
        .expect(2)
        .shows("not permitted")
        .shows("error: at \"offsite\"");
}

#[test]
fn wrong_credentials_fail_before_the_dump() {
    let test_env = TestEnv::new();
    let (garage, sshd) = (Garage::start(), Sshd::start());
    let offsite = test_env.in_bucket(&garage, "acme", Permission::Everything, "retries = 1");
    fs::write(test_env.path("secret-of-acme"), "0000000000000000000000000000000000000000000000000000000000000000")
        .unwrap();
    let host = test_env.on_host("sftp", &sshd, "");
    fs::write(sshd.known_hosts(), "").unwrap();
    test_env.configure(&Job { remote: &[("offsite", offsite), ("host", host)], ..Job::default() });
    test_env.longshore(&["check"]).expect(2).shows("offsite").shows("ssh-keyscan").omits("00000000");
}

/// Only old partial files are removed: a young file may belong to a running upload.
#[test]
fn prune_removes_old_partial_uploads() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let sshd = Sshd::start();
    let more = "retention = 'some'\n[retention.some]\nkeep_last = 3";
    test_env.configure(&Job { remote: &[("host", test_env.on_host("sftp", &sshd, ""))], more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let left = ["old", "young"].map(|name| sshd.backups().join(format!("main/appdb/.longshore-{name}.partial")));
    left.iter().for_each(|path| fs::write(path, "half").unwrap());
    let touched = std::process::Command::new("touch").args(["--date", "3 days ago"]).arg(&left[0]).status();
    assert!(touched.unwrap().success());
    test_env.longshore(&["prune", "--dry-run"]).expect(0).shows("longshore-old.partial").shows("would remove");
    assert!(left[0].exists());
    test_env.longshore(&["prune"]).expect(0).shows("longshore-old.partial").omits("young");
    assert_eq!(left.map(|path| path.exists()), [false, true]);
}

/// Partial files of killed runs are removed under any policy.
#[test]
fn job_without_retention_removes_partial_uploads() {
    let test_env = TestEnv::new();
    let sshd = Sshd::start();
    let dump = "[{ type = 'pg_dumpall' }]";
    let remote = [("host", test_env.on_host("sftp", &sshd, ""))];
    test_env.configure(&Job { dump, ship: &[], remote: &remote, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let leave = |name: &str, date: &str| {
        let path = sshd.backups().join(format!("main/globals/.longshore-{name}.partial"));
        fs::write(&path, "half").unwrap();
        assert!(std::process::Command::new("touch").args(["--date", date]).arg(&path).status().unwrap().success());
        path
    };
    let (old, young) = (leave("old", "3 days ago"), leave("young", "now"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    assert_eq!((old.exists(), young.exists()), (false, true));
    let old = leave("old", "3 days ago");
    test_env.longshore(&["prune"]).expect(0).shows("longshore-old.partial").omits("young");
    assert_eq!((old.exists(), young.exists()), (false, true));
}

/// rsync needs a file. The file in the spool is encrypted.
#[test]
fn shipping_writes_no_plaintext_to_disk() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("bulk");
    let marker = "a marker row in plaintext";
    test_env.cluster.psql(
        "bulk",
        &format!("create table t as select i, '{marker}' as note, md5(i::text) from generate_series(1, 100000) i"),
    );
    let sshd = Sshd::start();
    let (spool, temp) = (test_env.path("spool"), test_env.make_folder("temp"));
    let settings = format!("spool_dir = '{}'\nbwlimit = '2MiB'", spool.display());
    let remote = [("mirror", test_env.on_host("rsync", &sshd, &settings))];
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump: BULK, remote: &remote, more, ..Job::default() });
    let mut run = test_env.command();
    let mut run = run.arg("run").env("TMPDIR", &temp).spawn().unwrap();
    let mut spooled = 0;
    while run.try_wait().unwrap().is_none() {
        for folder in [&spool, &temp, &test_env.local(), &sshd.backups()] {
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
