//! A drill detects and describes a backup that differs from its record. A wrong scratch location or
//! a wrong key is reported separately, and leaves no mark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::{Value, json};

use crate::support::{CommandOutput, Job, TestEnv, file_with, files, finish};

const SHOP: &str = "create table orders (id serial primary key, total int); \
     insert into orders (total) select n from generate_series(1, 1000) n; \
     create table customers as select n from generate_series(1, 10) n; create index by_total on orders (total);";

/// Returns an environment with a small database.
fn test_env(job: &Job<'_>) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", SHOP);
    test_env.configure(job);
    test_env
}

/// Runs the job once, and returns the folder of `shop`.
fn run(test_env: &TestEnv) -> PathBuf {
    let folder = test_env.local().join("main/shop");
    let before = fs::read_dir(&folder).map_or(0, Iterator::count);
    test_env.longshore(&["run"]).expect(0);
    assert!(fs::read_dir(&folder).unwrap().count() > before);
    folder
}

/// Returns the digest of `bytes` in the manifest's format.
fn digest(bytes: &[u8]) -> Value {
    use std::io::Write;
    let mut sha256sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sha256sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = String::from_utf8(sha256sum.wait_with_output().unwrap().stdout).unwrap();
    json!({ "bytes": bytes.len(), "sha256": output[..64] })
}

/// Changes a manifest.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
}

/// Returns the path of the newest backup's manifest in a folder.
fn newest(folder: &Path) -> PathBuf {
    let is_manifest = |name: &&String| name.strip_suffix(".json").is_some_and(|name| !name.contains('.'));
    folder.join(files(folder).iter().filter(is_manifest).max().unwrap())
}

/// Drills a backup of a database after `change`, paired with the record of the backup before. All
/// digests match.
fn forged(change: &str) -> (TestEnv, CommandOutput) {
    let test_env = test_env(&Job::default());
    let folder = run(&test_env);
    let record = fs::read(file_with(&folder, ".details.")).unwrap();
    fs::rename(&folder, test_env.path("before")).unwrap();
    fs::remove_dir_all(test_env.local().join("main")).unwrap();
    test_env.cluster.psql("shop", change);
    run(&test_env);
    fs::write(file_with(&folder, ".details."), &record).unwrap();
    edit(&newest(&folder), |manifest| manifest["details"]["sealed"] = digest(&record));
    let result = drill(&test_env, &test_env.identity());
    assert!(files(&folder).iter().any(|name| name.contains(".damaged.")) || result.code != Some(4), "{result:?}");
    (test_env, result)
}

/// Returns true if a file is a mark for or against a backup.
fn is_mark(name: &str) -> bool {
    ["damaged", "unrestorable", "drilled"].iter().any(|word| name.contains(&format!(".{word}.")))
}

fn drill(test_env: &TestEnv, identity: &Path) -> CommandOutput {
    finish(test_env.command().args(["drill", "--identity"]).arg(identity))
}

#[test]
fn detects_a_missing_row() {
    let (test_env, result) = forged("delete from orders where id = 7");
    result.expect(4).shows("table public.orders: rows: expected 1000, found 999").stdout_shows("damaged");
    // Table names are stored encrypted only.
    let mark = fs::read_to_string(
        test_env.local().join("main/shop").join(
            files(&test_env.local().join("main/shop"))
                .iter()
                .find(|name| name.contains(".damaged.") && !name.contains("details"))
                .unwrap(),
        ),
    );
    let mark = mark.unwrap();
    assert!(!mark.contains("orders") && mark.contains("comparisons differ"), "{mark}");
    // `verify` decodes the backup without errors, but the damage remains, and the next drill
    // reports it.
    test_env.longshore(&["verify"]).expect(0);
    test_env.longshore(&["status"]).expect(4).shows("found by a drill");
    test_env.run_with_identity(&["drill"]).expect(4).shows("found 999");
    test_env.run_with_identity(&["verify"]).expect(4).shows("these are the details of another backup");
}

#[test]
fn detects_a_changed_value() {
    let (_workshop, result) = forged("update orders set total = 0 where id = 7");
    result.expect(4).shows("table public.orders: content: expected").omits("rows: expected");
}

#[test]
fn detects_an_emptied_table() {
    let (_workshop, result) = forged("truncate customers");
    result.expect(4).shows("table public.customers: rows: expected 10, found 0");
}

#[test]
fn detects_a_reset_sequence() {
    let (_workshop, result) = forged("select setval('orders_id_seq', 10)");
    result.expect(4).shows("sequence public.orders_id_seq: value: expected 1000, found 10");
}

#[test]
fn detects_missing_and_surplus_objects() {
    let (_workshop, result) = forged("drop index by_total; alter table customers rename to clients");
    let result = result.expect(4).shows("INDEX public by_total postgres: presence: expected present, found missing");
    result
        .shows("TABLE public customers postgres: presence: expected present, found missing")
        .shows("TABLE public clients postgres: presence: expected missing, found present");
}

#[test]
fn detects_a_missing_role() {
    let test_env = test_env(&Job { encrypt: Some("{ type = 'none' }"), ..Job::default() });
    test_env.cluster.psql("shop", "create role clerk; alter table orders owner to clerk;");
    run(&test_env);
    let folder = test_env.local().join("main/globals");
    let artifact = file_with(&folder, ".sql.zst");
    let zstd = |arguments: &str| {
        let script = format!("zstd -q {arguments} && mv work '{}'", artifact.display());
        assert!(Command::new("sh").args(["-c", &script]).current_dir(test_env.path("")).status().unwrap().success());
    };
    zstd(&format!("-d -c '{}' | grep -v clerk > plain && zstd -q -c plain > work", artifact.display()));
    let (plain, sealed) = (fs::read(test_env.path("plain")).unwrap(), fs::read(&artifact).unwrap());
    edit(&newest(&folder), |manifest| {
        manifest["artifact"]["plaintext"] = digest(&plain);
        manifest["artifact"]["sealed"] = digest(&sealed);
    });
    let result = test_env.longshore(&["drill"]).expect(4);
    result.shows("CREATE ROLE clerk: presence: expected present, found missing");
}

#[test]
fn detects_an_older_artifact() {
    let test_env = test_env(&Job::default());
    let folder = run(&test_env);
    let before = fs::read(file_with(&folder, ".dump.zst.age")).unwrap();
    fs::remove_dir_all(test_env.local().join("main")).unwrap();
    test_env.cluster.psql("shop", "insert into orders (total) values (1)");
    run(&test_env);
    let artifact = file_with(&folder, ".dump.zst.age");
    let mut swapped = before.clone();
    // A listing compares sizes, so the size must match.
    swapped.resize(usize::try_from(fs::metadata(&artifact).unwrap().len()).unwrap(), 0);
    fs::write(&artifact, swapped).unwrap();
    drill(&test_env, &test_env.identity()).expect(4).stdout_shows("damaged");
    assert!(files(&folder).iter().any(|name| name.contains(".damaged.")));
}

#[test]
fn detects_an_edited_manifest() {
    let test_env = test_env(&Job::default());
    let folder = run(&test_env);
    edit(&newest(&folder), |manifest| manifest["artifact"]["plaintext"]["blake3"] = "0".repeat(64).into());
    drill(&test_env, &test_env.identity()).expect(4).stdout_shows("damaged");
}

#[test]
fn unexpected_query_result_fails_the_drill() {
    let query =
        |sql: &str, wants: &str| format!("[[job.nightly.drill.query]]\ndatabase = 'shop'\nsql = \"{sql}\"\n{wants}\n");
    let good = query("select count(*) from orders", "at_least = 1000")
        + &query("select 'a', null", "answer = 'a'")
        + &query("select now()", "newer_than = '1h'");
    let test_env = test_env(&Job { more: &good, ..Job::default() });
    run(&test_env);
    test_env.run_with_identity(&["drill"]).expect(0);
    let bad = query("select null", "answer = ''");
    test_env.configure(&Job { more: &bad, ..Job::default() });
    test_env.run_with_identity(&["drill"]).expect(4).shows("query of shop").shows("found null");
}

#[test]
fn failed_query_is_not_damage() {
    let query = "[[job.nightly.drill.query]]\ndatabase = 'shop'\nsql = 'delete from orders'\nanswer = ''\n";
    let test_env = test_env(&Job { more: query, ..Job::default() });
    let folder = run(&test_env);
    test_env.run_with_identity(&["drill"]).expect(1).shows("read-only transaction");
    assert!(!files(&folder).iter().any(|name| is_mark(name)));
}

#[test]
fn foreign_identity_is_not_damage() {
    let test_env = test_env(&Job::default());
    run(&test_env);
    let other = test_env.path("other.txt");
    assert!(Command::new("age-keygen").arg("-o").arg(&other).stderr(Stdio::null()).status().unwrap().success());
    drill(&test_env, &other).expect(2).shows("none of the identities given decrypts it");
    test_env.longshore(&["drill"]).expect(1).shows("--identity ").shows("identity.txt");
    assert!(!files(&test_env.local()).iter().any(|name| is_mark(name)));
}

#[test]
fn missing_postgresql_release_is_not_damage() {
    let newer = Installation::of_major(17);
    let test_env = TestEnv::with_cluster(Cluster::start(&newer, &[]));
    let old = Installation::of_major(15).bin_dir;
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", old.display());
    let bin_dir = format!("bin_dir = '{}'", newer.bin_dir.display());
    test_env.configure(&Job { cluster: &bin_dir, more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env
        .run_with_identity(&["drill"])
        .expect(2)
        .shows("PostgreSQL 17")
        .shows("is not installed here")
        .shows("apt-get install");
    assert!(!files(&test_env.local()).iter().any(|name| is_mark(name)));
}
