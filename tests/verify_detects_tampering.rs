//! A backup whose artifact was rebuilt by an attacker, with matching digests, differs from its
//! encrypted details. `verify --identity`, drills and restores detect the difference before any of
//! its SQL runs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Job, TestEnv, file_with, files, manifest};

const SHOP: &str = "create type mood as enum ('good'); create role clerk; create role guard password 'before';
    create table orders (id serial primary key, total int);
    insert into orders (total) select n from generate_series(1, 1000) n;
    create table customers as select n from generate_series(1, 10) n; create table prices as select 1 as price;
    create table notes (note varchar(10)); alter table notes enable row level security;
    create policy own on notes using (note = current_user);
    create function f() returns int language sql as 'select 1'; create view v as select 1 as a;
    create view kept as select 2 as b; alter database shop set work_mem = '4MB';";

/// The changes of an attacker, with the expected reports.
const CHANGES: [(&str, &str); 11] = [
    ("delete from orders where id = 7", "table public.orders: rows: expected 1000, found 999"),
    ("update prices set price = 2", "table public.prices: content: expected"),
    ("truncate customers", "table public.customers: rows: expected 10, found 0"),
    ("select setval('orders_id_seq', 10)", "sequence public.orders_id_seq: value: expected 1000, found 10"),
    (
        "create or replace function f() returns int language sql as 'select 2'",
        "FUNCTION public f() postgres: definition",
    ),
    ("create or replace view v as select 2 as a", "VIEW public v postgres: definition"),
    ("alter policy own on notes using (true)", "POLICY public notes own postgres: definition"),
    ("alter table notes alter column note type text", "TABLE public notes postgres: definition"),
    ("alter type mood add value 'bad'", "TYPE public mood postgres: definition"),
    ("alter database shop set work_mem = '8MB'", "DATABASE PROPERTIES - shop postgres: definition"),
    ("drop view kept", "VIEW public kept postgres: presence: expected present, found missing"),
];
const CHANGES_OF_ROLES: [(&str, &str); 2] = [
    ("alter role guard superuser password 'after'", "ALTER ROLE guard: definition: expected as recorded"),
    ("drop role clerk", "CREATE ROLE clerk: presence: expected present, found missing"),
];

/// Replaces the artifact of a backup by another backup's, and adapts the manifest.
fn exchange(root: &Path, folder: &Path, by: &Path) {
    let read = |folder: &Path| -> Value { serde_json::from_slice(&fs::read(manifest(folder)).unwrap()).unwrap() };
    let (mut of, by_whom) = (read(folder), read(by));
    let key = |manifest: &Value| manifest["artifact"]["key"].as_str().unwrap().to_owned();
    let file_name = key(&by_whom).rsplit('/').next().unwrap().to_owned();
    fs::copy(by.join(file_name), root.join(key(&of))).unwrap();
    for digest in ["plaintext", "sealed"] {
        of["artifact"][digest] = by_whom["artifact"][digest].clone();
    }
    fs::write(manifest(folder), serde_json::to_vec_pretty(&of).unwrap()).unwrap();
}

/// Returns an environment whose only run is encrypted and undamaged, but differs from its record.
fn sabotaged() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", SHOP);
    test_env.configure(&Job::default());
    test_env.longshore(&["run"]).expect(0);
    let (root, original, changed) = (test_env.local(), test_env.path("original"), test_env.path("changed"));
    fs::rename(root.join("main"), &original).unwrap();
    for (change, _) in CHANGES.iter().chain(&CHANGES_OF_ROLES) {
        test_env.cluster.psql("shop", change);
    }
    test_env.longshore(&["run"]).expect(0);
    fs::rename(root.join("main"), &changed).unwrap();
    fs::rename(&original, root.join("main")).unwrap();
    test_env.run_with_identity(&["verify"]).expect(0).shows("matches the record");
    for subject in ["shop", "globals"] {
        let folder = root.join("main").join(subject);
        let is_mark = |name: &String| name.contains(".verified.");
        files(&folder).iter().filter(|name| is_mark(name)).for_each(|name| fs::remove_file(folder.join(name)).unwrap());
        exchange(&root, &folder, &changed.join(subject));
    }
    test_env
}

#[test]
fn verify_names_every_change() {
    let test_env = sabotaged();
    let result = test_env.run_with_identity(&["verify"]).expect(4).stdout_shows("damaged");
    let result = CHANGES.iter().chain(&CHANGES_OF_ROLES).fold(result, |result, (_, report)| result.shows(report));
    result.omits("SCRAM-SHA").omits("kept: definition");
    // Table names are in no mark, and matching digests of encrypted bytes do not withdraw the
    // damage.
    let folder = test_env.local().join("main/shop");
    let mark = fs::read_to_string(file_with(&folder, ".damaged.")).unwrap();
    assert!(mark.contains("differences") && !mark.contains("orders"), "{mark}");
    test_env.longshore(&["verify"]).expect(0);
    test_env.longshore(&["sync", "--repair"]);
    assert!(!files(&folder).iter().any(|name| name.contains(".verified.")), "{:?}", files(&folder));
    test_env.longshore(&["list"]).expect(4).shows("damaged");
}

#[test]
fn restores_and_drills_run_no_tampered_sql() {
    let test_env = sabotaged();
    test_env.cluster.psql("shop", "drop role guard");
    let to = test_env.cluster.connection();
    test_env.run_with_identity(&["restore", "globals", "--to", &to]).expect(4).shows("ALTER ROLE guard: definition");
    let into = format!("{to} dbname=again");
    let again = |more: &[&str]| {
        test_env.run_with_identity(&[&["restore", "shop", "--to", &into, "--create"][..], more].concat())
    };
    again(&[]).expect(4).shows("FUNCTION public f() postgres: definition");
    let found = "select count(*) from pg_database where datname = 'again' union all select count(*) from pg_roles where rolname = 'guard'";
    assert_eq!(test_env.cluster.psql("postgres", found).split_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    again(&["--no-compare"]).expect(0);
    let drilled = test_env.run_with_identity(&["drill"]).expect(4).stdout_shows("damaged");
    drilled.shows("ALTER ROLE guard: definition");
}
