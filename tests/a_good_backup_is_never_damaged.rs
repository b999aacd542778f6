//! Only failures of bytes, rows and constraints count as damage. Any other obstacle to a drill
//! leaves the backup unmarked, and a wrong mark can be withdrawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ended, Job, Workshop, file_with, files};

const PLAIN: Job<'_> = Job {
    dump: "[{ type = 'pg_dump', databases = ['shop'], format = 'plain' }]",
    encrypt: Some("{ type = 'none' }"),
    ship: &[],
    elsewhere: &[],
    terms: &[],
    cluster: "",
    more: "max_age = 'none'\n",
};

/// Returns a workshop whose job dumps database `shop`, made by `sql`, unencrypted and as a script.
fn shop(sql: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("shop", sql);
    workshop.configure(&PLAIN);
    workshop.longshore(&["run"]).expect(0);
    workshop
}

fn folder(workshop: &Workshop) -> PathBuf {
    workshop.local().join("main/shop")
}

/// Returns the marks beside the backup.
fn marks(workshop: &Workshop) -> Vec<String> {
    let words = [".damaged.", ".unrestorable.", ".drilled.", ".verified.", ".withdrawn."];
    files(&folder(workshop)).into_iter().filter(|name| words.iter().any(|word| name.contains(word))).collect()
}

fn digest(bytes: &[u8]) -> Value {
    use std::io::Write;
    let mut sha256sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sha256sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let told = String::from_utf8(sha256sum.wait_with_output().unwrap().stdout).unwrap();
    json!({ "bytes": bytes.len(), "sha256": told[..64] })
}

fn zstd(workshop: &Workshop, arguments: &str, file: &Path) -> Vec<u8> {
    let script = format!("zstd -q {arguments} -c '{}'", file.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir(workshop.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Changes a line of the script and all digests, as if the database had been dumped that way.
fn forge(workshop: &Workshop, from: &str, to: &str) {
    let artifact = file_with(&folder(workshop), ".sql.zst");
    let script = String::from_utf8(zstd(workshop, "-d", &artifact)).unwrap();
    assert!(script.contains(from), "{script}");
    let forged = script.replacen(from, to, 1);
    fs::write(workshop.path("plain"), &forged).unwrap();
    let packed = zstd(workshop, "", &workshop.path("plain"));
    fs::write(&artifact, &packed).unwrap();
    let path = folder(workshop).join(
        files(&folder(workshop)).into_iter().find(|name| name.ends_with(".json") && !name.contains("details")).unwrap(),
    );
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["artifact"]["plaintext"] = digest(forged.as_bytes());
    manifest["artifact"]["sealed"] = digest(&packed);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Expects that a drill fails and leaves the state of the backup unchanged.
fn not_drilled(workshop: &Workshop) -> Ended {
    let ended = workshop
        .longshore(&["drill", "--trust-script"])
        .expect(2)
        .says("does not mean that the backup is damaged")
        .keeps_quiet_about("DAMAGED");
    assert!(marks(workshop).is_empty(), "{:?}", marks(workshop));
    workshop.longshore(&["status"]).expect(0);
    ended
}

const TABLES: &str = "create table owners (id int primary key, name text not null check (length(name) > 1)); \
     create table pets (id int primary key, owner int references owners); \
     insert into owners values (1, 'ann'), (2, 'bob'); insert into pets values (7, 1), (8, 2);";

#[test]
fn rows_and_constraints_that_fail_are_damage() {
    for (from, to, what) in [
        ("1\tann\n", "one\tann\n", "a value of a wrong type"),
        ("1\tann\n", "1\tann\tx\n", "a line with an extra column"),
        ("2\tbob\n", "1\tbob\n", "a duplicate key"),
        ("8\t2\n", "8\t3\n", "a reference to a missing row"),
        ("1\tann\n", "1\ta\n", "a row that breaks a check"),
        ("1\tann\n", "1\t\\N\n", "a null in a not-null column"),
    ] {
        let workshop = shop(TABLES);
        forge(&workshop, from, to);
        let ended = workshop.longshore(&["drill", "--trust-script"]);
        assert_eq!(ended.code, Some(4), "{what}: {ended:?}");
        ended.says("DAMAGED").says("--withdraw");
        assert!(marks(&workshop).iter().any(|name| name.contains(".damaged.")), "{what}");
        workshop.longshore(&["status"]).expect(4).says("found by a drill");
    }
}

#[test]
fn checks_that_look_elsewhere_are_no_damage() {
    // The function reads a table that is filled later. The source filled the tables in another
    // order.
    let workshop = shop(
        "create table a_orders (owner int); create table owners (id int); insert into owners values (1); \
         create function known(int) returns bool language sql as 'select exists (select from public.owners where id = $1)'; \
         alter table a_orders add constraint known check (known(owner)); insert into a_orders values (1);",
    );
    not_drilled(&workshop).says("NOT DRILLED");
}

#[test]
fn checks_that_time_has_broken_are_no_damage() {
    let workshop = shop(
        "create table offers (until timestamptz); insert into offers values (now() + interval '2 s'); \
         alter table offers add check (until > now());",
    );
    std::thread::sleep(std::time::Duration::from_secs(3));
    not_drilled(&workshop);
}

#[test]
fn views_that_nothing_can_restore_are_no_damage() {
    let workshop = shop("create view v as select 1 as n; create or replace view v as select n from v;");
    not_drilled(&workshop).says("NOT DRILLED");
}

#[test]
fn rows_that_an_event_trigger_writes_are_no_damage() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql(
        "shop",
        "create table audit (tag text); create table t as select generate_series(1, 50) i; \
         create materialized view m as select count(*) n from t; \
         create function note() returns event_trigger language plpgsql security definer set search_path = public \
         as $$ begin insert into audit values (tg_tag); end $$; \
         create event trigger note on ddl_command_end execute function note(); create table u ();",
    );
    let server = format!(
        "[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{}' }}",
        workshop.cluster.connection()
    );
    for more in ["", &server] {
        let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
        workshop.configure(&Job { dump, encrypt: PLAIN.encrypt, more, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        workshop.longshore(&["drill"]).expect(0);
        fs::remove_dir_all(workshop.local().join("main")).unwrap();
    }
}

/// Returns a workshop whose job dumps database `shop`, made by `sql`, unencrypted and as an
/// archive.
fn archived(sql: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("shop", sql);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..PLAIN });
    workshop.longshore(&["run"]).expect(0);
    workshop
}

#[test]
fn rows_that_refreshed_views_write_are_no_damage() {
    let workshop = archived(
        "create sequence numbers; create table taken (n bigint); \
         create function take() returns bigint language plpgsql as \
         $$ begin insert into public.taken values (nextval('public.numbers')); return 1; end $$; \
         create materialized view m as select take();",
    );
    workshop.longshore(&["drill"]).expect(0).says("functions that views call").keeps_quiet_about("DAMAGED");
}

#[test]
fn foreign_keys_that_the_source_breaks_are_no_damage() {
    let workshop = archived(
        "create table owners (id int primary key); create table pets (owner int references owners); \
         set session_replication_role = replica; insert into pets values (99);",
    );
    not_drilled(&workshop).says("pets_owner_fkey").says("NOT VALID");
}

#[test]
fn a_failed_drill_of_0_1_0_asks_for_another() {
    let workshop = shop(TABLES);
    let manifest = file_with(&folder(&workshop), ".details.");
    let stem = manifest.file_name().unwrap().to_str().unwrap().split(".details").next().unwrap().to_owned();
    let mark = json!({ "longshore": "0.1.0", "by": "root@db1", "why": "restored, but 1 of 4 comparisons differ" });
    let name = format!("{stem}.unrestorable.2026-01-01_000000.json");
    fs::write(folder(&workshop).join(name), mark.to_string()).unwrap();
    workshop.longshore(&["list", "shop"]).expect(0).says("a drill by 0.1.0 failed: drill again");
    workshop.longshore(&["status"]).says("a drill by 0.1.0 failed: drill again").keeps_quiet_about("CRITICAL");
    workshop.longshore(&["restore", "shop", "--output", workshop.path("out.sql").to_str().unwrap()]).expect(0);
    workshop.longshore(&["drill", "--trust-script"]).expect(0);
    workshop.longshore(&["status"]).expect(0).keeps_quiet_about("drill again");
}

#[test]
fn a_wrong_mark_is_withdrawn_and_stays_where_it_is() {
    let workshop = shop(TABLES);
    workshop.longshore(&["mark", "shop", "--withdraw"]).expect(1).says("has no mark damaged");
    let artifact = file_with(&folder(&workshop), ".sql.zst");
    let good = fs::read(&artifact).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 0xff;
    fs::write(&artifact, &bad).unwrap();
    workshop.longshore(&["verify"]).expect(4);
    fs::write(&artifact, &good).unwrap();
    workshop.longshore(&["status"]).expect(4).says("longshore mark").says("--withdraw");
    let before = marks(&workshop);
    workshop
        .longshore(&["mark", "shop", "--withdraw", "--why", "a faulty cable"])
        .expect(0)
        .says("withdrew marks of main/shop");
    workshop.longshore(&["status"]).expect(0);
    let after = marks(&workshop);
    assert!(before.iter().all(|name| after.contains(name)) && after.len() == before.len() + 1, "{after:?}");
    let withdrawal = fs::read_to_string(file_with(&folder(&workshop), ".withdrawn.")).unwrap();
    assert!(withdrawal.contains("a faulty cable") && withdrawal.contains("\"damaged."), "{withdrawal}");
    // After a withdrawal, damage that is detected again counts again.
    fs::write(&artifact, &bad).unwrap();
    workshop.longshore(&["verify"]).expect(4);
    workshop.longshore(&["status"]).expect(4);
}
