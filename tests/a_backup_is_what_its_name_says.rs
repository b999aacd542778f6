//! Manifests are not encrypted, so anyone who can write to a destination can exchange files and
//! make all digests match. Longshore detects details and archives of another backup, missing
//! details, and bytes beyond the recorded size.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ended, Job, Workshop, files, finish};

/// Returns a workshop with `count` runs of a job that dumps databases `shop` and `crm`, encrypted.
fn with_runs(count: usize) -> Workshop {
    let workshop = Workshop::new();
    for (name, rows) in [("shop", 1), ("crm", 2)] {
        workshop.cluster.create_database(name);
        workshop.cluster.psql(name, &format!("create table t as select generate_series(1, {rows}) n"));
    }
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop', 'crm'] }]", ..Job::default() });
    for _ in 0..count {
        workshop.longshore(&["run"]).expect(0);
        // Backup names have a resolution of one second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    workshop
}

/// Returns the paths of the backups of a database, without their endings, oldest first.
fn backups(workshop: &Workshop, database: &str) -> Vec<PathBuf> {
    let folder = workshop.local().join("main").join(database);
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
    let told = Command::new("sha256sum").arg(file(backup, ending)).output().unwrap();
    let mut manifest = read(backup);
    manifest[part]["sealed"] = json!({ "bytes": bytes.len(), "sha256": String::from_utf8(told.stdout).unwrap()[..64] });
    write(backup, &manifest);
}

/// Removes the marks of earlier commands, so that each command reports its own findings.
fn forget(workshop: &Workshop) {
    let marks = [".damaged.", ".verified.", ".drilled.", ".restoring."];
    for name in files(&workshop.local()).iter().filter(|name| marks.iter().any(|mark| name.contains(mark))) {
        fs::remove_file(workshop.local().join(name)).unwrap();
    }
}

/// Runs a shell script and returns its output. `$ID` is the workshop's identity file, `$TO` its
/// recipient.
fn shell(workshop: &Workshop, script: &str) -> Vec<u8> {
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", script]).env("ID", workshop.identity()).env("TO", workshop.recipient());
    let output = shell.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}

/// Verifies, restores and drills the newest run. Expects these exit codes, and `words` in the
/// output of each command that fails.
fn each(workshop: &Workshop, codes: [i32; 3], words: &str) -> [Ended; 3] {
    let database = format!("far_{}", files(&workshop.local()).len());
    workshop.cluster.psql("postgres", &format!("drop database if exists {database}"));
    let to = format!("{} dbname={database}", workshop.cluster.connection());
    let restore = ["restore", "shop", "--create", "--json", "--to", &to];
    let verbs = [&["verify"][..], &restore, &["drill"]];
    let ended = std::array::from_fn(|verb| {
        let ended = workshop.opening(verbs[verb]);
        assert_eq!(ended.code, Some(codes[verb]), "{:?} {words}: {ended:?}", verbs[verb]);
        forget(workshop);
        if codes[verb] == 0 { ended } else { ended.says(words) }
    });
    let made = workshop.cluster.psql("postgres", &format!("select 1 from pg_database where datname = '{database}'"));
    assert_eq!(made.is_empty(), codes[1] == 4, "{words}");
    ended
}

#[test]
fn details_of_another_run_are_damage() {
    let workshop = with_runs(2);
    let [old, new] = <[PathBuf; 2]>::try_from(backups(&workshop, "shop")).unwrap();
    let own = fs::read(file(&new, DETAILS)).unwrap();
    put(&new, DETAILS, &fs::read(file(&old, DETAILS)).unwrap());
    each(&workshop, [4, 4, 4], "another backup");
    let output = workshop.path("shop.dump");
    workshop
        .opening(&["restore", "shop", "-o", output.to_str().unwrap()])
        .expect(4)
        .says("details of another backup: time");
    // Without an identity, only the digests are compared.
    workshop.longshore(&["verify"]).expect(0);
    put(&new, DETAILS, &own);
    let [mut other, whole] = [read(&new), read(&new)];
    other["cluster"]["system_identifier"] = "7".into();
    write(&new, &other);
    each(&workshop, [4, 4, 4], "system identifier");
    write(&new, &whole);

    // Details of older releases, which lack the backup's name, are still accepted.
    let script = format!("age -d -i $ID '{}' | jq -c 'del(.backup)' | age -r $TO", file(&new, DETAILS).display());
    put(&new, DETAILS, &shell(&workshop, &script));
    each(&workshop, [0, 0, 0], "");
}

#[test]
fn an_archive_of_another_database_or_day_is_damage() {
    let workshop = with_runs(1);
    let [shop, crm] = ["shop", "crm"].map(|name| backups(&workshop, name).remove(0));
    let (own, whole) = (fs::read(file(&shop, ARTIFACT)).unwrap(), read(&shop));
    put(&shop, ARTIFACT, &fs::read(file(&crm, ARTIFACT)).unwrap());
    let mut manifest = read(&shop);
    manifest["artifact"]["plaintext"] = read(&crm)["artifact"]["plaintext"].clone();
    write(&shop, &manifest);
    each(&workshop, [4, 4, 4], "this is an archive of database");
    let output = workshop.path("shop.dump");
    workshop.opening(&["restore", "shop", "-o", output.to_str().unwrap()]).expect(4).says("archive of database");
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
        workshop.opening(&["verify", "shop"]).expect(0);
    }
    write(&shop, &moved(50));
    each(&workshop, [4, 4, 4], "this archive was created at");
}

#[test]
fn bytes_without_an_end_are_not_written_to_theirs() {
    let workshop = with_runs(1);
    let shop = backups(&workshop, "shop").remove(0);
    let script = format!(
        "(age -d -i $ID '{}' | zstd -d; head -c 1G /dev/zero) | zstd | age -r $TO",
        file(&shop, ARTIFACT).display()
    );
    let endless = shell(&workshop, &script);
    assert!(endless.len() < 1 << 20, "{}", endless.len());
    put(&shop, ARTIFACT, &endless);
    each(&workshop, [4, 4, 4], "found more bytes");
    let output = workshop.path("shop.dump");
    let restore = workshop.command();
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -f 1024; exec \"$0\" \"$@\""]).arg(restore.get_program()).args(restore.get_args());
    limited.args(["restore", "shop", "--output"]).arg(&output).arg("--identity").arg(workshop.identity());
    finish(&mut limited).expect(4).says("found more bytes");
    assert!(!output.exists());
    // The artifact is also longer than its manifest records. The excess is not read.
    let mut longer = fs::read(file(&shop, ARTIFACT)).unwrap();
    let whole = longer.len();
    longer.resize(whole + (8 << 20), 0);
    fs::write(file(&shop, ARTIFACT), longer).unwrap();
    let read = workshop.json(&["verify", "shop", "--json"]);
    assert!(read[0]["damaged"] == true && read[0]["bytes"].as_u64().unwrap() <= whole as u64, "{read}");
}

#[test]
fn details_that_are_gone_or_not_named_are_missed() {
    let workshop = with_runs(1);
    let shop = backups(&workshop, "shop").remove(0);
    let (details, whole) = (fs::read(file(&shop, DETAILS)).unwrap(), read(&shop));
    fs::remove_file(file(&shop, DETAILS)).unwrap();
    let [_, restored, _] = each(&workshop, [4, 3, 4], "details");
    let restored: Value = serde_json::from_str(&restored.stdout).unwrap();
    assert!(
        restored["backups"][0]["restored"] == true && restored["backups"][0]["not_compared"].is_string(),
        "{restored}"
    );
    workshop.longshore(&["verify"]).expect(4);
    forget(&workshop);
    let to = format!("{} dbname=plain", workshop.cluster.connection());
    let restore = ["restore", "shop", "--create", "--no-compare", "--to", &to];
    workshop.opening(&restore).expect(0).says("the record of its dump cannot be read");

    let mut unnamed = whole.clone();
    unnamed.as_object_mut().unwrap().remove("details");
    write(&shop, &unnamed);
    each(&workshop, [4, 3, 4], "names no details");
    workshop.longshore(&["verify"]).expect(4).says("names no details");
    forget(&workshop);

    write(&shop, &whole);
    fs::write(file(&shop, DETAILS), details).unwrap();
    workshop.opening(&["verify"]).expect(0);
}

#[test]
fn a_drill_that_passes_over_damage_does_not_end_well() {
    let workshop = with_runs(2);
    let [old, new] = <[PathBuf; 2]>::try_from(backups(&workshop, "shop")).unwrap();
    let artifact = fs::read(file(&new, ARTIFACT)).unwrap();
    fs::remove_file(file(&new, ARTIFACT)).unwrap();
    let stem = |backup: &Path| backup.file_name().unwrap().to_str().unwrap().to_owned();
    workshop.opening(&["drill"]).expect(4).says(&format!("main/shop/{}: damaged: no artifact", stem(&new)));
    let drilled = workshop.opening(&["drill", "--json"]).expect(4);
    let drilled: Value = serde_json::from_str(&drilled.stdout).unwrap();
    assert!(drilled["passed_over"][0].as_str().unwrap().contains(&stem(&new)), "{drilled}");
    assert!(drilled["drills"].as_array().unwrap().iter().all(|drill| drill["verdict"] == "good"), "{drilled}");
    workshop.opening(&["drill", "--backup", &format!("main/shop/{}", stem(&old))]).expect(0);
    fs::write(file(&new, ARTIFACT), artifact).unwrap();
    workshop.opening(&["drill"]).expect(0);
}
