//! A drill restores the backups of a destination into its own cluster, compares the result with the
//! record of the dump, runs the configured queries, and leaves only its evidence.

use std::fs;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;
use serde_json::Value;

use crate::support::{Job, TestEnv, finish};

/// Drills the usual job in a scratch folder, and returns the report. The folder must be empty
/// afterwards.
fn drilled(test_env: &TestEnv, installation: &Installation) -> Value {
    let scratch = scratch_dir();
    let mut drill = test_env.command();
    drill.env("PATH", path_with(installation)).args(["drill", "--json", "--scratch-dir"]).arg(scratch.path());
    let result = finish(drill.arg("--identity").arg(test_env.identity()));
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the scratch folder is not empty");
    serde_json::from_str(&result.stdout).unwrap()
}

/// Creates a folder that the server's user can enter.
pub(crate) fn scratch_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("longshore-scratch-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Returns a `PATH` with the programs of an installation before those of the system.
pub(crate) fn path_with(installation: &Installation) -> std::ffi::OsString {
    let mut path = std::ffi::OsString::from(&installation.bin_dir);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    path
}

/// Returns the record of a database's drill.
fn of<'a>(report: &'a Value, backup: &str) -> &'a Value {
    let drills = report["drills"].as_array().unwrap();
    drills.iter().find(|drill| drill["backup"].as_str().unwrap().contains(backup)).unwrap()
}

/// Returns the comparisons that differ, for a message.
fn apart(drill: &Value) -> String {
    let comparisons = drill["comparisons"].as_array().into_iter().flatten();
    comparisons
        .filter(|comparison| comparison["outcome"] != "same")
        .map(|comparison| format!("{comparison}\n"))
        .collect()
}

/// Drills common and rare kinds of content in this release.
fn everything_in(installation: &Installation) {
    let test_env = TestEnv::with_cluster(Cluster::start(installation, &["allow_in_place_tablespaces=on"]));
    sample::load(&test_env.cluster, 100);
    sample::load_zoo(&test_env.cluster);
    test_env.cluster.psql(
        "postgres",
        "create tablespace elsewhere location ''; create role second superuser login; set role second; \
         create role team; create role member; grant team to member; reset role; \
         alter default privileges for role member grant select on tables to team; \
         alter role postgres set default_transaction_read_only = on;",
    );
    test_env.cluster.psql(
        "shop",
        "set default_transaction_read_only = off; create table apart (n int) tablespace elsewhere; insert into apart values (1);",
    );
    let bin_dir = format!("bin_dir = '{}'", installation.bin_dir.display());
    test_env.configure(&Job { cluster: &bin_dir, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let report = drilled(&test_env, installation);
    for name in ["shop/", "telemetry/", "/zoo/", "Archiv", "empty/", "globals/"] {
        let drill = of(&report, name);
        assert_eq!(drill["verdict"], "good", "{name}: {}", apart(drill));
    }
    let compared = of(&report, "shop/")["compared"].as_u64().unwrap();
    assert!(compared > 40, "{compared}: {}", of(&report, "shop/"));
    assert!(of(&report, "shop/")["scratch"].as_str().unwrap().contains(&installation.version), "{report}");
}

#[test]
fn drills_on_postgresql_18() {
    everything_in(&Installation::of_major(18));
}

/// The releases before the newest. `drills_postgresql_15_dump_in_18` reads dumps of the oldest.
mod slow {
    use longshore_testkit::cluster::Installation;

    #[test]
    fn drills_on_postgresql_15() {
        super::everything_in(&Installation::of_major(15));
    }

    #[test]
    fn drills_on_postgresql_16() {
        super::everything_in(&Installation::of_major(16));
    }

    #[test]
    fn drills_on_postgresql_17() {
        super::everything_in(&Installation::of_major(17));
    }
}

#[test]
fn drills_postgresql_15_dump_in_18() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::of_major(15), &[]));
    sample::load(&test_env.cluster, 50);
    sample::load_zoo(&test_env.cluster);
    let newest = Installation::of_major(18).bin_dir;
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", newest.display());
    test_env.configure(&Job { more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let report = drilled(&test_env, &Installation::system());
    for drill in report["drills"].as_array().unwrap() {
        assert_eq!(drill["verdict"], "good", "{}", apart(drill));
        let scratch = drill["scratch"].as_str().unwrap();
        assert!(scratch.contains("PostgreSQL 18") && scratch.contains("15 is not installed here"), "{scratch}");
    }
}

/// Returns an environment with one small database and this job.
fn small(job: &Job<'_>) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create table \"<b>orders\" as select n from generate_series(1, 10) n");
    test_env.configure(job);
    test_env
}

#[test]
fn evidence_is_encrypted_and_pruned_with_its_backup() {
    let test_env = small(&Job { more: "retention = 'one'\n[retention.one]\nkeep_last = 1", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["drill"]).expect(0).stdout_shows("restored and compared: ").stdout_shows(" equal");
    let folder = test_env.local().join("main/shop");
    let names = crate::support::files(&folder);
    let mark = names.iter().find(|name| name.contains(".drilled.") && !name.contains("details")).unwrap();
    let text = fs::read_to_string(folder.join(mark)).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    assert!(!text.contains("orders"), "{text}");
    assert_eq!(record["verdict"], "good");
    let phases: Vec<_> = record["phases"].as_array().unwrap().iter().map(|phase| phase["name"].clone()).collect();
    assert!(phases.contains(&"fetch".into()) && phases.contains(&"compare".into()), "{phases:?}");

    let details = names.iter().find(|name| name.contains(".drilled.") && name.contains("details")).unwrap();
    let opened = Command::new("age").arg("-d").arg("-i").arg(test_env.identity()).arg(folder.join(details)).output();
    let opened: Value = serde_json::from_slice(&opened.unwrap().stdout).unwrap();
    assert!(opened["comparisons"].to_string().contains("table public.<b>orders"), "{opened}");

    // A listing recognises the mark, and retention removes it with the backup.
    assert!(!test_env.longshore(&["list"]).expect(0).stdout.contains("details"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let stamp = mark.split_once(".drilled").unwrap().0.to_owned();
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["drill"]).expect(0);
    test_env.longshore(&["prune"]).expect(0);
    let left: Vec<_> = crate::support::files(&folder).into_iter().filter(|name| name.starts_with(&stamp)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn html_report_is_one_file_with_escaped_names() {
    let test_env = small(&Job::default());
    test_env.longshore(&["run"]).expect(0);
    let page = test_env.path("drill.html");
    test_env.run_with_identity(&["drill", "--report", page.to_str().unwrap()]).expect(0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(
        text.contains("table public.&#60;b&#62;orders")
            && text.contains("restored and compared: ")
            && text.contains(" equal"),
        "{text}"
    );
    // The layout of the service's pages, with the style sheet in the file.
    for part in ["<main id=\"main\">", "<style>", "<caption>Comparisons</caption>"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for none in ["<script", "<b>", "http://", "https://", "<link", "<img", "<nav"] {
        assert!(!text.contains(none), "{none}");
    }
    // An existing report is not overwritten, and the drill does not start.
    test_env.run_with_identity(&["drill", "--report", page.to_str().unwrap()]).expect(6);
    assert_eq!(fs::read_to_string(&page).unwrap(), text);
}

#[test]
fn drills_rotate_among_destinations() {
    let test_env = TestEnv::new();
    let (one, two) = (test_env.make_folder("one"), test_env.make_folder("two"));
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }]",
        ship: &[("one", one.as_path()), ("two", two.as_path())],
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let turns: Vec<String> = (0..3)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1100));
            let result = test_env.run_with_identity(&["drill", "--json"]).expect(0);
            let report: Value = serde_json::from_str(&result.stdout).unwrap();
            report["destination"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(turns, ["one", "two", "one"]);
    test_env.run_with_identity(&["drill", "--from", "one"]).expect(0).shows("from \"one\"");
}

#[test]
fn drill_reads_the_identity_from_a_command() {
    let test_env = small(&Job::default());
    let identity = fs::read_to_string(test_env.identity()).unwrap();
    let secret = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap().to_owned();
    let more = format!("[job.nightly.drill]\nidentity_command = 'cat {}'", test_env.identity().display());
    test_env.configure(&Job { more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["drill"]).expect(0).omits(&secret);
    test_env.configure(&Job { more: "[job.nightly.drill]\nidentity_command = 'exit 7'", ..Job::default() });
    test_env.longshore(&["drill"]).expect(2).shows("identity_command").shows("7");
}

#[test]
fn drills_compare_scripts_and_cluster_dumps() {
    let test_env = small(&Job::default());
    // psql reads by line, and these values contain line ends.
    let ends =
        r"create table ends as select unnest(array[E'a\rb', E'a\r\nb', E'a\nb', E'\r', E'a\r', E'\n\r']) as text";
    test_env.cluster.psql("shop", ends);
    for dump in [
        "[{ type = 'pg_dumpall', what = 'all' }]",
        "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'], format = 'plain' }]",
    ] {
        test_env.configure(&Job { dump, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        let result = test_env.run_with_identity(&["drill", "--json", "--trust-script"]).expect(0);
        let report: Value = serde_json::from_str(&result.stdout).unwrap();
        let output = report["drills"].to_string();
        assert!(output.contains("table public.<b>orders") && output.contains("a script has no list"), "{output}");
        assert!(output.contains("table public.ends") && !output.contains(r#""outcome":"different""#), "{output}");
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

#[test]
fn drills_directory_format_with_parallel_jobs() {
    let test_env = small(&Job::default());
    let plain_dir = test_env.make_folder("plain");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'], format = 'directory' }]",
        more: &format!("scratch_dir = '{}'", plain_dir.display()),
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let scratch_dir = scratch_dir();
    test_env
        .run_with_identity(&["drill", "--jobs", "2", "--scratch-dir", scratch_dir.path().to_str().unwrap()])
        .expect(0);
    assert_eq!(fs::read_dir(scratch_dir.path()).unwrap().count(), 0);
}

#[test]
fn full_scratch_disk_is_not_damage() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 24);
    test_env.longshore(&["run"]).expect(0);
    let full = test_env.make_folder("full");
    let _small = crate::support::Tmpfs::mount(&full, "8m");
    let result = test_env.run_with_identity(&["drill", "--scratch-dir", full.to_str().unwrap()]).expect(2);
    result.shows("MiB free").shows("--scratch-dir DIR");
    assert!(
        !crate::support::files(&test_env.local())
            .iter()
            .any(|name| name.contains(".damaged.") || name.contains(".unrestorable."))
    );
}
