//! Anyone who can write to a destination can store an unsealed backup there, and a restore would
//! execute its content. Unsealed backups are reported and refused where sealed backups are
//! expected.

use std::fs;
use std::path::Path;

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::Value;

use crate::support::{Job, TestEnv, files, manifest};

const DUMP: &str = "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'] }]";
const SEALED: Job<'_> =
    Job { dump: DUMP, encrypt: None, ship: &[], remote: &[], settings: &[], cluster: "", more: "max_age = 'none'\n" };
const UNSEALED: Job<'_> = Job { encrypt: Some("{ type = 'none' }"), ..SEALED };

/// Returns an environment with a run of this job.
fn with_run(job: &Job<'_>) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create table t as select 1 n");
    test_env.configure(job);
    test_env.longshore(&["run"]).expect(0);
    test_env
}

/// Returns the state of each backup at the usual destination, as listed.
fn states(test_env: &TestEnv) -> Vec<String> {
    let listed = test_env.json(&["list", "--all", "--json"]);
    let state = |backup: &Value| backup["destinations"]["local"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(state).collect()
}

/// Changes the configuration.
fn edit(test_env: &TestEnv, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(test_env.config_path()).unwrap();
    fs::write(test_env.config_path(), change(text)).unwrap();
}

#[test]
fn unencrypted_backup_replaces_no_encrypted_one() {
    let test_env = with_run(&UNSEALED);
    let to = |name: &str| format!("{} dbname={name}", test_env.cluster.connection());
    let (far, file) = (to("far"), test_env.path("shop.dump").display().to_string());

    // A job with `encrypt = none` expects unsealed backups, even if an identity is given.
    assert_eq!(states(&test_env), ["whole", "whole"]);
    test_env.run_with_identity(&["restore", "shop", "--create", "--to", &to("own")]).expect(0);

    // A job that encrypts expects sealed backups only.
    test_env.configure(&SEALED);
    assert_eq!(states(&test_env), ["unsealed", "unsealed"]);
    test_env.longshore(&["list"]).expect(0).shows("unsealed");
    let shop = ["restore", "shop", "--create", "--to", &far];
    let (everything, alone) =
        (["restore", "--run", "latest", "--create", "--to", &far], ["restore", "shop", "-o", &file]);
    let globals = ["restore", "globals", "--to", &far];
    for restore in [&shop[..], &[&shop[..], &["--plan"]].concat(), &everything, &alone, &globals, &["drill"]] {
        let result = test_env
            .run_with_identity(restore)
            .expect(6)
            .shows("unsealed, although job \"nightly\" encrypts its backups");
        result.shows("--allow-unsealed");
    }
    test_env.longshore(&shop).expect(6);
    assert!(test_env.cluster.psql("postgres", "select 1 from pg_database where datname = 'far'").is_empty());
    assert!(!Path::new(&file).exists());
    let allowed = [&shop[..], &["--allow-unsealed"]].concat();
    test_env.run_with_identity(&allowed).expect(0).shows("unsealed, although job \"nightly\" encrypts");
    test_env.run_with_identity(&["drill", "--allow-unsealed"]).expect(0).shows("unsealed, although");

    // A job that is not in the configuration may encrypt: a configured identity implies encryption.
    edit(&test_env, |text| text.replace("[job.nightly]", "[job.other]"));
    assert_eq!(states(&test_env), ["whole", "whole"]);
    test_env.run_with_identity(&alone).expect(6).shows("its job is not in the configuration");
    test_env.longshore(&alone).expect(0);
    let identity = format!("[identity]\nfile = '{}'\n", test_env.identity().display());
    edit(&test_env, |text| text.replace("[cluster.main]", &format!("{identity}[cluster.main]")));
    assert_eq!(states(&test_env), ["unsealed", "unsealed"]);
    test_env.longshore(&["restore", "shop", "-o", &format!("{file}.again")]).expect(6);
}

#[test]
fn unencrypted_globals_are_not_restored_with_database() {
    let test_env = with_run(&SEALED);
    let globals = test_env.local().join("main/globals");
    let own = manifest(&globals);
    let sealed: Value = serde_json::from_slice(&fs::read(&own).unwrap()).unwrap();
    fs::remove_dir_all(&globals).unwrap();
    test_env.cluster.psql("postgres", "create role mallory superuser");
    test_env.configure(&UNSEALED);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    // Replaces the globals that the database needs with the globals of another run.
    let stem = own.file_stem().unwrap().to_str().unwrap().to_owned();
    let other = files(&globals).into_iter().find(|name| name.ends_with(".sql.zst")).unwrap();
    let other = other.strip_suffix(".sql.zst").unwrap().to_owned();
    let text = fs::read_to_string(globals.join(format!("{other}.json"))).unwrap();
    let mut forged: Value = serde_json::from_str(&text.replace(&other, &stem)).unwrap();
    for field in ["time", "run", "run_backups", "started", "finished"] {
        forged[field] = sealed[field].clone();
    }
    for ending in [".sql.zst", ".details.json"] {
        fs::rename(globals.join(format!("{other}{ending}")), globals.join(format!("{stem}{ending}"))).unwrap();
    }
    for name in files(&globals).iter().filter(|name| name.contains(&other)) {
        fs::remove_file(globals.join(name)).unwrap();
    }
    fs::write(&own, serde_json::to_vec(&forged).unwrap()).unwrap();
    for name in files(&test_env.local().join("main/shop")) {
        if name.contains(".zst") && !name.contains(".age") || name.contains(other.trim_start_matches("globals-")) {
            fs::remove_file(test_env.local().join("main/shop").join(name)).unwrap();
        }
    }
    test_env.configure(&SEALED);

    let target = Cluster::start(&Installation::system(), &[]);
    let to = format!("{} dbname=shop", target.connection());
    let with_globals = ["restore", "shop", "--globals", "--create", "--to", &to];
    test_env.run_with_identity(&with_globals).expect(6).shows("main/globals/").shows("unsealed, although");
    test_env.run_with_identity(&["restore", "--run", "latest", "--create", "--to", &to]).expect(6);
    test_env.run_with_identity(&["drill"]).expect(6).shows("main/globals/");
    assert!(target.psql("postgres", "select 1 from pg_roles where rolname = 'mallory'").is_empty());
    // Even a job without encryption refuses unsealed globals beside sealed databases.
    test_env.configure(&UNSEALED);
    test_env.run_with_identity(&with_globals).expect(6).shows("the backups of its run are encrypted");
    test_env.run_with_identity(&["restore", "shop", "--create", "--to", &to]).expect(0);
    assert_eq!(target.psql("shop", "select n from t"), "1");
}
