//! A dump stored as its difference from a full one restores like a full one, with Longshore and
//! with stock tools, and is only made where its full backup is good.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation, contents};

use crate::support::{CommandOutput, Job, TestEnv, files, finish};

/// The settings of a job whose full dumps are far apart.
pub(crate) const WEEKLY: &str = "differential = { full_every = '7d' }\n";

/// Creates the database `shop`, of about a megabyte, and a job of differences to `ship`.
pub(crate) fn source(format: &str, ship: &[(&str, &Path)]) -> TestEnv {
    let test_env = TestEnv::new();
    configure(&test_env, format, ship, WEEKLY);
    test_env.cluster.create_database("shop");
    test_env.cluster.psql(
        "shop",
        "create table item (id int primary key, note text);
         insert into item select i, md5(i::text) || md5((i * 7)::text) from generate_series(1, 10000) i;
         create table calm as select i, md5(i::text) note from generate_series(1, 5000) i;",
    );
    test_env
}

fn configure(test_env: &TestEnv, format: &str, ship: &[(&str, &Path)], more: &str) {
    let dump =
        format!("[{{ type = 'pg_dumpall' }}, {{ type = 'pg_dump', databases = ['shop'], format = '{format}' }}]");
    test_env.configure(&Job { dump: &dump, ship, more, ..Job::default() });
}

/// Runs the job in a second of its own.
pub(crate) fn run(test_env: &TestEnv) -> CommandOutput {
    thread::sleep(Duration::from_millis(1050));
    test_env.longshore(&["run"]).expect(0)
}

/// Changes a few rows.
pub(crate) fn change(test_env: &TestEnv, round: u32) {
    test_env.cluster.psql("shop", &format!("update item set note = 'round {round}' where id % 1000 = {round}"));
}

/// A backup of the database `shop` at a destination.
#[derive(Debug)]
struct Made {
    name: String,
    is_difference: bool,
    artifact: PathBuf,
    needs: String,
}

/// Returns the backups of `shop` at a destination, oldest first.
fn backups(folder: &Path) -> Vec<Made> {
    let manifests = files(folder)
        .into_iter()
        .filter(|name| name.starts_with("main/shop/") && name.ends_with(".json") && name.matches('.').count() == 1);
    manifests
        .map(|name| {
            let manifest: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(&name)).unwrap()).unwrap();
            Made {
                name: name.trim_end_matches(".json").to_owned(),
                is_difference: manifest["artifact"]["difference"].is_object(),
                artifact: folder.join(manifest["artifact"]["key"].as_str().unwrap()),
                needs: manifest["needs"].to_string(),
            }
        })
        .collect()
}

/// Restores a backup into a new database of the same server, and returns its contents.
fn restored(test_env: &TestEnv, name: &str) -> String {
    let target = Cluster::start(&Installation::system(), &[]);
    test_env.run_with_identity(&["restore", name, "--create", "--to", &target.connection()]).expect(0);
    contents(&target, "shop")
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn difference_restores_as_dumped() {
    for format in ["custom", "plain", "tar"] {
        let test_env = source(format, &[]);
        let scratch = test_env.make_folder("scratch");
        configure(&test_env, format, &[], &format!("{WEEKLY}scratch_dir = '{}'", scratch.display()));
        run(&test_env).stdout_omits("difference");
        let full_state = contents(&test_env.cluster, "shop");
        change(&test_env, 1);
        run(&test_env).stdout_shows("shop, difference");
        let state = contents(&test_env.cluster, "shop");
        let made = backups(&test_env.local());
        assert_eq!(made.iter().map(|made| made.is_difference).collect::<Vec<_>>(), [false, true], "{format}");
        assert!(made[1].needs.contains(&made[0].name), "{made:?}");
        let bytes = |made: &Made| fs::metadata(&made.artifact).unwrap().len();
        assert!(bytes(&made[1]) * 5 < bytes(&made[0]), "{format}: {} of {}", bytes(&made[1]), bytes(&made[0]));
        assert!(made[1].artifact.to_str().unwrap().ends_with(".rdiff.zst.age"), "{made:?}");
        test_env.longshore(&["list", "--all"]).expect(0).stdout_shows("difference").stdout_shows("SAVED");
        let listed = test_env.json(&["list", "shop", "--all", "--json"]);
        let saved: Vec<_> = listed.as_array().unwrap().iter().map(|backup| backup["saved_bytes"].as_u64()).collect();
        assert_eq!(saved, [None, Some(bytes(&made[0]) - bytes(&made[1]))]);
        test_env.run_with_identity(&["verify", "--all"]).expect(0).stdout_omits("not decoded");
        test_env.run_with_identity(&["inspect", &made[1].name, "--check"]).expect(0).stdout_shows("read to its end");
        if format == "custom" {
            assert!(restored(&test_env, "shop") == state);
            assert!(restored(&test_env, &made[0].name) == full_state);
        }
        // Files by hand and by Longshore are the same.
        let [saved, by_hand] = ["saved.dump", "by-hand.dump"].map(|name| test_env.path(name));
        let output = saved.display().to_string();
        test_env.run_with_identity(&["restore", "shop", "--output", &output]).expect(0);
        let script = "age -d -i \"$0\" \"$1\" | zstd -dq > \"$3/base\"
                      age -d -i \"$0\" \"$2\" | zstd -dq | rdiff patch \"$3/base\" - \"$4\"";
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).arg(test_env.identity());
        shell.args([&made[0].artifact, &made[1].artifact]).arg(&scratch).arg(&by_hand);
        finish(&mut shell).expect(0);
        assert!(fs::read(&saved).unwrap() == fs::read(&by_hand).unwrap(), "{format}");
    }
}

#[test]
fn difference_survives_every_change_of_tables() {
    let test_env = source("custom", &[]);
    run(&test_env);
    let changes = [
        "create table added as select i, md5(i::text) from generate_series(1, 3000) i; delete from item where id < 3000",
        "drop table calm; create index on item (note); cluster item using item_note_idx",
        "alter table added rename to zz_added; create table aa_first as select 1 as one; truncate zz_added",
    ];
    for change in changes {
        test_env.cluster.psql("shop", change);
        run(&test_env);
    }
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    assert!(backups(&test_env.local()).iter().any(|made| made.is_difference));
    assert!(restored(&test_env, "shop") == contents(&test_env.cluster, "shop"));
}

#[test]
fn drill_restores_a_difference() {
    let test_env = source("custom", &[]);
    run(&test_env);
    change(&test_env, 1);
    run(&test_env);
    // Its full backup was neither verified nor drilled.
    test_env.longshore(&["status"]).shows("1 backup depends on main/shop/shop-").shows("was not drilled");
    test_env.run_with_identity(&["drill"]).expect(0).stdout_shows("shop");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    test_env.longshore(&["status"]).shows("which is only at local").omits("not drilled");
}

#[test]
fn damaged_full_backup_spoils_its_differences_there_only() {
    let test_env = source("custom", &[]);
    let [near, far] = ["near", "far"].map(|name| test_env.make_folder(name));
    configure(&test_env, "custom", &[("near", &near), ("far", &far)], WEEKLY);
    run(&test_env);
    change(&test_env, 1);
    run(&test_env);
    let state = contents(&test_env.cluster, "shop");
    let made = backups(&near);
    damage(&made[0].artifact);
    let verified = test_env.run_with_identity(&["verify", &made[1].name]).expect(4);
    verified.shows("from which it is a difference, is damaged");
    // The damage is that of the full backup, and the other destination is unaffected.
    let marks = |folder: &Path| files(folder).iter().filter(|name| name.contains(".damaged.")).count();
    assert_eq!((marks(&near), marks(&far)), (1, 0));
    assert!(files(&near).iter().any(|name| name.starts_with(&format!("{}.damaged.", made[0].name))));
    test_env.longshore(&["list", "--all"]).expect(4).shows("damaged");
    assert!(restored(&test_env, "shop") == state);
    run(&test_env).shows("a full backup instead of a difference").stdout_omits("shop, difference");
    run(&test_env).stdout_shows("shop, difference");
    // A good copy repairs the differences, too.
    test_env.longshore(&["sync", "nightly", "--repair"]).expect(0);
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}

#[test]
fn restore_continues_where_the_first_destination_is_damaged() {
    let test_env = source("custom", &[]);
    let [near, far] = ["near", "far"].map(|name| test_env.make_folder(name));
    configure(&test_env, "custom", &[("near", &near), ("far", &far)], WEEKLY);
    run(&test_env);
    change(&test_env, 1);
    run(&test_env);
    // The full backup is damaged at one, the difference at the other.
    damage(&backups(&near)[0].artifact);
    damage(&backups(&far)[1].artifact);
    assert!(restored(&test_env, "shop") == contents(&test_env.cluster, "shop"));
}

#[test]
fn full_backup_missing_at_one_destination_is_copied_first() {
    let test_env = source("custom", &[]);
    let [near, far] = ["near", "far"].map(|name| test_env.make_folder(name));
    configure(&test_env, "custom", &[("near", &near)], WEEKLY);
    run(&test_env);
    change(&test_env, 1);
    run(&test_env).stdout_shows("shop, difference");
    configure(&test_env, "custom", &[("near", &near), ("far", &far)], WEEKLY);
    let made = backups(&near);
    test_env.longshore(&["sync", "nightly", "--dry-run"]).expect(0).shows("would copy");
    test_env.longshore(&["sync", "nightly"]).expect(0);
    test_env.run_with_identity(&["verify", "--all", "--destination", "far"]).expect(0).stdout_omits("not decoded");
    // Removed there by hand, the next backup is a full one.
    for file in files(&far).iter().filter(|file| file.starts_with(&format!("{}.", made[0].name))) {
        fs::remove_file(far.join(file)).unwrap();
    }
    let verified = test_env.run_with_identity(&["verify", &made[1].name, "--destination", "far"]);
    assert_ne!(verified.code, Some(0));
    verified.shows("lacks").shows("longshore sync");
    run(&test_env).shows("destination \"far\" lacks").stdout_omits("shop, difference");
}

#[test]
fn retention_keeps_full_backups_of_kept_differences() {
    let policy = "retention = 'short'\n[retention.short]\nkeep_last = 1\n";
    let test_env = source("custom", &[]);
    configure(&test_env, "custom", &[], &format!("{WEEKLY}{policy}"));
    for round in 1..4 {
        change(&test_env, round);
        run(&test_env);
    }
    let made = backups(&test_env.local());
    let kinds: Vec<_> = made.iter().map(|made| made.is_difference).collect();
    assert_eq!(kinds, [false, true], "the one between is pruned");
    let explained = test_env.longshore(&["prune", "--explain", "--dry-run"]).expect(0);
    explained.stdout_shows(&format!("needed by {}", made[1].name.rsplit('/').next().unwrap()));
    test_env.longshore(&["hold", &made[1].name, "--why", "test"]).expect(0);
    // Without differences, a full backup replaces both, except for what is held.
    thread::sleep(Duration::from_millis(1050));
    test_env.longshore(&["run", "--no-differential"]).expect(0).stdout_omits("shop, difference");
    assert_eq!(backups(&test_env.local()).len(), 3);
    test_env.longshore(&["unhold", &made[1].name]).expect(0);
    run(&test_env).stdout_shows("shop, difference");
    let names: Vec<_> = backups(&test_env.local()).into_iter().map(|made| made.name).collect();
    assert!(names.len() == 2 && !names.contains(&made[0].name), "{names:?}");
    // A held full backup stays without its differences.
    test_env.longshore(&["hold", &names[0], "--why", "test"]).expect(0);
    thread::sleep(Duration::from_millis(1050));
    test_env.longshore(&["run", "--no-differential"]).expect(0);
    let left: Vec<_> = backups(&test_env.local()).into_iter().map(|made| made.name).collect();
    assert!(left.len() == 2 && left[0] == names[0] && left[1] != names[1], "{left:?}");
}

#[test]
fn failed_and_killed_runs_leave_the_state_usable() {
    let test_env = source("custom", &[]);
    test_env.make_bulk("bulk", 64);
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    test_env.configure(&Job { dump, more: WEEKLY, ..Job::default() });
    let signal = |name: &str| {
        thread::sleep(Duration::from_millis(1050));
        let run = test_env.start(&["run"]);
        test_env.wait_for_backend("COPY%bulk%");
        let sent = Command::new("kill").args(["-s", name, &run.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = CommandOutput::of(run.wait_with_output().unwrap());
        test_env.wait_for_disconnect();
        ended
    };
    // The first full backup is killed: the next one is made anew.
    assert_eq!(signal("KILL").code, None);
    run(&test_env).stdout_omits("difference");
    test_env.cluster.psql("bulk", "update bulk set noise = 'x' where i % 500 = 0");
    assert_eq!(signal("KILL").code, None);
    // A dump that fails half way leaves the full backup as it was.
    thread::sleep(Duration::from_millis(1050));
    let failing = test_env.start(&["run"]);
    let pid = test_env.wait_for_backend("COPY%bulk%");
    test_env.cluster.psql("postgres", &format!("select pg_terminate_backend({pid})"));
    assert_ne!(CommandOutput::of(failing.wait_with_output().unwrap()).code, Some(0));
    run(&test_env).stdout_shows("bulk, difference");
    test_env.run_with_identity(&["verify"]).expect(0);
    let left = files(&test_env.path("state").join("differential"));
    assert!(left.len() == 2 && !left.iter().any(|file| file.contains(".new-")), "{left:?}");
}

#[test]
fn compression_by_pg_dump_excludes_differences() {
    let test_env = source("custom", &[]);
    configure(&test_env, "custom", &[], &format!("{WEEKLY}compression = {{ by = 'pg_dump', method = 'gzip' }}"));
    test_env.longshore(&["run"]).expect(1).shows("differential needs dumps that pg_dump does not compress");
}

#[test]
fn check_shows_the_kind_of_the_next_backups() {
    let test_env = source("custom", &[]);
    test_env.longshore(&["check"]).expect(0).stdout_shows("the next run stores every database in full");
    run(&test_env);
    let full = &backups(&test_env.local())[0].name;
    let found = test_env.longshore(&["check"]).expect(0);
    found.stdout_shows(&format!("the next run stores 1 of 1 databases as differences, from {full}"));
    let digests = files(&test_env.path("state").join("differential"));
    let digests = digests.iter().find(|file| file.ends_with(".blocks")).unwrap();
    fs::remove_file(test_env.path("state").join("differential").join(digests)).unwrap();
    test_env.longshore(&["check"]).shows("a full backup instead of a difference").shows("every database in full");
    // Globals alone are never differences.
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", more: WEEKLY, ..Job::default() });
    test_env.longshore(&["check"]).expect(2).shows("differential needs a dump of databases");
    test_env.longshore(&["run"]).expect(1).shows("differential needs a dump of databases");
}

mod slow {
    use super::*;

    /// The moment at which a run is killed.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Step {
        /// The digests of a new full backup are being written.
        Digests,
        /// A part of the artifact is uploaded.
        Upload,
        /// The artifact is complete, and has no manifest.
        Artifact,
        /// The manifest is there, and this host may not know it yet.
        Manifest,
    }

    /// Returns the number of files of a step.
    fn count(test_env: &TestEnv, step: Step) -> usize {
        let folder = match step {
            Step::Digests => test_env.path("state").join("differential"),
            _ => test_env.local().join("main/shop"),
        };
        let is_of_step = |name: &String| match step {
            Step::Digests => {
                name.contains("shop.new-") && fs::metadata(folder.join(name)).is_ok_and(|found| found.len() > 0)
            }
            Step::Upload => name.ends_with(".partial"),
            Step::Artifact => name.contains(".dump.") && name.ends_with(".age"),
            Step::Manifest => name.ends_with(".json") && name.matches('.').count() == 1,
        };
        files(&folder).iter().filter(|name| is_of_step(name)).count()
    }

    /// Kills a run at a step. Returns false if the run ended before.
    fn kill_at(test_env: &TestEnv, arguments: &[&str], step: Step) -> bool {
        thread::sleep(Duration::from_millis(1050));
        let before = count(test_env, step);
        let mut run = test_env.start(arguments);
        loop {
            if count(test_env, step) > before {
                run.kill().unwrap();
                run.wait().unwrap();
                return true;
            }
            if run.try_wait().unwrap().is_some() {
                return false;
            }
        }
    }

    #[test]
    fn run_killed_at_any_step_loses_nothing() {
        let test_env = source("custom", &[]);
        run(&test_env);
        let slow = [("local", "max_rate = '32KiB'")];
        let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
        let (difference, full) = (&["run"][..], &["run", "--no-differential"][..]);
        let steps = [
            (difference, Step::Upload),
            (difference, Step::Artifact),
            (difference, Step::Manifest),
            (full, Step::Digests),
            (full, Step::Upload),
            (full, Step::Artifact),
            (full, Step::Manifest),
        ];
        for (round, (arguments, step)) in (0..).zip(steps) {
            change(&test_env, round);
            let settings = if step == Step::Upload { &slow[..] } else { &[] };
            test_env.configure(&Job { dump, settings, more: WEEKLY, ..Job::default() });
            let is_killed = (0..20).any(|_| kill_at(&test_env, arguments, step));
            assert!(is_killed, "{arguments:?} {step:?}");
            test_env.configure(&Job { dump, more: WEEKLY, ..Job::default() });
            // All listed backups are complete, the last full one is known, the next run is good.
            test_env.run_with_identity(&["verify", "--all"]).expect(0);
            run(&test_env).omits("instead of a difference").stdout_shows("shop, difference");
            test_env.run_with_identity(&["verify", "--all"]).expect(0);
            let left = files(&test_env.path("state").join("differential"));
            assert!(left.len() == 2, "{arguments:?} {step:?}: {left:?}");
        }
        assert!(restored(&test_env, "shop") == contents(&test_env.cluster, "shop"));
    }
}
