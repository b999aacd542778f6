//! Files of other backup tools become backups of Longshore's own.

use std::fs;
use std::process::Command;

use crate::support::{Job, TestEnv, files};

/// A cluster with a database `app`, and dumps of it that pg_back would have made.
fn with_dumps_of_pg_back() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let old = test_env.make_folder("old");
    let adopts: String = [("dump", "dump"), ("gz", "sql.gz"), ("zst", "sql.zst"), ("out", "out")]
        .map(|(name, end)| {
            format!("[adopt.{name}]\ndestination = 'old'\npattern = '{{database}}_%FT%T%:z.{end}'\nretention = 'all'\n")
        })
        .concat();
    let more = format!(
        "[destination.old]\ntype = 'local'\npath = '{}'\n{adopts}[retention.all]\nkeep_last = 'all'\n",
        old.display()
    );
    test_env.configure(&Job { more: &more, ..Job::default() });
    let dump = |options: &[&str], name: &str, filter: &[&str]| {
        let mut command = Command::new("pg_dump");
        let connection = format!("{} dbname=app", test_env.cluster.connection());
        let output = command.args(options).arg("--dbname").arg(connection).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = old.join(name);
        fs::write(&path, output.stdout).unwrap();
        if let [program, options @ ..] = filter {
            let packed = Command::new(program).args(options).arg(&path).output().unwrap();
            assert!(packed.status.success(), "{packed:?}");
        }
    };
    let now = chrono::Utc::now().format("%FT%TZ");
    dump(&["-Fc"], &format!("app_{now}.dump"), &[]);
    dump(&[], &format!("app_{now}.sql"), &["gzip"]);
    dump(&[], "other_2025-06-07T03:00:01+02:00.sql", &["zstd", "--rm", "-q"]);
    test_env
}

#[test]
fn adopted_files_become_backups() {
    let test_env = with_dumps_of_pg_back();
    test_env.longshore(&["adopt", "take", "dump", "--dry-run"]).expect(0).shows("would be taken");
    assert_eq!(files(&test_env.local()), [""; 0]);
    let before = files(&test_env.path("old"));
    test_env.longshore(&["adopt", "take", "dump"]).expect(0).shows("taken").shows("main/app/app-");
    let taken: Vec<_> = files(&test_env.local()).into_iter().filter(|name| name.ends_with(".dump.zst.age")).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let backup = &test_env.json(&["list", "app", "--job", "nightly", "--json"])[0];
    let origin = &backup["adopted_from"];
    assert_eq!((&origin["destination"], &origin["key"]), (&"old".into(), &before[0].as_str().into()));
    assert_eq!(
        (&backup["subject"]["name"], &backup["verified"][0]["method"]),
        (&"app".into(), &"read to its end".into())
    );
    assert_eq!(&backup["started"], &origin["time"]);
    assert_eq!(files(&test_env.path("old")), before, "the originals stay");

    // Taking twice makes nothing twice.
    let all = files(&test_env.local()).len();
    let again = test_env.json(&["adopt", "take", "dump", "--json"]);
    assert_eq!(again["files"][0]["state"], "taken_before");
    assert_eq!(files(&test_env.local()).len(), all);

    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    test_env.cluster.create_database("restored");
    let target = format!("{} dbname=restored", test_env.cluster.connection());
    let restored = test_env.run_with_identity(&["restore", "app", "--job", "nightly", "--to", &target]);
    restored.expect(0);
    assert_eq!(test_env.cluster.psql("restored", "SELECT sum(n) FROM t").trim(), "500500");
}

#[test]
fn compressed_files_are_read_through() {
    let test_env = with_dumps_of_pg_back();
    let gz = test_env.json(&["adopt", "take", "gz", "--json"]);
    assert_eq!((&gz["files"][0]["state"], &gz["files"][0]["wrappings"][0]), (&"taken".into(), &"gzip".into()));
    let zst = test_env.json(&["adopt", "take", "zst", "--file", "other", "--json"]);
    assert_eq!((&zst["files"][0]["state"], &zst["files"][0]["wrappings"][0]), (&"taken".into(), &"zstd".into()));
    let backup = &test_env.json(&["list", "other", "--job", "nightly", "--json"])[0];
    assert_eq!(backup["time"], "2025-06-07T01:00:01Z");
    assert!(backup["cluster"]["server_version"].as_str().unwrap().starts_with(char::is_numeric), "{backup}");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    // A new run does not take them for its own failures, and prunes by the policy of the job.
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["prune", "--dry-run"]).expect(0);
}

#[test]
fn damaged_files_are_named_and_not_taken() {
    let test_env = with_dumps_of_pg_back();
    let old = test_env.path("old");
    let whole = files(&old).into_iter().find(|name| name.ends_with("Z.dump")).unwrap();
    let bytes = fs::read(old.join(&whole)).unwrap();
    let cut = "app_2025-06-07T03:00:01Z.dump";
    fs::write(old.join(cut), &bytes[..bytes.len() / 2]).unwrap();
    let taken = test_env.longshore(&["adopt", "take", "dump"]).expect(4).shows(cut);
    taken.shows("damaged").shows("taken");
    let artifacts = files(&test_env.local()).into_iter().filter(|name| name.ends_with(".dump.zst.age"));
    assert_eq!(artifacts.count(), 1);

    let xz = "app_2025-06-08T03:00:01Z.out";
    fs::write(old.join(xz), b"\xfd7zXZ\0\0\x04").unwrap();
    test_env.longshore(&["adopt", "take", "out"]).expect(2).shows(xz).shows("compressed with xz");
    test_env.longshore(&["adopt", "take", "dmp"]).expect(1).shows("did you mean \"dump\"");
    test_env.longshore(&["adopt", "take", "dump", "--file", "shop"]).expect(1).shows("no backup of that name");
}
