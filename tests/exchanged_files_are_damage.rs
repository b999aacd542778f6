//! Manifests are not encrypted, so anyone who can write to a destination can exchange files and
//! make all digests match. Longshore detects details and archives of another backup, missing
//! details, and bytes beyond the recorded size.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::offline_env::OfflineEnv;
use crate::support::{CommandOutput, Job, TestEnv, files, finish};

/// Returns an environment with `count` encrypted runs of a job that dumps `shop` and `crm`.
fn with_runs(count: usize) -> TestEnv {
    let test_env = TestEnv::new();
    for (name, rows) in [("shop", 1), ("crm", 2)] {
        test_env.cluster.create_database(name);
        test_env.cluster.psql(name, &format!("create table t as select generate_series(1, {rows}) n"));
    }
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop', 'crm'] }]", ..Job::default() });
    for _ in 0..count {
        test_env.longshore(&["run"]).expect(0);
        // Backup names have a resolution of one second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    test_env
}

/// Returns the paths of the backups of a database, without their endings, oldest first.
fn backups(test_env: &TestEnv, database: &str) -> Vec<PathBuf> {
    let folder = test_env.local().join("main").join(database);
    let names =
        files(&folder).into_iter().filter_map(|name| name.strip_suffix(".dump.zst.age").map(|name| folder.join(name)));
    names.collect()
}

/// Returns the path of a file of a backup.
fn file(backup: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", backup.display()))
}

const ARTIFACT: &str = ".dump.zst.age";
const DETAILS: &str = ".details.json.age";

fn read(backup: &Path) -> Value {
    serde_json::from_slice(&fs::read(file(backup, ".json")).unwrap()).unwrap()
}

fn write(backup: &Path, manifest: &Value) {
    fs::write(file(backup, ".json"), serde_json::to_vec_pretty(manifest).unwrap()).unwrap();
}

/// Replaces a file of a backup, and corrects its digest in the manifest.
fn put(backup: &Path, ending: &str, bytes: &[u8]) {
    fs::write(file(backup, ending), bytes).unwrap();
    let part = if ending == DETAILS { "details" } else { "artifact" };
    let digest = Command::new("sha256sum").arg(file(backup, ending)).output().unwrap();
    let mut manifest = read(backup);
    manifest[part]["sealed"] =
        json!({ "bytes": bytes.len(), "sha256": String::from_utf8(digest.stdout).unwrap()[..64] });
    write(backup, &manifest);
}

/// Removes the marks of earlier commands, so that each command reports its own findings.
fn remove_marks(test_env: &TestEnv) {
    let marks = [".damaged.", ".verified.", ".drilled.", ".restoring."];
    for name in files(&test_env.local()).iter().filter(|name| marks.iter().any(|mark| name.contains(mark))) {
        fs::remove_file(test_env.local().join(name)).unwrap();
    }
}

/// Runs a shell script and returns its output. `$ID` is the environment's identity file, `$TO` its
/// recipient.
fn shell(test_env: &TestEnv, script: &str) -> Vec<u8> {
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", script]).env("ID", test_env.identity()).env("TO", test_env.recipient());
    let output = shell.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}

/// Verifies, restores and drills the newest run. Expects these exit codes, and `message` in the
/// output of each command that fails.
fn expect_all(test_env: &TestEnv, codes: [i32; 3], message: &str) -> [CommandOutput; 3] {
    let database = format!("far_{}", files(&test_env.local()).len());
    test_env.cluster.psql("postgres", &format!("drop database if exists {database}"));
    let to = format!("{} dbname={database}", test_env.cluster.connection());
    let restore = ["restore", "shop", "--create", "--json", "--to", &to];
    let verbs = [&["verify"][..], &restore, &["drill"]];
    let result = std::array::from_fn(|verb| {
        let result = test_env.run_with_identity(verbs[verb]);
        assert_eq!(result.code, Some(codes[verb]), "{:?} {message}: {result:?}", verbs[verb]);
        remove_marks(test_env);
        if codes[verb] == 0 { result } else { result.shows(message) }
    });
    let database_exists =
        test_env.cluster.psql("postgres", &format!("select 1 from pg_database where datname = '{database}'"));
    assert_eq!(database_exists.is_empty(), codes[1] == 4, "{message}");
    result
}

#[test]
fn exchanged_details_are_damage() {
    let test_env = with_runs(2);
    let [old, new] = <[PathBuf; 2]>::try_from(backups(&test_env, "shop")).unwrap();
    let own = fs::read(file(&new, DETAILS)).unwrap();
    put(&new, DETAILS, &fs::read(file(&old, DETAILS)).unwrap());
    expect_all(&test_env, [4, 4, 4], "another backup");
    let output = test_env.path("shop.dump");
    test_env
        .run_with_identity(&["restore", "shop", "-o", output.to_str().unwrap()])
        .expect(4)
        .shows("details of another backup: time");
    // Without an identity, only the digests are compared.
    test_env.longshore(&["verify"]).expect(0);
    put(&new, DETAILS, &own);
    let [mut other, whole] = [read(&new), read(&new)];
    other["cluster"]["system_identifier"] = "7".into();
    write(&new, &other);
    expect_all(&test_env, [4, 4, 4], "system identifier");
    write(&new, &whole);

    // Details of older releases, which lack the backup's name, are still accepted.
    let script = format!("age -d -i $ID '{}' | jq -c 'del(.backup)' | age -r $TO", file(&new, DETAILS).display());
    put(&new, DETAILS, &shell(&test_env, &script));
    expect_all(&test_env, [0, 0, 0], "");
}

#[test]
fn exchanged_archive_is_damage() {
    let test_env = with_runs(1);
    let [shop, crm] = ["shop", "crm"].map(|name| backups(&test_env, name).remove(0));
    let (own, whole) = (fs::read(file(&shop, ARTIFACT)).unwrap(), read(&shop));
    put(&shop, ARTIFACT, &fs::read(file(&crm, ARTIFACT)).unwrap());
    let mut manifest = read(&shop);
    manifest["artifact"]["plaintext"] = read(&crm)["artifact"]["plaintext"].clone();
    write(&shop, &manifest);
    expect_all(&test_env, [4, 4, 4], "this is an archive of database");
    let output = test_env.path("shop.dump");
    test_env
        .run_with_identity(&["restore", "shop", "-o", output.to_str().unwrap()])
        .expect(4)
        .shows("archive of database");
    assert!(!output.exists());
    put(&shop, ARTIFACT, &own);

    // The dumping host's clock may be in any time zone, but must show the same day.
    let moved = |hours: i64| {
        let mut manifest = whole.clone();
        let started: chrono::DateTime<chrono::Utc> = whole["started"].as_str().unwrap().parse().unwrap();
        manifest["started"] = json!(started - chrono::TimeDelta::hours(hours));
        manifest
    };
    for hours in [-11, 11] {
        write(&shop, &moved(hours));
        test_env.run_with_identity(&["verify", "shop"]).expect(0);
    }
    write(&shop, &moved(50));
    expect_all(&test_env, [4, 4, 4], "this archive was created at");
}

#[test]
fn excess_bytes_are_never_read_or_written() {
    let test_env = with_runs(1);
    let shop = backups(&test_env, "shop").remove(0);
    let script = format!(
        "(age -d -i $ID '{}' | zstd -d; head -c 1G /dev/zero) | zstd | age -r $TO",
        file(&shop, ARTIFACT).display()
    );
    let endless = shell(&test_env, &script);
    assert!(endless.len() < 1 << 20, "{}", endless.len());
    put(&shop, ARTIFACT, &endless);
    expect_all(&test_env, [4, 4, 4], "found more bytes");
    let output = test_env.path("shop.dump");
    let restore = test_env.command();
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -f 1024; exec \"$0\" \"$@\""]).arg(restore.get_program()).args(restore.get_args());
    limited.args(["restore", "shop", "--output"]).arg(&output).arg("--identity").arg(test_env.identity());
    finish(&mut limited).expect(4).shows("found more bytes");
    assert!(!output.exists());
    // The artifact is also longer than its manifest records. The excess is not read.
    let mut longer = fs::read(file(&shop, ARTIFACT)).unwrap();
    let whole = longer.len();
    longer.resize(whole + (8 << 20), 0);
    fs::write(file(&shop, ARTIFACT), longer).unwrap();
    let read = test_env.json(&["verify", "shop", "--json"]);
    assert!(read[0]["damaged"] == true && read[0]["bytes"].as_u64().unwrap() <= whole as u64, "{read}");
}

#[test]
fn missing_or_unlisted_details_are_detected() {
    let test_env = with_runs(1);
    let shop = backups(&test_env, "shop").remove(0);
    let (details, whole) = (fs::read(file(&shop, DETAILS)).unwrap(), read(&shop));
    fs::remove_file(file(&shop, DETAILS)).unwrap();
    let [_, restored, _] = expect_all(&test_env, [4, 3, 4], "details");
    let restored: Value = serde_json::from_str(&restored.stdout).unwrap();
    assert!(
        restored["backups"][0]["restored"] == true && restored["backups"][0]["not_compared"].is_string(),
        "{restored}"
    );
    test_env.longshore(&["verify"]).expect(4);
    remove_marks(&test_env);
    let to = format!("{} dbname=plain", test_env.cluster.connection());
    let restore = ["restore", "shop", "--create", "--no-compare", "--to", &to];
    test_env.run_with_identity(&restore).expect(0).shows("the record of its dump cannot be read");

    let mut unnamed = whole.clone();
    unnamed.as_object_mut().unwrap().remove("details");
    write(&shop, &unnamed);
    expect_all(&test_env, [4, 3, 4], "names no details");
    test_env.longshore(&["verify"]).expect(4).shows("names no details");
    remove_marks(&test_env);

    write(&shop, &whole);
    fs::write(file(&shop, DETAILS), details).unwrap();
    test_env.run_with_identity(&["verify"]).expect(0);
}

#[test]
fn drill_that_skips_damage_fails() {
    let test_env = with_runs(2);
    let [old, new] = <[PathBuf; 2]>::try_from(backups(&test_env, "shop")).unwrap();
    let artifact = fs::read(file(&new, ARTIFACT)).unwrap();
    fs::remove_file(file(&new, ARTIFACT)).unwrap();
    let stem = |backup: &Path| backup.file_name().unwrap().to_str().unwrap().to_owned();
    test_env.run_with_identity(&["drill"]).expect(4).shows(&format!("main/shop/{}: damaged: no artifact", stem(&new)));
    let drilled = test_env.run_with_identity(&["drill", "--json"]).expect(4);
    let drilled: Value = serde_json::from_str(&drilled.stdout).unwrap();
    assert!(drilled["passed_over"][0].as_str().unwrap().contains(&stem(&new)), "{drilled}");
    assert!(drilled["drills"].as_array().unwrap().iter().all(|drill| drill["verdict"] == "good"), "{drilled}");
    test_env.run_with_identity(&["drill", "--backup", &format!("main/shop/{}", stem(&old))]).expect(0);
    fs::write(file(&new, ARTIFACT), artifact).unwrap();
    test_env.run_with_identity(&["drill"]).expect(0);
}

/// A manifest names a format, but never a program: that of another format is not started.
#[test]
fn programs_receive_only_their_own_format() {
    let env = OfflineEnv::new("");
    let program = |name: &str, body: &str| {
        let path = env.path(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        path.display().to_string()
    };
    let started = env.path("started");
    let dump = program("dump", "echo pages");
    let restore = program("restore", &format!("cat > {}", started.display()));
    let configure = |format: &str| {
        env.configure(&format!(
            "[cluster.wiki]\n[job.wiki]\ncluster = 'wiki'\nencrypt = {{ type = 'none' }}\nship = ['disk']\nmax_age = '1d'\n\
             dump = [{{ type = 'exec', subject = 'wiki', format = '{format}', undo = 'cat', program = ['{dump}'], \
             restore = ['{restore}'], drill = ['{restore}'] }}]\n"
        ));
    };
    configure("test");
    env.longshore(&["run"]).expect(0);
    configure("other");
    env.longshore(&["restore", "wiki", "--program"]).expect(1).shows("names no program that restores x-test");
    env.longshore(&["drill"]).expect(1).shows("names no program");
    assert!(!started.exists());
    configure("test");
    env.longshore(&["restore", "wiki", "--program"]).expect(0);
    assert_eq!(fs::read_to_string(&started).unwrap(), "pages\n");
}
