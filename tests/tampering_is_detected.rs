//! Backups that an attacker without a key put in the place of others, digests made right, and the
//! verbs that find each.
//!
//! The record of the dump stays the same: it is sealed, and its attacker cannot write another.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Job, TestEnv, files};

const SHOP: &str = "create table orders (id serial primary key, total int); \
     insert into orders (total) select n from generate_series(1, 1000) n; \
     create table customers as select n from generate_series(1, 10) n; create index by_total on orders (total); \
     create type mood as enum ('good', 'bad'); \
     create function price() returns int language sql as 'select 7'; \
     create view dear as select * from orders where total > 900; \
     alter table customers enable row level security; create policy own on customers using (n < 5);";

/// The verbs, as columns of the table.
const VERBS: [&str; 3] = ["verify", "verify --identity", "drill"];

/// The tampering that a drill does not find: a drill compares a database with the record of its
/// dump, and reads no counts of the manifest.
const NOT_DRILLED: &str = "another count";

/// A change that an attacker makes to a backup.
struct Tampering {
    name: &'static str,
    target: Target,
}

enum Target {
    /// The database is another, and so its archive.
    Shop(&'static str),
    /// The cluster is another, and so the script of its globals.
    Globals(&'static str),
    /// The manifest is another.
    Manifest(fn(&mut Value)),
    /// The archive is that of a run before, of another size.
    Swapped,
    /// The archive is sealed for another key.
    OtherKey,
}

const TAMPERINGS: [Tampering; 20] = [
    Tampering { name: "a row less", target: Target::Shop("delete from orders where id = 7") },
    Tampering { name: "another value", target: Target::Shop("update orders set total = 0 where id = 7") },
    Tampering { name: "a table emptied", target: Target::Shop("truncate customers") },
    Tampering { name: "a table dropped", target: Target::Shop("drop table customers") },
    Tampering { name: "a sequence set back", target: Target::Shop("select setval('orders_id_seq', 10)") },
    Tampering { name: "an index dropped", target: Target::Shop("drop index by_total") },
    Tampering {
        name: "a function's body",
        target: Target::Shop("create or replace function price() returns int language sql as 'select 0'"),
    },
    Tampering {
        name: "a view's body",
        target: Target::Shop("create or replace view dear as select * from orders where total > 0"),
    },
    Tampering { name: "a policy", target: Target::Shop("alter policy own on customers using (true)") },
    Tampering {
        name: "a column's type",
        target: Target::Shop(
            "drop view dear; alter table orders alter total type bigint; \
             create view dear as select * from orders where total > 900",
        ),
    },
    Tampering { name: "an enum's value", target: Target::Shop("alter type mood add value 'worse'") },
    Tampering { name: "a database's setting", target: Target::Shop("alter database shop set work_mem = '1MB'") },
    Tampering { name: "a role made superuser", target: Target::Globals("alter role clerk superuser") },
    Tampering { name: "a role dropped", target: Target::Globals("drop role spare") },
    Tampering { name: "a password", target: Target::Globals("alter role clerk password 'other'") },
    Tampering { name: "a swapped archive", target: Target::Swapped },
    Tampering { name: "another key", target: Target::OtherKey },
    Tampering {
        name: "a plaintext's digest",
        target: Target::Manifest(|manifest| manifest["artifact"]["plaintext"]["blake3"] = "0".repeat(64).into()),
    },
    Tampering {
        name: "no details named",
        target: Target::Manifest(|manifest| drop(manifest.as_object_mut().unwrap().remove("details"))),
    },
    Tampering {
        name: "another count",
        target: Target::Manifest(|manifest| {
            let totals = manifest["verified"][0]["totals"].as_object_mut().unwrap();
            totals.values_mut().for_each(|total| *total = json!(total.as_u64().unwrap() + 1));
        }),
    },
];

type Files = BTreeMap<String, Vec<u8>>;

fn read(folder: &Path) -> Files {
    files(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

fn is_manifest(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|file| file.strip_suffix(".json").is_some_and(|name| !name.contains('.')))
}

/// The manifest of a subject among files, and its name.
fn manifest(files: &Files, subject: &str) -> (String, Value) {
    let prefix = format!("main/{subject}/");
    let (name, bytes) = files.iter().find(|(name, _)| name.starts_with(&prefix) && is_manifest(name)).unwrap();
    (name.clone(), serde_json::from_slice(bytes).unwrap())
}

/// An environment for forgeries: a database, roles, and the files of one true run.
struct Forger {
    test_env: TestEnv,
    original: Files,
}

impl Forger {
    fn new() -> Self {
        let test_env = TestEnv::new();
        test_env.cluster.psql("postgres", "create role clerk password 'own'; create role spare;");
        let mut forger = Self { test_env, original: Files::new() };
        forger.original = forger.run();
        forger
    }

    /// Returns the files of a run after `change` in the database or in the cluster.
    fn run_after(&self, database: &str, change: &str) -> Files {
        self.test_env.cluster.psql(database, change);
        self.back_up()
    }

    fn run(&self) -> Files {
        let fresh = "drop database if exists shop with (force); create database shop;";
        for statement in fresh.split_inclusive(';') {
            self.test_env.cluster.psql("postgres", statement);
        }
        self.test_env.cluster.psql("shop", SHOP);
        self.back_up()
    }

    fn back_up(&self) -> Files {
        self.write_destination(&Files::new());
        self.test_env.longshore(&["run"]).expect(0);
        read(&self.test_env.local())
    }

    /// Makes the destination hold these files alone.
    fn write_destination(&self, files: &Files) {
        let local = self.test_env.local();
        for entry in fs::read_dir(&local).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        for (name, bytes) in files {
            let path = local.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// The original, with the artifact of another run in the place of its own, digests made right.
    fn tampered(&self, other: &Files, subject: &str) -> Files {
        let ((name, mut ours), (_, theirs)) = (manifest(&self.original, subject), manifest(other, subject));
        let key = |manifest: &Value| manifest["artifact"]["key"].as_str().unwrap().to_owned();
        for digest in ["plaintext", "sealed"] {
            ours["artifact"][digest] = theirs["artifact"][digest].clone();
        }
        let mut tampered = self.original.clone();
        tampered.insert(key(&ours), other[&key(&theirs)].clone());
        tampered.insert(name, serde_json::to_vec_pretty(&ours).unwrap());
        tampered
    }

    fn apply(&self, target: &Target) -> Files {
        match target {
            Target::Shop(change) => {
                self.run();
                self.tampered(&self.run_after("shop", change), "shop")
            }
            Target::Globals(change) => {
                let tampered = self.tampered(&self.run_after("postgres", change), "globals");
                let undo = "alter database shop reset all; alter role clerk nosuperuser password 'own'; \
                            drop role if exists spare; create role spare;";
                self.test_env.cluster.psql("postgres", undo);
                tampered
            }
            Target::Manifest(change) => {
                let (name, mut manifest) = manifest(&self.original, "shop");
                change(&mut manifest);
                let mut tampered = self.original.clone();
                tampered.insert(name, serde_json::to_vec_pretty(&manifest).unwrap());
                tampered
            }
            Target::Swapped => {
                let other =
                    self.run_after("shop", "insert into orders (total) select n from generate_series(1, 900) n");
                let (_, ours) = manifest(&self.original, "shop");
                let (_, theirs) = manifest(&other, "shop");
                let key = |manifest: &Value| manifest["artifact"]["key"].as_str().unwrap().to_owned();
                let mut tampered = self.original.clone();
                tampered.insert(key(&ours), other[&key(&theirs)].clone());
                tampered
            }
            Target::OtherKey => {
                let key = self.test_env.path("other.txt");
                let keygen = Command::new("age-keygen").arg("-o").arg(&key).output().unwrap();
                let output = String::from_utf8(keygen.stderr).unwrap();
                let recipient = output.trim().strip_prefix("Public key: ").unwrap();
                let encrypt = format!("{{ type = 'age', recipients = ['{recipient}'] }}");
                self.test_env.configure(&Job { encrypt: Some(&encrypt), ..Job::default() });
                let tampered = self.tampered(&self.run(), "shop");
                self.test_env.configure(&Job::default());
                tampered
            }
        }
    }

    /// The exit code of a verb on these files.
    fn code(&self, files: &Files, verb: &str) -> i32 {
        self.write_destination(files);
        let mut command = self.test_env.command();
        command.args(verb.split(' ').take(1)).stdout(Stdio::null()).stderr(Stdio::null());
        if verb != "verify" {
            command.arg("--identity").arg(self.test_env.identity());
        }
        let code = command.status().unwrap().code().unwrap();
        assert!(matches!(code, 0..=4 | 6), "{verb}: {code}");
        code
    }
}

mod slow {
    use super::*;

    /// A plain `verify` finds what the digests of sealed bytes and the manifest alone show.
    #[test]
    #[allow(clippy::print_stdout, reason = "the table of the verbs and what they found")]
    fn verify_and_drill_detect_tampering() {
        let forger = Forger::new();
        for verb in VERBS {
            assert_eq!(forger.code(&forger.original, verb), 0, "{verb} of an untouched destination");
        }
        let (mut text, mut missed) = (String::new(), Vec::new());
        for Tampering { name, target } in &TAMPERINGS {
            let tampered = forger.apply(target);
            write!(text, "\n{name:<24}").unwrap();
            for verb in VERBS {
                let code = forger.code(&tampered, verb);
                write!(text, "{:>20}", if code == 0 { "-".to_owned() } else { format!("found ({code})") }).unwrap();
                let may_miss = verb == "verify" || (verb == "drill" && *name == NOT_DRILLED);
                if code == 0 && !may_miss {
                    missed.push(format!("{verb}: {name}"));
                }
            }
        }
        println!("{:<24}{}{text}", "sabotage", VERBS.map(|verb| format!("{verb:>20}")).concat());
        assert!(missed.is_empty(), "{missed:#?}\n{text}");
    }
}
