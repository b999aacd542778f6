//! Only failures of bytes, rows and constraints count as damage. Any other obstacle to a drill
//! leaves the backup unmarked, and a wrong mark can be withdrawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{CommandOutput, Job, TestEnv, file_with, files};

const PLAIN: Job<'_> = Job {
    dump: "[{ type = 'pg_dump', databases = ['shop'], format = 'plain' }]",
    encrypt: Some("{ type = 'none' }"),
    ship: &[],
    remote: &[],
    settings: &[],
    cluster: "",
    more: "max_age = 'none'\n",
};

/// Returns an environment whose job dumps database `shop`, made by `sql`, unencrypted, as a script.
fn shop(sql: &str) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", sql);
    test_env.configure(&PLAIN);
    test_env.longshore(&["run"]).expect(0);
    test_env
}

fn folder(test_env: &TestEnv) -> PathBuf {
    test_env.local().join("main/shop")
}

/// Returns the marks beside the backup.
fn marks(test_env: &TestEnv) -> Vec<String> {
    let words = [".damaged.", ".unrestorable.", ".drilled.", ".verified.", ".withdrawn."];
    files(&folder(test_env)).into_iter().filter(|name| words.iter().any(|word| name.contains(word))).collect()
}

fn digest(bytes: &[u8]) -> Value {
    use std::io::Write;
    let mut sha256sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sha256sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = String::from_utf8(sha256sum.wait_with_output().unwrap().stdout).unwrap();
    json!({ "bytes": bytes.len(), "sha256": output[..64] })
}

fn zstd(test_env: &TestEnv, arguments: &str, file: &Path) -> Vec<u8> {
    let script = format!("zstd -q {arguments} -c '{}'", file.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir(test_env.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Changes a line of the script and all digests, as if the database had been dumped that way.
fn forge(test_env: &TestEnv, from: &str, to: &str) {
    let artifact = file_with(&folder(test_env), ".sql.zst");
    let script = String::from_utf8(zstd(test_env, "-d", &artifact)).unwrap();
    assert!(script.contains(from), "{script}");
    let forged = script.replacen(from, to, 1);
    fs::write(test_env.path("plain"), &forged).unwrap();
    let packed = zstd(test_env, "", &test_env.path("plain"));
    fs::write(&artifact, &packed).unwrap();
    let path = folder(test_env).join(
        files(&folder(test_env)).into_iter().find(|name| name.ends_with(".json") && !name.contains("details")).unwrap(),
    );
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["artifact"]["plaintext"] = digest(forged.as_bytes());
    manifest["artifact"]["sealed"] = digest(&packed);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Expects that a drill fails and leaves the state of the backup unchanged.
fn not_drilled(test_env: &TestEnv) -> CommandOutput {
    let result = test_env
        .longshore(&["drill", "--trust-script"])
        .expect(2)
        .shows("does not mean that the backup is damaged")
        .stdout_omits("damaged");
    assert!(marks(test_env).is_empty(), "{:?}", marks(test_env));
    test_env.longshore(&["status"]).expect(0);
    result
}

const TABLES: &str = "create table owners (id int primary key, name text not null check (length(name) > 1)); \
     create table pets (id int primary key, owner int references owners); \
     insert into owners values (1, 'ann'), (2, 'bob'); insert into pets values (7, 1), (8, 2);";

#[test]
fn failing_rows_and_constraints_are_damage() {
    for (from, to, what) in [
        ("1\tann\n", "one\tann\n", "a value of a wrong type"),
        ("1\tann\n", "1\tann\tx\n", "a line with an extra column"),
        ("2\tbob\n", "1\tbob\n", "a duplicate key"),
        ("8\t2\n", "8\t3\n", "a reference to a missing row"),
        ("1\tann\n", "1\ta\n", "a row that breaks a check"),
        ("1\tann\n", "1\t\\N\n", "a null in a not-null column"),
    ] {
        let test_env = shop(TABLES);
        forge(&test_env, from, to);
        let result = test_env.longshore(&["drill", "--trust-script"]);
        assert_eq!(result.code, Some(4), "{what}: {result:?}");
        result.stdout_shows("damaged").shows("--withdraw");
        assert!(marks(&test_env).iter().any(|name| name.contains(".damaged.")), "{what}");
        test_env.longshore(&["status"]).expect(4).shows("found by a drill");
    }
}

#[test]
fn checks_on_other_tables_are_not_damage() {
    // The function reads a table that is filled later. The source filled the tables in another
    // order.
    let test_env = shop(
        "create table a_orders (owner int); create table owners (id int); insert into owners values (1); \
         create function known(int) returns bool language sql as 'select exists (select from public.owners where id = $1)'; \
         alter table a_orders add constraint known check (known(owner)); insert into a_orders values (1);",
    );
    not_drilled(&test_env).stdout_shows("not drilled");
}

#[test]
fn expired_checks_are_not_damage() {
    let test_env = shop(
        "create table offers (until timestamptz); insert into offers values (now() + interval '2 s'); \
         alter table offers add check (until > now());",
    );
    std::thread::sleep(std::time::Duration::from_secs(3));
    not_drilled(&test_env);
}

#[test]
fn unrestorable_views_are_not_damage() {
    let test_env = shop("create view v as select 1 as n; create or replace view v as select n from v;");
    not_drilled(&test_env).stdout_shows("not drilled");
}

#[test]
fn event_trigger_rows_are_not_damage() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql(
        "shop",
        "create table audit (tag text); create table t as select generate_series(1, 50) i; \
         create materialized view m as select count(*) n from t; \
         create function note() returns event_trigger language plpgsql security definer set search_path = public \
         as $$ begin insert into audit values (tg_tag); end $$; \
         create event trigger note on ddl_command_end execute function note(); create table u ();",
    );
    let server = format!(
        "[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{}' }}",
        test_env.cluster.connection()
    );
    for more in ["", &server] {
        let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
        test_env.configure(&Job { dump, encrypt: PLAIN.encrypt, more, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        test_env.longshore(&["drill"]).expect(0);
        fs::remove_dir_all(test_env.local().join("main")).unwrap();
    }
}

/// Returns an environment whose job dumps database `shop`, made by `sql`, unencrypted and as an
/// archive.
fn archived(sql: &str) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", sql);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..PLAIN });
    test_env.longshore(&["run"]).expect(0);
    test_env
}

#[test]
fn refreshed_view_rows_are_not_damage() {
    let test_env = archived(
        "create sequence numbers; create table taken (n bigint); \
         create function take() returns bigint language plpgsql as \
         $$ begin insert into public.taken values (nextval('public.numbers')); return 1; end $$; \
         create materialized view m as select take();",
    );
    test_env.longshore(&["drill"]).expect(0).shows("functions that views call").stdout_omits("damaged");
}

#[test]
fn foreign_keys_broken_in_the_source_are_not_damage() {
    let test_env = archived(
        "create table owners (id int primary key); create table pets (owner int references owners); \
         set session_replication_role = replica; insert into pets values (99);",
    );
    not_drilled(&test_env).shows("pets_owner_fkey").shows("NOT VALID");
}

#[test]
fn failed_drill_of_0_1_0_requires_another() {
    let test_env = shop(TABLES);
    let manifest = file_with(&folder(&test_env), ".details.");
    let stem = manifest.file_name().unwrap().to_str().unwrap().split(".details").next().unwrap().to_owned();
    let mark = json!({ "longshore": "0.1.0", "by": "root@db1", "why": "restored, but 1 of 4 comparisons differ" });
    let name = format!("{stem}.unrestorable.2026-01-01_000000.json");
    fs::write(folder(&test_env).join(name), mark.to_string()).unwrap();
    test_env.longshore(&["list", "shop"]).expect(0).shows("a drill by 0.1.0 failed: drill again");
    test_env.longshore(&["status"]).shows("a drill by 0.1.0 failed: drill again").omits("critical");
    test_env.longshore(&["restore", "shop", "--output", test_env.path("out.sql").to_str().unwrap()]).expect(0);
    test_env.longshore(&["drill", "--trust-script"]).expect(0);
    test_env.longshore(&["status"]).expect(0).omits("drill again");
}

#[test]
fn wrong_mark_can_be_withdrawn_and_is_kept() {
    let test_env = shop(TABLES);
    test_env.longshore(&["mark", "shop", "--withdraw"]).expect(1).shows("has no mark damaged");
    let artifact = file_with(&folder(&test_env), ".sql.zst");
    let good = fs::read(&artifact).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 0xff;
    fs::write(&artifact, &bad).unwrap();
    test_env.longshore(&["verify"]).expect(4);
    fs::write(&artifact, &good).unwrap();
    test_env.longshore(&["status"]).expect(4).shows("longshore mark").shows("--withdraw");
    let before = marks(&test_env);
    test_env
        .longshore(&["mark", "shop", "--withdraw", "--why", "a faulty cable"])
        .expect(0)
        .stdout_shows("marks withdrawn")
        .stdout_shows("main/shop");
    test_env.longshore(&["status"]).expect(0);
    let after = marks(&test_env);
    assert!(before.iter().all(|name| after.contains(name)) && after.len() == before.len() + 1, "{after:?}");
    let withdrawal = fs::read_to_string(file_with(&folder(&test_env), ".withdrawn.")).unwrap();
    assert!(withdrawal.contains("a faulty cable") && withdrawal.contains("\"damaged."), "{withdrawal}");
    // After a withdrawal, damage that is detected again counts again.
    fs::write(&artifact, &bad).unwrap();
    test_env.longshore(&["verify"]).expect(4);
    test_env.longshore(&["status"]).expect(4);
}
