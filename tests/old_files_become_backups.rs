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
    let ends = [("dump", "dump"), ("gz", "sql.gz"), ("zst", "sql.zst"), ("xz", "sql.xz"), ("bz2", "sql.bz2")];
    let adopts: String = ends
        .into_iter()
        .chain([("folder", "d/toc.dat"), ("tar", "tar"), ("out", "out"), ("lzo", "lzo")])
        .map(|(name, end)| {
            format!("[adopt.{name}]\ndestination = 'old'\npattern = '{{database}}_%FT%T%:z.{end}'\nretention = 'all'\n")
        })
        .collect();
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
    dump(&[], "app_2025-06-07T03:00:01Z.sql", &["xz"]);
    dump(&[], "app_2025-06-08T03:00:01Z.sql", &["bzip2"]);
    dump(&["-Ft"], &format!("app_{now}.tar"), &[]);
    test_env
}

#[test]
fn adopted_files_become_backups() {
    let test_env = with_dumps_of_pg_back();
    test_env.longshore(&["adopt", "take", "dump", "--dry-run"]).expect(0).shows("would be taken");
    assert_eq!(files(&test_env.local()), [""; 0]);
    let before = files(&test_env.path("old"));
    let dump = before.iter().find(|name| name.ends_with(".dump")).unwrap();
    test_env.longshore(&["adopt", "take", "dump"]).expect(0).shows("taken").shows("main/app/app-");
    let taken: Vec<_> = files(&test_env.local()).into_iter().filter(|name| name.ends_with(".dump.zst.age")).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let backup = &test_env.json(&["list", "app", "--job", "nightly", "--json"])[0];
    let origin = &backup["adopted_from"];
    assert_eq!((&origin["destination"], &origin["key"]), (&"old".into(), &dump.as_str().into()));
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
    for (adopt, wrapping) in [("xz", "xz"), ("bz2", "bzip2")] {
        test_env.longshore(&["adopt", "take", adopt]).expect(0).shows("taken");
        let taken = test_env.json(&["list", "app", "--all", "--job", "nightly", "--json"]);
        let wrappings: Vec<_> =
            taken.as_array().unwrap().iter().map(|it| &it["adopted_from"]["wrappings"][0]).collect();
        assert!(wrappings.contains(&&wrapping.into()), "{taken}");
    }
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    // A new run does not take them for its own failures, and prunes by the policy of the job.
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["prune", "--dry-run"]).expect(0);
}

#[test]
fn tar_dumps_become_backups() {
    let test_env = with_dumps_of_pg_back();
    test_env.longshore(&["adopt", "take", "tar"]).expect(0).shows("taken");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
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

    // A truncated file of each compression is damage, and not a shorter dump.
    for (adopt, end) in [("gz", "sql.gz"), ("zst", "sql.zst"), ("xz", "sql.xz"), ("bz2", "sql.bz2")] {
        let whole = files(&old).into_iter().find(|name| name.ends_with(end)).unwrap();
        let bytes = fs::read(old.join(&whole)).unwrap();
        let cut = format!("cut_2025-06-09T03:00:01Z.{end}");
        fs::write(old.join(&cut), &bytes[..bytes.len() - 20]).unwrap();
        test_env.longshore(&["adopt", "take", adopt, "--file", "cut"]).expect(4).shows(&cut).shows("damaged");
    }
    test_env.longshore(&["adopt", "take", "dmp"]).expect(1).shows("did you mean \"dump\"");
    test_env.longshore(&["adopt", "take", "dump", "--file", "shop"]).expect(1).shows("no backup of that name");
}

#[test]
fn files_that_are_no_dumps_get_a_true_hint() {
    let test_env = with_dumps_of_pg_back();
    let old = test_env.path("old");
    for (name, content) in [
        ("pg_settings_2025-06-08T03:00:01Z.out", &b"name = value\n"[..]),
        ("empty_2025-06-08T03:00:01Z.out", b""),
        ("app_2025-06-08T03:00:01Z.lzo", b"\x89LZO\0\r\n\x1a\n"),
    ] {
        fs::write(old.join(name), content).unwrap();
    }
    let refused = test_env.longshore(&["adopt", "take", "out", "--file", "pg_settings"]).expect(2);
    refused.shows("only dumps of pg_dump and pg_dumpall become backups").omits("upgrade Longshore");
    test_env.longshore(&["adopt", "take", "out", "--file", "empty"]).expect(4).shows("remove the empty file by hand");
    let packed = test_env.longshore(&["adopt", "take", "lzo"]).expect(2);
    packed
        .shows("compressed with lzop, which adopt take does not unpack")
        .shows("lzop -dc FILE > NEW")
        .omits("inspect");
}

#[test]
fn directory_dumps_become_backups() {
    let test_env = with_dumps_of_pg_back();
    let old = test_env.path("old");
    let dump = |name: &str| {
        let connection = format!("{} dbname=app", test_env.cluster.connection());
        let mut command = Command::new("pg_dump");
        command.args(["-Fd", "-f"]).arg(old.join(name)).args(["--dbname", &connection]);
        assert!(command.status().unwrap().success());
    };
    dump("app_2025-06-07T03:00:01Z.d");
    fs::write(old.join("app_2025-06-07T03:00:01Z.d/README"), "by hand").unwrap();
    test_env.longshore(&["adopt", "take", "folder"]).expect(0).shows("taken");
    // A copy has the content and the time in its header.
    let folders = ["app_2025-06-07T03:00:01Z.d", "app_2025-06-08T03:00:01Z.d"].map(|name| old.join(name));
    assert!(Command::new("cp").arg("-r").args(folders).status().unwrap().success());
    test_env.longshore(&["adopt", "take", "folder"]).expect(0).shows("taken before").shows("same file");
    let artifacts = files(&test_env.local());
    assert!(artifacts.iter().any(|name| name.ends_with(".dir.tar.zst.age")), "{artifacts:?}");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
    test_env.cluster.create_database("restored");
    let target = format!("{} dbname=restored", test_env.cluster.connection());
    let scratch = test_env.make_folder("scratch");
    let scratch = scratch.to_str().unwrap();
    let restore = ["restore", "app", "--job", "nightly", "--to", &target, "--scratch-dir", scratch];
    test_env.run_with_identity(&restore).expect(0);
    assert_eq!(test_env.cluster.psql("restored", "SELECT sum(n) FROM t").trim(), "500500");

    // A missing file is damage.
    dump("app_2025-06-09T03:00:01Z.d");
    let data = files(&old).into_iter().find(|name| name.starts_with("app_2025-06-09") && name.ends_with(".dat.gz"));
    fs::remove_file(old.join(data.unwrap())).unwrap();
    test_env.longshore(&["adopt", "take", "folder"]).expect(4).shows("app_2025-06-09T03:00:01Z.d/toc.dat");

    // Pruning removes the dump, but not the other file in its folder.
    let config = fs::read_to_string(test_env.config_path()).unwrap();
    fs::write(test_env.config_path(), config.replace("keep_last = 'all'", "keep_last = 1")).unwrap();
    test_env.longshore(&["prune", "--destination", "old"]).expect(0);
    let left: Vec<String> = files(&old).into_iter().filter(|name| name.contains(".d/")).collect();
    let of_removed: Vec<_> = left.iter().filter(|name| !name.starts_with("app_2025-06-09")).collect();
    assert_eq!(of_removed, ["app_2025-06-07T03:00:01Z.d/README", "app_2025-06-08T03:00:01Z.d/README"]);
    assert!(left.contains(&"app_2025-06-09T03:00:01Z.d/toc.dat".to_owned()), "{left:?}");
}

/// An environment with the folders of postgres-backup-local, which contain hard links of one dump.
fn with_hard_links() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("app");
    let old = test_env.make_folder("old");
    let connection = format!("{} dbname=app", test_env.cluster.connection());
    let dump = |name: &str| {
        let path = old.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let dumped = Command::new("pg_dump").args(["-Fp", "-f"]).arg(&path).args(["--dbname", &connection]).status();
        assert!(dumped.unwrap().success());
    };
    dump("last/app-20260601-030001.sql");
    for name in ["daily/app-20260601.sql", "weekly/app-202623.sql"] {
        fs::create_dir_all(old.join(name).parent().unwrap()).unwrap();
        fs::hard_link(old.join("last/app-20260601-030001.sql"), old.join(name)).unwrap();
    }
    test_env.cluster.psql("app", "CREATE TABLE t AS SELECT 1 AS n");
    dump("monthly/app-202606.sql");
    let patterns = [
        ("last", "last/{database}-%Y%m%d-%H%M%S.sql"),
        ("daily", "daily/{database}-%Y%m%d.sql"),
        ("weekly", "weekly/{database}-%G%V.sql"),
        ("monthly", "monthly/{database}-%Y%m.sql"),
        ("copies", "copies/{database}-%Y%m%d.sql"),
        ("exact", "exact/{database}-%Y%m%d-%H%M%S.sql"),
    ];
    let adopts = patterns.map(|(name, pattern)| {
        format!("[adopt.{name}]\ndestination = 'old'\npattern = '{pattern}'\nretention = 'all'\n")
    });
    let more = format!(
        "[destination.old]\ntype = 'local'\npath = '{}'\n{}[retention.all]\nkeep_last = 'all'\n",
        old.display(),
        adopts.concat()
    );
    test_env.configure(&Job { more: &more, ..Job::default() });
    test_env
}

#[test]
fn hard_links_become_one_backup() {
    let test_env = with_hard_links();
    let old = test_env.path("old");
    let count = || test_env.json(&["list", "app", "--all", "--job", "nightly", "--json"]).as_array().unwrap().len();
    test_env.longshore(&["adopt", "take", "daily"]).expect(0).shows("taken");
    let linked = test_env.longshore(&["adopt", "take", "last"]).expect(0);
    linked.shows("same file").shows("last/app-20260601-030001.sql is the same file as daily/app-20260601.sql");
    test_env.longshore(&["adopt", "take", "weekly", "--dry-run"]).expect(0).shows("same file");
    let linked = test_env.json(&["adopt", "take", "weekly", "--json"]);
    assert_eq!(linked["files"][0]["same_as"]["file"], "daily/app-20260601.sql", "{linked}");
    assert_eq!(count(), 1);

    // A copy in the period of its name is the same, too: hard links are lost in uploads.
    fs::create_dir(old.join("copies")).unwrap();
    fs::copy(old.join("last/app-20260601-030001.sql"), old.join("copies/app-20260601.sql")).unwrap();
    test_env.longshore(&["adopt", "take", "copies"]).expect(0).shows("same file");
    assert_eq!(count(), 1);

    // Another dump has the next second if its name states a period, which begins at the same time.
    test_env.longshore(&["adopt", "take", "monthly"]).expect(0).shows("app-2026-06-01_000001");
    assert_eq!(count(), 2);

    // A name that states the time is not changed.
    fs::create_dir(old.join("exact")).unwrap();
    fs::copy(old.join("monthly/app-202606.sql"), old.join("exact/app-20260601-000000.sql")).unwrap();
    let conflict = test_env.longshore(&["adopt", "take", "exact"]).expect(2);
    conflict
        .shows("exact/app-20260601-000000.sql")
        .shows("has the time of main/app/app-2026-06-01_000000")
        .shows("made of daily/app-20260601.sql")
        .shows("hint: a database has one backup of a time");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}
