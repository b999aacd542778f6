//! A drill detects and describes a backup that differs from its record. A wrong scratch location or
//! a wrong key is reported separately, and leaves no mark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::{Value, json};

use crate::support::{Ended, Job, Workshop, file_with, files, finish};

const SHOP: &str = "create table orders (id serial primary key, total int); \
     insert into orders (total) select n from generate_series(1, 1000) n; \
     create table customers as select n from generate_series(1, 10) n; create index by_total on orders (total);";

/// Returns a workshop with a small database.
fn workshop(job: &Job<'_>) -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("shop", SHOP);
    workshop.configure(job);
    workshop
}

/// Runs the job once, and returns the folder of `shop`.
fn run(workshop: &Workshop) -> PathBuf {
    let folder = workshop.local().join("main/shop");
    let before = fs::read_dir(&folder).map_or(0, Iterator::count);
    workshop.longshore(&["run"]).expect(0);
    assert!(fs::read_dir(&folder).unwrap().count() > before);
    folder
}

/// Returns the digest of `bytes` in the manifest's format.
fn digest(bytes: &[u8]) -> Value {
    use std::io::Write;
    let mut sha256sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sha256sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let told = String::from_utf8(sha256sum.wait_with_output().unwrap().stdout).unwrap();
    json!({ "bytes": bytes.len(), "sha256": told[..64] })
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
fn forged(change: &str) -> (Workshop, Ended) {
    let workshop = workshop(&Job::default());
    let folder = run(&workshop);
    let record = fs::read(file_with(&folder, ".details.")).unwrap();
    fs::rename(&folder, workshop.path("before")).unwrap();
    fs::remove_dir_all(workshop.local().join("main")).unwrap();
    workshop.cluster.psql("shop", change);
    run(&workshop);
    fs::write(file_with(&folder, ".details."), &record).unwrap();
    edit(&newest(&folder), |manifest| manifest["details"]["sealed"] = digest(&record));
    let ended = drill(&workshop, &workshop.identity());
    assert!(files(&folder).iter().any(|name| name.contains(".damaged.")) || ended.code != Some(4), "{ended:?}");
    (workshop, ended)
}

/// Returns true if a file is a mark for or against a backup.
fn is_judged(name: &str) -> bool {
    ["damaged", "unrestorable", "drilled"].iter().any(|word| name.contains(&format!(".{word}.")))
}

fn drill(workshop: &Workshop, identity: &Path) -> Ended {
    finish(workshop.command().args(["drill", "--identity"]).arg(identity))
}

#[test]
fn a_row_that_is_gone() {
    let (workshop, ended) = forged("delete from orders where id = 7");
    ended.expect(4).says("table public.orders: rows: expected 1000, found 999").says("DAMAGED");
    // Table names are stored encrypted only.
    let mark = fs::read_to_string(
        workshop.local().join("main/shop").join(
            files(&workshop.local().join("main/shop"))
                .iter()
                .find(|name| name.contains(".damaged.") && !name.contains("details"))
                .unwrap(),
        ),
    );
    let mark = mark.unwrap();
    assert!(!mark.contains("orders") && mark.contains("comparisons differ"), "{mark}");
    // `verify` decodes the backup without errors, but the damage remains, and the next drill
    // reports it.
    workshop.longshore(&["verify"]).expect(0);
    workshop.longshore(&["status"]).expect(4).says("found by a drill");
    workshop.opening(&["drill"]).expect(4).says("found 999");
    workshop.opening(&["verify"]).expect(4).says("these are the details of another backup");
}

#[test]
fn a_value_that_is_another() {
    let (_workshop, ended) = forged("update orders set total = 0 where id = 7");
    ended.expect(4).says("table public.orders: content: expected").keeps_quiet_about("rows: expected");
}

#[test]
fn a_table_that_is_empty() {
    let (_workshop, ended) = forged("truncate customers");
    ended.expect(4).says("table public.customers: rows: expected 10, found 0");
}

#[test]
fn a_sequence_that_was_set_back() {
    let (_workshop, ended) = forged("select setval('orders_id_seq', 10)");
    ended.expect(4).says("sequence public.orders_id_seq: value: expected 1000, found 10");
}

#[test]
fn an_index_and_a_table_that_are_missing_and_one_that_is_surplus() {
    let (_workshop, ended) = forged("drop index by_total; alter table customers rename to clients");
    let ended = ended.expect(4).says("INDEX public by_total postgres: presence: expected present, found missing");
    ended
        .says("TABLE public customers postgres: presence: expected present, found missing")
        .says("TABLE public clients postgres: presence: expected missing, found present");
}

#[test]
fn a_role_that_the_globals_lack() {
    let workshop = workshop(&Job { encrypt: Some("{ type = 'none' }"), ..Job::default() });
    workshop.cluster.psql("shop", "create role clerk; alter table orders owner to clerk;");
    run(&workshop);
    let folder = workshop.local().join("main/globals");
    let artifact = file_with(&folder, ".sql.zst");
    let zstd = |arguments: &str| {
        let script = format!("zstd -q {arguments} && mv work '{}'", artifact.display());
        assert!(Command::new("sh").args(["-c", &script]).current_dir(workshop.path("")).status().unwrap().success());
    };
    zstd(&format!("-d -c '{}' | grep -v clerk > plain && zstd -q -c plain > work", artifact.display()));
    let (plain, sealed) = (fs::read(workshop.path("plain")).unwrap(), fs::read(&artifact).unwrap());
    edit(&newest(&folder), |manifest| {
        manifest["artifact"]["plaintext"] = digest(&plain);
        manifest["artifact"]["sealed"] = digest(&sealed);
    });
    let ended = workshop.longshore(&["drill"]).expect(4);
    ended.says("CREATE ROLE clerk: presence: expected present, found missing");
}

#[test]
fn an_artifact_of_another_day() {
    let workshop = workshop(&Job::default());
    let folder = run(&workshop);
    let before = fs::read(file_with(&folder, ".dump.zst.age")).unwrap();
    fs::remove_dir_all(workshop.local().join("main")).unwrap();
    workshop.cluster.psql("shop", "insert into orders (total) values (1)");
    run(&workshop);
    let artifact = file_with(&folder, ".dump.zst.age");
    let mut swapped = before.clone();
    // A listing compares sizes, so the size must match.
    swapped.resize(usize::try_from(fs::metadata(&artifact).unwrap().len()).unwrap(), 0);
    fs::write(&artifact, swapped).unwrap();
    drill(&workshop, &workshop.identity()).expect(4).says("DAMAGED");
    assert!(files(&folder).iter().any(|name| name.contains(".damaged.")));
}

#[test]
fn a_manifest_that_was_edited() {
    let workshop = workshop(&Job::default());
    let folder = run(&workshop);
    edit(&newest(&folder), |manifest| manifest["artifact"]["plaintext"]["blake3"] = "0".repeat(64).into());
    drill(&workshop, &workshop.identity()).expect(4).says("DAMAGED");
}

#[test]
fn an_answer_that_is_not_what_its_owner_knows() {
    let query =
        |sql: &str, wants: &str| format!("[[job.nightly.drill.query]]\ndatabase = 'shop'\nsql = \"{sql}\"\n{wants}\n");
    let good = query("select count(*) from orders", "at_least = 1000")
        + &query("select 'a', null", "answer = 'a'")
        + &query("select now()", "newer_than = '1h'");
    let workshop = workshop(&Job { more: &good, ..Job::default() });
    run(&workshop);
    workshop.opening(&["drill"]).expect(0);
    let bad = query("select null", "answer = ''");
    workshop.configure(&Job { more: &bad, ..Job::default() });
    workshop.opening(&["drill"]).expect(4).says("query of shop").says("found null");
}

#[test]
fn a_query_that_cannot_be_asked_is_nothing_against_the_backup() {
    let query = "[[job.nightly.drill.query]]\ndatabase = 'shop'\nsql = 'delete from orders'\nanswer = ''\n";
    let workshop = workshop(&Job { more: query, ..Job::default() });
    let folder = run(&workshop);
    workshop.opening(&["drill"]).expect(1).says("read-only transaction");
    assert!(!files(&folder).iter().any(|name| is_judged(name)));
}

#[test]
fn a_key_that_opens_nothing_is_no_damage() {
    let workshop = workshop(&Job::default());
    run(&workshop);
    let other = workshop.path("other.txt");
    assert!(Command::new("age-keygen").arg("-o").arg(&other).stderr(Stdio::null()).status().unwrap().success());
    drill(&workshop, &other).expect(2).says("none of the identities given decrypts it");
    workshop.longshore(&["drill"]).expect(1).says("--identity ").says("identity.txt");
    assert!(!files(&workshop.local()).iter().any(|name| is_judged(name)));
}

#[test]
fn a_release_that_is_not_installed_is_no_damage() {
    let newer = Installation::of_major(17);
    let workshop = Workshop::with_cluster(Cluster::start(&newer, &[]));
    let old = Installation::of_major(15).bin_dir;
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", old.display());
    let bin_dir = format!("bin_dir = '{}'", newer.bin_dir.display());
    workshop.configure(&Job { cluster: &bin_dir, more: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["drill"]).expect(2).says("PostgreSQL 17").says("is not installed here").says("apt-get install");
    assert!(!files(&workshop.local()).iter().any(|name| is_judged(name)));
}
