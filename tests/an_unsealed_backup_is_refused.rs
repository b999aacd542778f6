//! Anyone who can write to a destination can store an unsealed backup there, and a restore would
//! execute its content. Unsealed backups are reported and refused where sealed backups are
//! expected.

use std::fs;
use std::path::Path;

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::Value;

use crate::support::{Job, Workshop, files, manifest};

const DUMP: &str = "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'] }]";
const SEALED: Job<'_> =
    Job { dump: DUMP, encrypt: None, ship: &[], elsewhere: &[], terms: &[], cluster: "", more: "max_age = 'none'\n" };
const UNSEALED: Job<'_> = Job { encrypt: Some("{ type = 'none' }"), ..SEALED };

/// Returns a workshop with a run of this job.
fn with_run(job: &Job<'_>) -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("shop", "create table t as select 1 n");
    workshop.configure(job);
    workshop.longshore(&["run"]).expect(0);
    workshop
}

/// Returns the state of each backup at the usual destination, as listed.
fn states(workshop: &Workshop) -> Vec<String> {
    let listed = workshop.json(&["list", "--all", "--json"]);
    let state = |backup: &Value| backup["destinations"]["local"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(state).collect()
}

/// Changes the configuration.
fn edit(workshop: &Workshop, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(workshop.config_path()).unwrap();
    fs::write(workshop.config_path(), change(text)).unwrap();
}

#[test]
fn an_unsealed_backup_does_not_replace_a_sealed_one() {
    let workshop = with_run(&UNSEALED);
    let to = |name: &str| format!("{} dbname={name}", workshop.cluster.connection());
    let (far, file) = (to("far"), workshop.path("shop.dump").display().to_string());

    // A job with `encrypt = none` expects unsealed backups, even if an identity is given.
    assert_eq!(states(&workshop), ["whole", "whole"]);
    workshop.opening(&["restore", "shop", "--create", "--to", &to("own")]).expect(0);

    // A job that encrypts expects sealed backups only.
    workshop.configure(&SEALED);
    assert_eq!(states(&workshop), ["unsealed", "unsealed"]);
    workshop.longshore(&["list"]).expect(0).says("unsealed");
    let shop = ["restore", "shop", "--create", "--to", &far];
    let (everything, alone) =
        (["restore", "--run", "latest", "--create", "--to", &far], ["restore", "shop", "-o", &file]);
    let globals = ["restore", "globals", "--to", &far];
    for restore in [&shop[..], &[&shop[..], &["--plan"]].concat(), &everything, &alone, &globals, &["drill"]] {
        let ended = workshop.opening(restore).expect(6).says("unsealed, although job \"nightly\" encrypts its backups");
        ended.says("--allow-unsealed");
    }
    workshop.longshore(&shop).expect(6);
    assert!(workshop.cluster.psql("postgres", "select 1 from pg_database where datname = 'far'").is_empty());
    assert!(!Path::new(&file).exists());
    let allowed = [&shop[..], &["--allow-unsealed"]].concat();
    workshop.opening(&allowed).expect(0).says("unsealed, although job \"nightly\" encrypts");
    workshop.opening(&["drill", "--allow-unsealed"]).expect(0).says("unsealed, although");

    // A job that is not in the configuration may encrypt: a configured identity implies encryption.
    edit(&workshop, |text| text.replace("[job.nightly]", "[job.other]"));
    assert_eq!(states(&workshop), ["whole", "whole"]);
    workshop.opening(&alone).expect(6).says("its job is not in the configuration");
    workshop.longshore(&alone).expect(0);
    let identity = format!("[identity]\nfile = '{}'\n", workshop.identity().display());
    edit(&workshop, |text| text.replace("[cluster.main]", &format!("{identity}[cluster.main]")));
    assert_eq!(states(&workshop), ["unsealed", "unsealed"]);
    workshop.longshore(&["restore", "shop", "-o", &format!("{file}.again")]).expect(6);
}

#[test]
fn unsealed_globals_do_not_come_along_with_a_sealed_database() {
    let workshop = with_run(&SEALED);
    let globals = workshop.local().join("main/globals");
    let own = manifest(&globals);
    let sealed: Value = serde_json::from_slice(&fs::read(&own).unwrap()).unwrap();
    fs::remove_dir_all(&globals).unwrap();
    workshop.cluster.psql("postgres", "create role mallory superuser");
    workshop.configure(&UNSEALED);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
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
    for name in files(&workshop.local().join("main/shop")) {
        if name.contains(".zst") && !name.contains(".age") || name.contains(other.trim_start_matches("globals-")) {
            fs::remove_file(workshop.local().join("main/shop").join(name)).unwrap();
        }
    }
    workshop.configure(&SEALED);

    let target = Cluster::start(&Installation::system(), &[]);
    let to = format!("{} dbname=shop", target.connection());
    let with_globals = ["restore", "shop", "--globals", "--create", "--to", &to];
    workshop.opening(&with_globals).expect(6).says("main/globals/").says("unsealed, although");
    workshop.opening(&["restore", "--run", "latest", "--create", "--to", &to]).expect(6);
    workshop.opening(&["drill"]).expect(6).says("main/globals/");
    assert!(target.psql("postgres", "select 1 from pg_roles where rolname = 'mallory'").is_empty());
    // Even a job without encryption refuses unsealed globals beside sealed databases.
    workshop.configure(&UNSEALED);
    workshop.opening(&with_globals).expect(6).says("the backups of its run are encrypted");
    workshop.opening(&["restore", "shop", "--create", "--to", &to]).expect(0);
    assert_eq!(target.psql("shop", "select n from t"), "1");
}
