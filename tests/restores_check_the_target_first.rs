//! A restore checks the target before it fetches any part of the backup, and drops a database only
//! with confirmation.

use std::io::Write;
use std::process::Stdio;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{CommandOutput, Job, TestEnv, artifact, file_with};

/// All problems are reported at once, without reading the artifact: the test has overwritten it
/// with zeros.
#[test]
fn missing_requirements_are_listed_before_fetching() {
    let newer = Cluster::start(&Installation::newer(), &[]);
    let test_env = TestEnv::with_cluster(newer);
    let cluster = &test_env.cluster;
    cluster.create_database("appdb");
    let content =
        "create role clerk; create extension pgcrypto; create table t as select 1 n; alter table t owner to clerk;";
    cluster.psql("appdb", content);
    let bin_dir = cluster.bin_dir();
    let more = format!("bin_dir = '{}'", bin_dir.display());
    test_env.configure(&Job { cluster: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    // The size is unchanged, but all content is zero.
    let artifact = artifact(&test_env.local().join("main/appdb"));
    let length = std::fs::metadata(&artifact).unwrap().len();
    std::fs::write(&artifact, vec![0; length as usize]).unwrap();

    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create database appdb encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0");
    target.psql("appdb", "create table there ()");
    let share = target.psql("postgres", "select setting from pg_config() where name = 'SHAREDIR'");
    let has_pgcrypto = std::path::Path::new(&share).join("extension/pgcrypto.control").exists();
    let to = format!("{} dbname=appdb", target.connection());
    let path =
        [std::env::join_paths([bin_dir]).unwrap(), std::env::var_os("PATH").unwrap()].join(std::ffi::OsStr::new(":"));
    let mut restore = test_env.command();
    restore.env("PATH", path).args(["restore", "appdb", "--to", &to, "--identity"]).arg(test_env.identity());
    let result = crate::support::finish(&mut restore).expect(6);
    let result = result
        .shows("nothing was changed")
        .shows("which is older")
        .shows("its encoding is LATIN1, but the backup's is UTF8")
        .shows("the database is not empty")
        .shows("lacks the role \"clerk\"");
    if !has_pgcrypto {
        result.shows("lacks the extension \"pgcrypto\"");
    }
    assert_eq!(target.psql("appdb", "select count(*) from there"), "0");
}

#[test]
fn missing_extension_is_reported() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    // An empty extension that is installed on this server only during the dump.
    let share = test_env.cluster.psql("postgres", "select setting from pg_config() where name = 'SHAREDIR'");
    let control = std::path::Path::new(&share).join("extension/longshore_absent.control");
    let script = control.with_file_name("longshore_absent--1.sql");
    std::fs::write(&control, "default_version = '1'\n").unwrap();
    std::fs::write(&script, "").unwrap();
    test_env.cluster.psql("appdb", "create extension longshore_absent");
    let run = test_env.longshore(&["run"]);
    std::fs::remove_file(control).unwrap();
    std::fs::remove_file(script).unwrap();
    run.expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "appdb", "--create", "--to", &to]).expect(6);
    result.shows("lacks the extension \"longshore_absent\"");
    assert_eq!(test_env.cluster.psql("postgres", "select count(*) from pg_database where datname = 'again'"), "0");
}

/// Returns an environment with a non-empty database, and a backup of it.
fn with_one() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("one");
    test_env.cluster.psql("one", "create table t as select 1 n");
    test_env.longshore(&["run"]).expect(0);
    test_env.cluster.psql("one", "update t set n = 2");
    test_env
}

#[test]
fn dropping_requires_confirmation() {
    let test_env = with_one();
    let to = format!("{} dbname=one", test_env.cluster.connection());
    let clean = ["restore", "one", "--clean", "--to", &to];
    test_env.run_with_identity(&clean).expect(6).shows("its name was not confirmed").shows("--yes");
    let typed = |answer: &str| {
        let mut command = test_env.command();
        command.args(clean).arg("--identity").arg(test_env.identity());
        let program = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> =
            program.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect();
        // script(1) provides a terminal.
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
        let mut running = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = running.stdin.take().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(2));
        stdin.write_all(answer.as_bytes()).unwrap();
        let result = CommandOutput::of(running.wait_with_output().unwrap());
        drop(stdin);
        result
    };
    typed("two\n").expect(6).shows("type the name of the database to drop, \"one\"");
    assert_eq!(test_env.cluster.psql("one", "select n from t"), "2");
    typed("one\n").expect(0);
    assert_eq!(test_env.cluster.psql("one", "select n from t"), "1");
}

#[test]
fn undeterminable_requirement_is_only_a_warning() {
    let test_env = with_one();
    let near = format!("{} dbname=near", test_env.cluster.connection());
    test_env.run_with_identity(&["restore", "one", "--create", "--to", &near]).expect(0).omits("warning");
    let details = file_with(&test_env.local().join("main/one"), ".details.");
    let length = std::fs::metadata(&details).unwrap().len();
    std::fs::write(&details, vec![0; length as usize]).unwrap();
    let far = format!("{} dbname=far", test_env.cluster.tcp_connection());
    let result = test_env.run_with_identity(&["restore", "one", "--create", "--quiet", "--to", &far]).expect(3);
    result
        .shows("free space of the data directory cannot be determined")
        .shows("the record of its dump cannot be read");
    assert_eq!(test_env.cluster.psql("far", "select n from t"), "1");
}

/// Covers a dump that was cut before encryption: all digests match the cut script, and psql would
/// accept it as complete.
#[test]
fn truncated_script_is_refused_and_rolled_back() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("one");
    test_env.cluster.psql("one", "create table t as select i from generate_series(1, 5000) i");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['one'], format = 'plain' }]",
        encrypt: Some("{ type = 'none' }"),
        more: "compression = { method = 'none' }",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let artifact = artifact(&test_env.local());
    let script = std::fs::read_to_string(&artifact).unwrap();
    let cut = &script[..script.find("\n4000\n").unwrap() + 1];
    test_env.cluster.create_database("again");
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let restore = ["restore", "one", "--to", &to, "--trust-script"];
    let nothing = || test_env.cluster.psql("again", "select count(*) from pg_class where relname = 't'");
    // A script that was cut after the backup: the digests detect the change.
    let padded = format!("{cut}{}", "\n".repeat(script.len() - cut.len()));
    std::fs::write(&artifact, &padded).unwrap();
    test_env.run_with_identity(&restore).expect(4);
    assert_eq!(nothing(), "0");
    // A script that was cut before shipping: all digests match the cut script.
    std::fs::write(&artifact, cut).unwrap();
    let manifest = crate::support::manifest(&test_env.local());
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let digest = serde_json::to_value(longshore_core::meter::Digest::of(cut.as_bytes())).unwrap();
    record["artifact"]["plaintext"] = digest.clone();
    record["artifact"]["sealed"] = digest;
    std::fs::write(&manifest, serde_json::to_vec(&record).unwrap()).unwrap();
    test_env.run_with_identity(&restore).expect(4).shows("it is cut");
    assert_eq!(nothing(), "0");
}

#[test]
fn script_requires_a_safe_psql() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("one");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['one'], format = 'plain' }]",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let program = |version: &str, name: &str| {
        let folder = test_env.make_folder(&format!("bin-{version}"));
        let path = folder.join(name);
        let real = test_env.cluster.bin_dir().join(name);
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo '{name} (PostgreSQL) {version}' && exit\nexec {} \"$@\"\n",
            real.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        folder
    };
    let restore = |version: &str, more: &[&str]| {
        let to = format!("{} dbname=again", test_env.cluster.connection());
        let path = [program(version, "psql").into_os_string(), std::env::var_os("PATH").unwrap()]
            .join(std::ffi::OsStr::new(":"));
        let mut command = test_env.command();
        command.env("PATH", path).args(["restore", "one", "--create", "--to", &to]).args(more);
        let result = crate::support::finish(command.arg("--identity").arg(test_env.identity()));
        test_env.cluster.psql("postgres", "drop database if exists again");
        result
    };
    restore("99.1", &[]).expect(0);
    restore("18.5", &[]).expect(6).shows("psql 18.5 lets a script run programs").shows("--trust-script");
    restore("18.5.1", &["--trust-script"]).expect(0);
    // Globals are checked statement by statement instead, so any version of psql will do.
    let target = Cluster::start(&Installation::system(), &[]);
    test_env.run_with_identity(&["restore", "globals", "--to", &target.connection()]).expect(0);
}

/// The `postgres` of a new cluster has the encoding of that cluster, and is empty.
#[test]
fn clean_recreates_empty_database_of_other_encoding() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql("appdb", "create table t as select 'ä' as letter");
    test_env.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &[]);
    for sql in ["drop database postgres", "create database postgres template template0 encoding 'LATIN1' locale 'C'"] {
        target.psql("template1", sql);
    }
    let to = target.connection();
    let refused = test_env.run_with_identity(&["restore", "--run", "latest", "--create", "--to", &to]).expect(6);
    refused.shows("its encoding is LATIN1, but the backup's is UTF8").shows("add --clean");
    let clean = ["restore", "--run", "latest", "--clean", "--create", "--yes", "--to", &to];
    test_env.run_with_identity(&clean).expect(0);
    let encodings =
        "select string_agg(pg_encoding_to_char(encoding), ' ') from pg_database where datname in ('appdb', 'postgres')";
    assert_eq!(target.psql("template1", encodings), "UTF8 UTF8");
    assert_eq!(target.psql("appdb", "select letter from t"), "ä");
}
