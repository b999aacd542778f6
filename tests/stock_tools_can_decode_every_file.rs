//! Stock tools can decode every file, with the commands of the README unchanged.

use std::fs;
use std::path::Path;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder, contents, globals};
use longshore_testkit::sample;

use crate::support::{CommandOutput, Job, TestEnv, files, finish};
use crate::{base_backups_restore_clusters, differential_backups_restore, incremental_backups_restore};

/// Returns the shell commands beneath a heading of the README.
fn commands(heading: &str) -> String {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).expect("the README has the heading");
    let (_, block) = section.split_once("```sh\n").expect("commands follow it");
    block.split_once("\n```").expect("the block ends").0.to_owned()
}

/// Adds marks beside the backups, which the commands must not mistake for manifests.
fn leave_marks(test_env: &TestEnv) {
    test_env.longshore(&["verify", "--all"]).expect(0);
    test_env.longshore(&["hold", "shop", "--why", "before the migration"]).expect(0);
}

#[test]
fn readme_commands_restore_a_cluster() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 100);
    test_env.longshore(&["run"]).expect(0);
    leave_marks(&test_env);
    let target = Cluster::start(&Installation::system(), &[]);
    let script = commands("## Undo a file by hand");
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(test_env.local());
    shell.env("PGHOST", target.connection().split_whitespace().next().unwrap().trim_start_matches("host="));
    shell.env("PGPORT", target.port().to_string()).env("PGUSER", "postgres");
    shell.env("IDENTITY", test_env.identity()).env("CLUSTER", "main").env("DATABASE", "shop");
    finish(&mut shell).expect(0).shows("OK");
    assert_eq!(globals(&target), globals(&test_env.cluster));
    assert_eq!(contents(&target, "shop"), contents(&test_env.cluster, "shop"));
}

#[test]
fn age_zstd_and_pg_restore_decode_backups() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 100);
    test_env.longshore(&["run"]).expect(0);
    for file in files(&test_env.local()).iter().filter(|file| file.ends_with(".dump.zst.age")) {
        let script = "age -d -i \"$0\" \"$1\" | zstd -dq | \"$2/pg_restore\" --file=/dev/null";
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).arg(test_env.identity()).arg(test_env.local().join(file));
        finish(shell.arg(test_env.cluster.bin_dir())).expect(0);
    }
}

/// Returns all shell commands of the page in a destination, in order.
pub(crate) fn commands_in(page: &Path) -> String {
    let page = fs::read_to_string(page).expect("the page is there");
    let blocks: Vec<_> = page.split("```sh\n").skip(1).map(|block| block.split_once("\n```").unwrap().0).collect();
    assert!(blocks.len() > 3, "{page}");
    blocks.join("\n")
}

#[test]
fn restore_page_recovers_every_format() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 100);
    // A script does not contain the privileges of the database itself.
    let of_content = |text: String| text.split_once("\nrows|").unwrap().1.to_owned();
    for format in ["custom", "plain", "tar", "directory"] {
        for (seal, encrypt) in [("sealed", None), ("open", Some("{ type = 'none' }"))] {
            let destination = test_env.make_folder(&format!("{format}-{seal}"));
            let scratch = test_env.make_folder(&format!("{format}-{seal}-scratch"));
            let dump = format!("[{{ type = 'pg_dumpall' }}, {{ type = 'pg_dump', format = '{format}' }}]");
            let more = format!("scratch_dir = '{}'", scratch.display());
            test_env.configure(&Job {
                dump: &dump,
                encrypt,
                ship: &[("there", &destination)],
                more: &more,
                ..Job::default()
            });
            test_env.longshore(&["run"]).expect(0);
            leave_marks(&test_env);
            let target = Cluster::start(&Installation::system(), &[]);
            let mut shell = Command::new("bash");
            shell.args(["-euo", "pipefail", "-c", &commands_in(&destination.join("RESTORE.md"))]);
            shell.current_dir(&destination).env("CLUSTER", "main").env("DATABASE", "shop").env("SCRATCH", &scratch);
            shell.env("PGHOST", target.connection().split_whitespace().next().unwrap().trim_start_matches("host="));
            shell.env("PGPORT", target.port().to_string()).env("PGUSER", "postgres");
            if seal == "sealed" {
                shell.env("IDENTITY", test_env.identity());
            }
            finish(&mut shell).expect(0).shows("OK");
            assert_eq!(globals(&target), globals(&test_env.cluster), "{format} {seal}");
            let (there, here) = (contents(&target, "shop"), contents(&test_env.cluster, "shop"));
            assert!(of_content(there) == of_content(here), "{format} {seal}");
        }
    }
}

#[test]
fn restore_page_applies_differences() {
    for format in ["custom", "plain"] {
        let test_env = differential_backups_restore::source(format, &[]);
        differential_backups_restore::run(&test_env);
        differential_backups_restore::change(&test_env, 1);
        differential_backups_restore::run(&test_env).stdout_shows("shop, difference");
        let target = Cluster::start(&Installation::system(), &[]);
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &commands_in(&test_env.local().join("RESTORE.md"))]);
        shell.current_dir(test_env.local()).env("CLUSTER", "main").env("DATABASE", "shop");
        shell.env("SCRATCH", test_env.make_folder("scratch")).env("IDENTITY", test_env.identity());
        shell.env("PGHOST", target.connection().split_whitespace().next().unwrap().trim_start_matches("host="));
        shell.env("PGPORT", target.port().to_string()).env("PGUSER", "postgres");
        let done = finish(&mut shell).expect(0);
        assert_eq!(done.stdout.matches(": OK").count(), 2, "{done:?}");
        let rows =
            |cluster: &Cluster| cluster.psql("shop", "select md5(string_agg(t::text, ',' order by id)) from item t");
        assert_eq!(rows(&target), rows(&test_env.cluster), "{format}");
    }
}

#[test]
fn restore_page_recovers_base_backups() {
    let test_env = base_backups_restore_clusters::source(&Installation::system());
    test_env.longshore(&["run"]).expect(0);
    leave_marks_of_base(&test_env);
    let before = files(&base_backups_restore_clusters::tablespace_of(&test_env));
    let (folder, done) = unpack_with_the_page(&test_env, &Installation::system());
    done.shows("OK");
    let restored = Cluster::start_on(folder, &Installation::system(), &[]);
    base_backups_restore_clusters::expect_equal(&test_env.cluster, &restored);
    assert_eq!(restored.psql("postgres", "show archive_mode"), "off");
    restored.psql(sample::SHOP, "insert into annexed values (0, 'restored')");
    assert_eq!(files(&base_backups_restore_clusters::tablespace_of(&test_env)), before);
}

#[test]
fn restore_page_combines_incremental_backups() {
    let installation = Installation::newer();
    let test_env = incremental_backups_restore::source(&installation, incremental_backups_restore::WEEKLY);
    for round in 0..3 {
        incremental_backups_restore::run(&test_env);
        incremental_backups_restore::work(&test_env.cluster, round);
    }
    incremental_backups_restore::run(&test_env).stdout_shows("base, incremental");
    leave_marks_of_base(&test_env);
    recover_with_the_page(&test_env, &installation, 4);
}

/// Recovers the newest base backup with the commands of the page, and compares the database `shop`
/// of the result with the source.
pub(crate) fn recover_with_the_page(test_env: &TestEnv, installation: &Installation, links: usize) {
    let (folder, done) = unpack_with_the_page(test_env, installation);
    assert_eq!(done.stdout.matches(": OK").count(), links, "{done:?}");
    let restored = Cluster::start_on(folder, installation, &[]);
    assert!(contents(&restored, "shop") == contents(&test_env.cluster, "shop"));
}

/// Unpacks the newest base backup, and archived WAL if there is any, with the commands of the page.
pub(crate) fn unpack_with_the_page(test_env: &TestEnv, installation: &Installation) -> (NewFolder, CommandOutput) {
    let folder = NewFolder::new();
    let path = format!("{}:{}", installation.program("").display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands_in(&test_env.local().join("RESTORE.md"))]);
    shell.current_dir(test_env.local()).env("CLUSTER", "main").env("DATABASE", "base").env("DATA", folder.data_dir());
    shell.env("IDENTITY", test_env.identity()).env("SCRATCH", test_env.make_folder("scratch")).env("PATH", path);
    let done = finish(&mut shell).expect(0);
    // The page is for the server's user, who could not read the files of this test.
    let owner = format!("--reference={}", folder.path().display());
    finish(Command::new("chown").args(["-R", &owner]).arg(folder.path())).expect(0);
    (folder, done)
}

/// Adds marks beside the base backup, which the commands must not mistake for manifests.
fn leave_marks_of_base(test_env: &TestEnv) {
    test_env.longshore(&["verify", "--all"]).expect(0);
    test_env.longshore(&["hold", "base", "--why", "before the migration"]).expect(0);
}

#[test]
fn restore_page_is_written_once_and_kept() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    let (one, other) = (test_env.make_folder("one"), test_env.make_folder("other"));
    let more = "retention = 'short'\n\n[retention.short]\nkeep_last = 1\n";
    let settings = [("one", "orphan_grace = '1s'"), ("other", "orphan_grace = '1s'")];
    test_env.configure(&Job { ship: &[("one", &one), ("other", &other)], settings: &settings, more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let page = |folder: &Path| folder.join("RESTORE.md");
    let text = fs::read_to_string(page(&one)).unwrap();
    assert_eq!(text, fs::read_to_string(page(&other)).unwrap());
    fs::write(page(&one), "another program's file").unwrap();
    fs::remove_file(page(&other)).unwrap();
    test_env.longshore(&["sync"]).expect(0);
    assert_eq!(fs::read_to_string(page(&other)).unwrap(), text);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["prune"]).expect(0).omits("RESTORE");
    test_env.longshore(&["list"]).expect(0).omits("to no backup");
    test_env.run_with_identity(&["verify"]).expect(0).omits("RESTORE");
    assert_eq!(fs::read_to_string(page(&one)).unwrap(), "another program's file");
    assert_eq!(fs::read_to_string(page(&other)).unwrap(), text);
}
