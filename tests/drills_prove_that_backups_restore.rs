//! A drill restores the backups of a destination into its own cluster, compares the result with the
//! record of the dump, runs the configured queries, and leaves only its evidence.

use std::fs;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;
use serde_json::Value;

use crate::support::{Job, Workshop, finish};

/// Drills the usual job in a scratch folder, and returns the report. The folder must be empty
/// afterwards.
fn drilled(workshop: &Workshop, installation: &Installation) -> Value {
    let scratch = place();
    let mut drill = workshop.command();
    drill.env("PATH", with(installation)).args(["drill", "--json", "--scratch-dir"]).arg(scratch.path());
    let ended = finish(drill.arg("--identity").arg(workshop.identity()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the scratch folder is not empty");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Creates a folder that the server's user can enter.
pub(crate) fn place() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("longshore-scratch-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Returns a `PATH` with the programs of an installation before those of the system.
pub(crate) fn with(installation: &Installation) -> std::ffi::OsString {
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
    let workshop = Workshop::with_cluster(Cluster::start(installation, &["allow_in_place_tablespaces=on"]));
    sample::load(&workshop.cluster, 100);
    sample::load_zoo(&workshop.cluster);
    workshop.cluster.psql(
        "postgres",
        "create tablespace elsewhere location ''; create role second superuser login; set role second; \
         create role team; create role member; grant team to member; reset role; \
         alter default privileges for role member grant select on tables to team; \
         alter role postgres set default_transaction_read_only = on;",
    );
    workshop.cluster.psql(
        "shop",
        "set default_transaction_read_only = off; create table apart (n int) tablespace elsewhere; insert into apart values (1);",
    );
    let bin_dir = format!("bin_dir = '{}'", installation.bin_dir.display());
    workshop.configure(&Job { cluster: &bin_dir, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let report = drilled(&workshop, installation);
    for name in ["shop/", "telemetry/", "/zoo/", "Archiv", "empty/", "globals/"] {
        let drill = of(&report, name);
        assert_eq!(drill["verdict"], "good", "{name}: {}", apart(drill));
    }
    let compared = of(&report, "shop/")["compared"].as_u64().unwrap();
    assert!(compared > 40, "{compared}: {}", of(&report, "shop/"));
    assert!(of(&report, "shop/")["scratch"].as_str().unwrap().contains(&installation.version), "{report}");
}

#[test]
fn on_postgresql_15() {
    everything_in(&Installation::of_major(15));
}

#[test]
fn on_postgresql_18() {
    everything_in(&Installation::of_major(18));
}

/// The releases between the oldest and the newest.
mod slow {
    use longshore_testkit::cluster::Installation;

    #[test]
    fn on_postgresql_16() {
        super::everything_in(&Installation::of_major(16));
    }

    #[test]
    fn on_postgresql_17() {
        super::everything_in(&Installation::of_major(17));
    }
}

#[test]
fn from_postgresql_15_into_18_where_15_is_not_installed() {
    let workshop = Workshop::with_cluster(Cluster::start(&Installation::of_major(15), &[]));
    sample::load(&workshop.cluster, 50);
    sample::load_zoo(&workshop.cluster);
    let newest = Installation::of_major(18).bin_dir;
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", newest.display());
    workshop.configure(&Job { more: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let report = drilled(&workshop, &Installation::system());
    for drill in report["drills"].as_array().unwrap() {
        assert_eq!(drill["verdict"], "good", "{}", apart(drill));
        let scratch = drill["scratch"].as_str().unwrap();
        assert!(scratch.contains("PostgreSQL 18") && scratch.contains("15 is not installed here"), "{scratch}");
    }
}

/// Returns a workshop with one small database and this job.
fn small(job: &Job<'_>) -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("shop", "create table \"<b>orders\" as select n from generate_series(1, 10) n");
    workshop.configure(job);
    workshop
}

#[test]
fn the_evidence_lies_sealed_beside_the_backup_and_goes_with_it() {
    let workshop = small(&Job { more: "retention = 'one'\n[retention.one]\nkeep_last = 1", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["drill"]).expect(0).says("restored and compared: all equal");
    let folder = workshop.local().join("main/shop");
    let names = crate::support::files(&folder);
    let mark = names.iter().find(|name| name.contains(".drilled.") && !name.contains("details")).unwrap();
    let text = fs::read_to_string(folder.join(mark)).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    assert!(!text.contains("orders"), "{text}");
    assert_eq!(record["verdict"], "good");
    let phases: Vec<_> = record["phases"].as_array().unwrap().iter().map(|phase| phase["name"].clone()).collect();
    assert!(phases.contains(&"fetch".into()) && phases.contains(&"compare".into()), "{phases:?}");

    let details = names.iter().find(|name| name.contains(".drilled.") && name.contains("details")).unwrap();
    let opened = Command::new("age").arg("-d").arg("-i").arg(workshop.identity()).arg(folder.join(details)).output();
    let opened: Value = serde_json::from_slice(&opened.unwrap().stdout).unwrap();
    assert!(opened["comparisons"].to_string().contains("table public.<b>orders"), "{opened}");

    // A listing recognises the mark, and retention removes it with the backup.
    assert!(!workshop.longshore(&["list"]).expect(0).stdout.contains("details"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let stamp = mark.split_once(".drilled").unwrap().0.to_owned();
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["drill"]).expect(0);
    workshop.longshore(&["prune"]).expect(0);
    let left: Vec<_> = crate::support::files(&folder).into_iter().filter(|name| name.starts_with(&stamp)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_page_for_an_auditor_is_one_file_that_no_name_can_write_into() {
    let workshop = small(&Job::default());
    workshop.longshore(&["run"]).expect(0);
    let page = workshop.path("drill.html");
    workshop.opening(&["drill", "--report", page.to_str().unwrap()]).expect(0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(
        text.contains("table public.&lt;b&gt;orders") && text.contains("restored and compared: all equal"),
        "{text}"
    );
    for none in ["<script", "<b>", "http://", "https://", "<link", "<img"] {
        assert!(!text.contains(none), "{none}");
    }
    // An existing report is not overwritten, and the drill does not start.
    workshop.opening(&["drill", "--report", page.to_str().unwrap()]).expect(6);
    assert_eq!(fs::read_to_string(&page).unwrap(), text);
}

#[test]
fn each_destination_is_proven_in_its_turn() {
    let workshop = Workshop::new();
    let (one, two) = (workshop.make_folder("one"), workshop.make_folder("two"));
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }]",
        ship: &[("one", one.as_path()), ("two", two.as_path())],
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(0);
    let turns: Vec<String> = (0..3)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1100));
            let ended = workshop.opening(&["drill", "--json"]).expect(0);
            let report: Value = serde_json::from_str(&ended.stdout).unwrap();
            report["destination"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(turns, ["one", "two", "one"]);
    workshop.opening(&["drill", "--from", "one"]).expect(0).says("from \"one\"");
}

#[test]
fn the_identity_comes_from_a_command_for_the_drill_alone() {
    let workshop = small(&Job::default());
    let identity = fs::read_to_string(workshop.identity()).unwrap();
    let secret = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap().to_owned();
    let more = format!("[job.nightly.drill]\nidentity_command = 'cat {}'", workshop.identity().display());
    workshop.configure(&Job { more: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["drill"]).expect(0).keeps_quiet_about(&secret);
    workshop.configure(&Job { more: "[job.nightly.drill]\nidentity_command = 'exit 7'", ..Job::default() });
    workshop.longshore(&["drill"]).expect(2).says("identity_command").says("7");
}

#[test]
fn of_scripts_and_whole_clusters_what_can_be_compared_is() {
    let workshop = small(&Job::default());
    // psql reads by line, and these values contain line ends.
    let ends =
        r"create table ends as select unnest(array[E'a\rb', E'a\r\nb', E'a\nb', E'\r', E'a\r', E'\n\r']) as text";
    workshop.cluster.psql("shop", ends);
    for dump in [
        "[{ type = 'pg_dumpall', what = 'all' }]",
        "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'], format = 'plain' }]",
    ] {
        workshop.configure(&Job { dump, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        let ended = workshop.opening(&["drill", "--json", "--trust-script"]).expect(0);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let told = report["drills"].to_string();
        assert!(told.contains("table public.<b>orders") && told.contains("a script has no list"), "{told}");
        assert!(told.contains("table public.ends") && !told.contains(r#""outcome":"different""#), "{told}");
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

#[test]
fn with_several_connections_and_from_the_directory_format() {
    let workshop = small(&Job::default());
    let scratch_dir = workshop.make_folder("plain");
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'], format = 'directory' }]",
        more: &format!("scratch_dir = '{}'", scratch_dir.display()),
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(0);
    let place = place();
    workshop.opening(&["drill", "--jobs", "2", "--scratch-dir", place.path().to_str().unwrap()]).expect(0);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_place_without_room_says_nothing_about_the_backup() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 24);
    workshop.longshore(&["run"]).expect(0);
    let full = workshop.make_folder("full");
    let _small = crate::support::Tmpfs::mount(&full, "8m");
    let ended = workshop.opening(&["drill", "--scratch-dir", full.to_str().unwrap()]).expect(2);
    ended.says("MiB free").says("--scratch-dir DIR");
    assert!(
        !crate::support::files(&workshop.local())
            .iter()
            .any(|name| name.contains(".damaged.") || name.contains(".unrestorable."))
    );
}
