//! An incremental base backup becomes the same cluster as a full one, and is only made where that
//! is certain.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder, contents};

use crate::base_backups_restore_clusters::{BASE, give_to_owner_of};
use crate::support::{CommandOutput, Job, TestEnv, files, finish, wait_for};

/// The settings of a job whose full backups are far apart.
pub(crate) const WEEKLY: &str = "incremental = { full_every = '7d' }\n";

/// Starts a cluster that writes WAL summaries, and configures a job of incremental backups.
pub(crate) fn source(installation: &Installation, more: &str) -> TestEnv {
    // Full page writes and checksums as on most servers; the tests' clusters have neither.
    let cluster = Cluster::start(installation, &["summarize_wal=on", "full_page_writes=on"]);
    let test_env = TestEnv::with_cluster(cluster);
    test_env.configure(&Job { dump: BASE, more, ..Job::default() });
    test_env.cluster.create_database("shop");
    test_env.cluster.psql(
        "shop",
        "create table item (id int primary key, note text);
         insert into item select i, repeat(md5(i::text), 10) from generate_series(1, 5000) i;
         create table calm as select i, md5(i::text) note from generate_series(1, 3000) i;",
    );
    test_env
}

/// Runs the job in a second of its own.
pub(crate) fn run(test_env: &TestEnv) -> CommandOutput {
    thread::sleep(Duration::from_millis(1050));
    test_env.longshore(&["run"]).expect(0)
}

/// Returns the names of all base backups at a destination, oldest first, each with its kind.
pub(crate) fn backups(folder: &Path) -> Vec<(String, bool)> {
    let manifests = files(folder)
        .into_iter()
        .filter(|name| name.starts_with("main/base/") && name.ends_with(".json") && name.matches('.').count() == 1);
    manifests
        .map(|name| {
            let manifest = fs::read(folder.join(&name)).unwrap();
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            let incremental = manifest["base"]["incremental_from"].is_string();
            (name.trim_end_matches(".json").to_owned(), incremental)
        })
        .collect()
}

/// Restores a base backup into a new folder.
fn restore(test_env: &TestEnv, name: &str) -> (NewFolder, CommandOutput) {
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let tablespace = format!("annex={}", folder.path().join("annex").display());
    let mut arguments = vec!["restore", name, "--to-dir", &data_dir];
    if test_env.cluster.psql("postgres", "select count(*) from pg_tablespace where spcname = 'annex'") == "1" {
        arguments.extend(["--tablespace", &tablespace]);
    }
    let restored = test_env.run_with_identity(&arguments);
    (folder, restored)
}

/// Changes the cluster in ways that differ by the number of the round.
pub(crate) fn work(cluster: &Cluster, round: usize) {
    let annex = cluster.data_dir().with_file_name("annex");
    cluster.psql("shop", &format!("update item set note = 'round {round}' where id % 97 = {round}"));
    match round % 6 {
        0 => {
            fs::create_dir(&annex).unwrap();
            give_to_owner_of(&cluster.data_dir(), &annex);
            cluster.psql("postgres", &format!("create tablespace annex location '{}'", annex.display()));
            cluster.psql("shop", "create table annexed tablespace annex as select generate_series(1, 9000) i")
        }
        1 => cluster.psql(
            "shop",
            "delete from item where id > 4000; vacuum item; insert into annexed select generate_series(1, 99);
             create index on item (note)",
        ),
        2 => cluster.psql("shop", "vacuum full item; create table young (i int); drop table if exists calm"),
        3 => cluster.psql("shop", "insert into young select generate_series(1, 20000); truncate annexed"),
        4 => {
            cluster.create_database("brief");
            cluster.psql("brief", "create table t as select generate_series(1, 500) i")
        }
        _ => cluster.psql("postgres", "drop database brief"),
    };
}

/// Makes a chain and restores each link of it.
fn each_link_restores(installation: &Installation, links: usize) {
    let test_env = source(installation, WEEKLY);
    let mut states = Vec::new();
    for round in 0..=links {
        let kind = if round == 0 { "base " } else { "base, incremental" };
        run(&test_env).stdout_shows(kind);
        states.push(contents(&test_env.cluster, "shop"));
        work(&test_env.cluster, round);
    }
    let made = backups(&test_env.local());
    test_env.longshore(&["list", "--all"]).expect(0).stdout_shows("full").stdout_shows("incremental");
    for ((name, _), state) in made.iter().zip(&states) {
        let (folder, restored) = restore_with_tablespace(&test_env, name);
        restored.expect(0);
        let restored = Cluster::start_on(folder, installation, &[]);
        assert!(contents(&restored, "shop") == *state, "{name}");
        restored.psql("shop", "create extension amcheck; select bt_index_check('item_pkey', true)");
    }
}

/// Restores a backup; the tablespace gets a folder if the backup has one.
fn restore_with_tablespace(test_env: &TestEnv, name: &str) -> (NewFolder, CommandOutput) {
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let tablespace = format!("annex={}", folder.path().join("annex").display());
    let plain = ["restore", name, "--to-dir", &data_dir];
    let planned = test_env.run_with_identity(&[&plain[..], &["--plan"]].concat());
    let more = if planned.code == Some(0) { &[][..] } else { &["--tablespace", tablespace.as_str()] };
    let restored = test_env.run_with_identity(&[&plain[..], more].concat());
    (folder, restored)
}

#[test]
fn each_link_of_a_chain_restores() {
    each_link_restores(Installation::all().last().unwrap(), 2);
}

mod slow {
    use longshore_testkit::cluster::Installation;

    #[test]
    fn each_link_of_a_long_chain_restores() {
        for major in [17, 18] {
            super::each_link_restores(&Installation::of_major(major), 6);
        }
    }
}

/// Combines two backups at a time with PostgreSQL's own program.
fn pg_combinebackup(test_env: &TestEnv, installation: &Installation, links: &[PathBuf]) -> PathBuf {
    links[1..].iter().enumerate().fold(links[0].clone(), |earlier, (index, link)| {
        let combined = test_env.path(&format!("combined{index}"));
        let program = installation.program("pg_combinebackup");
        finish(Command::new(program).arg("-o").arg(&combined).args([&earlier, link])).expect(0);
        combined
    })
}

#[test]
fn result_equals_that_of_pg_combinebackup() {
    let installation = Installation::newer();
    let test_env = source(&installation, WEEKLY);
    for round in 0..3 {
        run(&test_env);
        // Without a tablespace, whose folder differs.
        work(&test_env.cluster, [2, 4, 5][round]);
    }
    let made = backups(&test_env.local());
    let unpacked: Vec<PathBuf> = (0..made.len()).map(|index| test_env.make_folder(&format!("link{index}"))).collect();
    for ((name, _), folder) in made.iter().zip(&unpacked) {
        let tar = folder.with_extension("tar").display().to_string();
        test_env.run_with_identity(&["restore", name, "--output", &tar]).expect(0);
        finish(Command::new("tar").args(["-xf", &tar, "-C"]).arg(folder)).expect(0);
    }
    let combined = pg_combinebackup(&test_env, &installation, &unpacked);
    let (folder, restored) = restore(&test_env, &made[2].0);
    restored.expect(0);
    let ours = folder.data_dir();
    let differs = ["backup_manifest", "postgresql.auto.conf", "tablespace_map"];
    let of = |folder: &Path| {
        files(folder).into_iter().filter(|name| !differs.contains(&name.as_str())).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&ours), of(&combined));
    for name in of(&ours) {
        assert!(fs::read(ours.join(&name)).unwrap() == fs::read(combined.join(&name)).unwrap(), "{name}");
    }
}

/// A table that shrinks before one link and grows after it. Given all links at once,
/// `pg_combinebackup` would return rows from before the truncation.
#[test]
fn table_that_grows_after_a_link_has_no_old_rows() {
    let installation = Installation::newer();
    let test_env = source(&installation, WEEKLY);
    make_shrunk_table(&test_env, run);
    run(&test_env).stdout_shows("base, incremental");
    grow(&test_env.cluster);
    run(&test_env).stdout_shows("base, incremental");
    let (folder, restored) = restore(&test_env, "main/base");
    restored.expect(0);
    let restored = Cluster::start_on(folder, &installation, &[]);
    assert_eq!(restored.psql("shop", "select count(*) from grown"), "4300");
    crate::stock_tools_can_decode_every_file::recover_with_the_page(&test_env, &installation, 3);
}

/// Creates a table, backs it up with `run`, and truncates the table.
fn make_shrunk_table(test_env: &TestEnv, run: fn(&TestEnv) -> CommandOutput) {
    test_env.cluster.psql(
        "shop",
        "create table grown (id int, note text);
         insert into grown select g, repeat('x', 900) from generate_series(1, 8000) g; checkpoint;
         vacuum (truncate false) grown",
    );
    run(test_env);
    test_env.cluster.psql("shop", "delete from grown where id > 4000");
    test_env.cluster.psql("shop", "vacuum grown");
}

/// Adds rows by whole batches of blocks, of which the last are empty.
fn grow(cluster: &Cluster) {
    let rows: String = (0..300).map(|row| format!("{row}\t{}\n", "y".repeat(900))).collect();
    cluster.psql("shop", &format!("copy grown from stdin;\n{rows}\\.\n"));
}

#[test]
fn omitted_blocks_lead_to_a_full_backup() {
    let installation = Installation::newer();
    let test_env = source(&installation, WEEKLY);
    make_shrunk_table(&test_env, run);
    grow(&test_env.cluster);
    run(&test_env).shows("a full base backup instead of an incremental one").shows("deleted rows");
    let made = backups(&test_env.local());
    assert_eq!(made.iter().map(|(_, incremental)| *incremental).collect::<Vec<_>>(), [false, false]);
    run(&test_env).stdout_shows("base, incremental");
    let (folder, restored) = restore(&test_env, "main/base");
    restored.expect(0);
    let restored = Cluster::start_on(folder, &installation, &[]);
    assert_eq!(restored.psql("shop", "select count(*) from grown"), "4300");
}

#[test]
fn damaged_link_is_found_and_read_elsewhere() {
    let installation = Installation::newer();
    let test_env = source(&installation, "");
    let (one, other) = (test_env.make_folder("one"), test_env.make_folder("other"));
    test_env.configure(&Job { dump: BASE, ship: &[("one", &one), ("other", &other)], more: WEEKLY, ..Job::default() });
    for round in [2, 4, 5] {
        run(&test_env);
        work(&test_env.cluster, round);
    }
    let made = backups(&one);
    let artifact = |folder: &Path| folder.join(format!("{}.base.tar.zst.age", made[1].0));
    flip_middle_byte(&artifact(&one));
    let (folder, restored) = restore(&test_env, "main/base");
    restored.expect(0).shows("continues from \"other\"");
    Cluster::start_on(folder, &installation, &[]);
    flip_middle_byte(&artifact(&other));
    let (folder, restored) = restore(&test_env, "main/base");
    restored.expect(4);
    assert!(!folder.data_dir().exists() && !folder.path().join("annex").exists());

    test_env.longshore(&["verify", "--all"]).expect(4);
    // The newest backup is of no use any more: only the full one is restored.
    test_env.longshore(&["status"]).expect(4).shows("damaged");
    test_env.longshore(&["list", "--all"]).expect(4).stdout_shows("damaged");
    let (folder, restored) = restore(&test_env, "main/base");
    restored.expect(0).shows("is newer, but damaged, and was skipped");
    Cluster::start_on(folder, &installation, &[]);
    run(&test_env)
        .shows("a full base backup instead of an incremental one")
        .shows(made[1].0.trim_start_matches("main/base/"));
}

/// Flips a bit in the middle of a file.
fn flip_middle_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Sets `summarize_wal`, and waits until new sessions see it.
fn summarize_wal(cluster: &Cluster, value: &str) {
    cluster.psql("postgres", &format!("alter system set summarize_wal = {value}"));
    cluster.psql("postgres", "select pg_reload_conf()");
    wait_for("the setting", || (cluster.psql("postgres", "show summarize_wal") == value).then_some(()));
}

#[test]
fn missing_parent_or_state_leads_to_a_full_backup() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::newer(), &["full_page_writes=on"]));
    summarize_wal(&test_env.cluster, "on");
    let (one, other) = (test_env.make_folder("one"), test_env.make_folder("other"));
    let configure = |ship: &[(&str, &Path)]| {
        test_env.configure(&Job { dump: BASE, ship, more: WEEKLY, ..Job::default() });
    };
    configure(&[("one", &one)]);
    run(&test_env);
    run(&test_env).stdout_shows("base, incremental");
    configure(&[("one", &one), ("other", &other)]);
    run(&test_env).shows("destination \"other\" lacks main/base/").shows("a full base backup");
    run(&test_env).stdout_shows("base, incremental");
    fs::remove_dir_all(test_env.path("state/incremental")).unwrap();
    run(&test_env).omits("incremental");
    summarize_wal(&test_env.cluster, "off");
    test_env.longshore(&["check"]).expect(0).shows("summarize_wal = off");
    run(&test_env).shows("summarize_wal = off").shows("a full base backup");
    let kinds: Vec<_> = backups(&one).iter().map(|(_, incremental)| *incremental).collect();
    assert_eq!(kinds, [false, true, false, true, false, false]);
}

/// Starts the backup of `test_env` in the place of its cluster: the same server, another history.
#[test]
fn restored_source_gets_a_full_backup() {
    let installation = Installation::newer();
    let test_env = source(&installation, WEEKLY);
    run(&test_env);
    test_env.cluster.psql("shop", "create table history_a as select generate_series(1, 1000) i");
    run(&test_env).stdout_shows("base, incremental");
    let full = backups(&test_env.local()).remove(0).0;
    let (folder, restored) = restore(&test_env, &full);
    restored.expect(0);
    let again = Cluster::start_on(folder, &installation, &["summarize_wal=on", "full_page_writes=on"]);
    again.psql("shop", "create table history_b as select generate_series(1, 200000) i");
    again.psql("postgres", "checkpoint; select pg_switch_wal(); checkpoint");
    test_env.configure_with_connection(&Job { dump: BASE, more: WEEKLY, ..Job::default() }, &again.connection());
    run(&test_env).shows("a full base backup instead of an incremental one").shows("restored or rolled back");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}

#[test]
fn renamed_cluster_gets_a_full_backup() {
    let test_env = source(&Installation::newer(), WEEKLY);
    run(&test_env);
    let config = fs::read_to_string(test_env.config_path()).unwrap();
    let renamed = config.replace("[cluster.main]", "[cluster.prod]").replace("cluster = 'main'", "cluster = 'prod'");
    fs::write(test_env.config_path(), renamed).unwrap();
    run(&test_env).shows("is of another cluster").stdout_omits("incremental");
    run(&test_env).stdout_shows("base, incremental");
    test_env.longshore(&["list"]).expect(0);
}

#[test]
fn absent_destination_catches_up_with_the_whole_chain() {
    let test_env = source(&Installation::newer(), "");
    let (one, other) = (test_env.make_folder("one"), test_env.make_folder("other"));
    test_env.configure(&Job { dump: BASE, ship: &[("one", &one), ("other", &other)], more: WEEKLY, ..Job::default() });
    run(&test_env);
    let away = test_env.path("away");
    fs::rename(&other, &away).unwrap();
    thread::sleep(Duration::from_millis(1050));
    test_env.longshore(&["run"]).expect(3).stdout_shows("base, incremental");
    // The destination returns during the run, after its beginning.
    let slow = "[{ type = 'pg_base', checkpoint = 'fast', max_rate = '8MiB' }]";
    test_env.configure(&Job { dump: slow, ship: &[("one", &one), ("other", &other)], more: WEEKLY, ..Job::default() });
    thread::sleep(Duration::from_millis(1050));
    let active = test_env.start(&["run"]);
    let query = "select count(*) from pg_stat_progress_basebackup where backup_streamed > 0";
    wait_for("the backup", || (test_env.cluster.psql("postgres", query) == "1").then_some(()));
    fs::rename(&away, &other).unwrap();
    let ended = CommandOutput::of(active.wait_with_output().unwrap());
    ended.expect(0).stdout_shows("base, incremental").stdout_shows("other from one");
    assert_eq!(backups(&other), backups(&one));
    test_env.longshore(&["list", "--all"]).expect(0).stdout_omits("damaged");
}

#[test]
fn chain_with_a_failed_drill_restores_by_its_full_name() {
    let installation = Installation::newer();
    let test_env = source(&installation, WEEKLY);
    run(&test_env);
    run(&test_env);
    let made = backups(&test_env.local());
    let artifact = test_env.local().join(format!("{}.base.tar.zst.age", made[0].0));
    let intact = fs::read(&artifact).unwrap();
    flip_middle_byte(&artifact);
    test_env.longshore(&["verify", "--all"]).expect(4);
    fs::write(&artifact, intact).unwrap();
    let (_, refused) = restore(&test_env, "main/base");
    assert_ne!(refused.code, Some(0));
    let (folder, restored) = restore(&test_env, &made[1].0);
    restored.expect(0).shows("which the backup continues, is damaged");
    Cluster::start_on(folder, &installation, &[]);
}

#[test]
fn full_backups_recur_and_chains_stay_whole() {
    let test_env = source(&Installation::newer(), "");
    let more = "incremental = { full_every = '7d', max_incrementals = 2 }\nretention = 'last'\n\n[retention.last]\nkeep_last = 1\n";
    test_env.configure(&Job { dump: BASE, more, ..Job::default() });
    let kept = || backups(&test_env.local()).iter().map(|(_, incremental)| *incremental).collect::<Vec<_>>();
    run(&test_env);
    run(&test_env);
    run(&test_env);
    assert_eq!(kept(), [false, true, true], "the newest needs all of them");
    test_env.longshore(&["prune", "--explain"]).expect(0).shows("needed by");
    run(&test_env);
    assert_eq!(kept(), [false], "the chain was removed with its newest link");
    let names = files(&test_env.path("state/incremental"));
    assert_eq!(names.len(), 2, "the state and one manifest: {names:?}");
}

#[test]
fn older_server_gets_full_backups() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: BASE, more: WEEKLY, ..Job::default() });
    test_env.longshore(&["check"]).expect(0).shows("makes no incremental backups");
    run(&test_env).shows("will not continue this one").shows("makes no incremental backups");
    let dumps = Job { more: WEEKLY, ..Job::default() };
    test_env.configure(&dumps);
    test_env.longshore(&["check"]).shows("needs a dump of type \"pg_base\"");
    test_env.longshore(&["run"]).expect(1).shows("needs a dump of type \"pg_base\"");
}

#[test]
fn chain_is_copied_and_drilled() {
    let installation = Installation::newer();
    let test_env = source(&installation, WEEKLY);
    for round in [2, 4, 5] {
        run(&test_env);
        work(&test_env.cluster, round);
    }
    let (local, other) = (test_env.local(), test_env.make_folder("other"));
    test_env.configure(&Job {
        dump: BASE,
        ship: &[("local", &local), ("other", &other)],
        more: WEEKLY,
        ..Job::default()
    });
    test_env.longshore(&["sync"]).expect(0);
    assert_eq!(backups(&other), backups(&local));
    crate::base_backups_drill::drill(&test_env, &installation, &["--from", "other"])
        .expect(0)
        .shows("restored and compared");
}
