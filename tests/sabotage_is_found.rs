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

use crate::support::{Job, Workshop, files};

const SHOP: &str = "create table orders (id serial primary key, total int); \
     insert into orders (total) select n from generate_series(1, 1000) n; \
     create table customers as select n from generate_series(1, 10) n; create index by_total on orders (total); \
     create type mood as enum ('good', 'bad'); \
     create function price() returns int language sql as 'select 7'; \
     create view dear as select * from orders where total > 900; \
     alter table customers enable row level security; create policy own on customers using (n < 5);";

/// The verbs, as columns of the table.
const VERBS: [&str; 3] = ["verify", "verify --identity", "drill"];

/// The sabotage that a drill does not find: it compares a database with the record of its dump, and
/// reads no counts of the manifest.
const NOT_DRILLED: &str = "another count";

/// A sabotage of a backup.
struct Sabotage {
    name: &'static str,
    how: How,
}

enum How {
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

const SABOTAGES: [Sabotage; 20] = [
    Sabotage { name: "a row less", how: How::Shop("delete from orders where id = 7") },
    Sabotage { name: "another value", how: How::Shop("update orders set total = 0 where id = 7") },
    Sabotage { name: "a table emptied", how: How::Shop("truncate customers") },
    Sabotage { name: "a table dropped", how: How::Shop("drop table customers") },
    Sabotage { name: "a sequence set back", how: How::Shop("select setval('orders_id_seq', 10)") },
    Sabotage { name: "an index dropped", how: How::Shop("drop index by_total") },
    Sabotage {
        name: "a function's body",
        how: How::Shop("create or replace function price() returns int language sql as 'select 0'"),
    },
    Sabotage {
        name: "a view's body",
        how: How::Shop("create or replace view dear as select * from orders where total > 0"),
    },
    Sabotage { name: "a policy", how: How::Shop("alter policy own on customers using (true)") },
    Sabotage {
        name: "a column's type",
        how: How::Shop(
            "drop view dear; alter table orders alter total type bigint; \
             create view dear as select * from orders where total > 900",
        ),
    },
    Sabotage { name: "an enum's value", how: How::Shop("alter type mood add value 'worse'") },
    Sabotage { name: "a database's setting", how: How::Shop("alter database shop set work_mem = '1MB'") },
    Sabotage { name: "a role made superuser", how: How::Globals("alter role clerk superuser") },
    Sabotage { name: "a role dropped", how: How::Globals("drop role spare") },
    Sabotage { name: "a password", how: How::Globals("alter role clerk password 'other'") },
    Sabotage { name: "a swapped archive", how: How::Swapped },
    Sabotage { name: "another key", how: How::OtherKey },
    Sabotage {
        name: "a plaintext's digest",
        how: How::Manifest(|manifest| manifest["artifact"]["plaintext"]["blake3"] = "0".repeat(64).into()),
    },
    Sabotage {
        name: "no details named",
        how: How::Manifest(|manifest| drop(manifest.as_object_mut().unwrap().remove("details"))),
    },
    Sabotage {
        name: "another count",
        how: How::Manifest(|manifest| {
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

/// A workshop for forgeries: a database, roles, and the files of one true run.
struct Forge {
    workshop: Workshop,
    original: Files,
}

impl Forge {
    fn new() -> Self {
        let workshop = Workshop::new();
        workshop.cluster.psql("postgres", "create role clerk password 'own'; create role spare;");
        let mut forge = Self { workshop, original: Files::new() };
        forge.original = forge.run();
        forge
    }

    /// Returns the files of a run after `change` in the database or in the cluster.
    fn run_after(&self, database: &str, change: &str) -> Files {
        self.workshop.cluster.psql(database, change);
        self.backed_up()
    }

    fn run(&self) -> Files {
        let fresh = "drop database if exists shop with (force); create database shop;";
        for statement in fresh.split_inclusive(';') {
            self.workshop.cluster.psql("postgres", statement);
        }
        self.workshop.cluster.psql("shop", SHOP);
        self.backed_up()
    }

    fn backed_up(&self) -> Files {
        self.lay(&Files::new());
        self.workshop.longshore(&["run"]).expect(0);
        read(&self.workshop.local())
    }

    /// Makes the destination hold these files alone.
    fn lay(&self, files: &Files) {
        let local = self.workshop.local();
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
    fn forged(&self, other: &Files, subject: &str) -> Files {
        let ((name, mut ours), (_, theirs)) = (manifest(&self.original, subject), manifest(other, subject));
        let key = |manifest: &Value| manifest["artifact"]["key"].as_str().unwrap().to_owned();
        for digest in ["plaintext", "sealed"] {
            ours["artifact"][digest] = theirs["artifact"][digest].clone();
        }
        let mut forged = self.original.clone();
        forged.insert(key(&ours), other[&key(&theirs)].clone());
        forged.insert(name, serde_json::to_vec_pretty(&ours).unwrap());
        forged
    }

    fn sabotage(&self, how: &How) -> Files {
        match how {
            How::Shop(change) => {
                self.run();
                self.forged(&self.run_after("shop", change), "shop")
            }
            How::Globals(change) => {
                let forged = self.forged(&self.run_after("postgres", change), "globals");
                let undo = "alter database shop reset all; alter role clerk nosuperuser password 'own'; \
                            drop role if exists spare; create role spare;";
                self.workshop.cluster.psql("postgres", undo);
                forged
            }
            How::Manifest(change) => {
                let (name, mut manifest) = manifest(&self.original, "shop");
                change(&mut manifest);
                let mut forged = self.original.clone();
                forged.insert(name, serde_json::to_vec_pretty(&manifest).unwrap());
                forged
            }
            How::Swapped => {
                let other =
                    self.run_after("shop", "insert into orders (total) select n from generate_series(1, 900) n");
                let (_, ours) = manifest(&self.original, "shop");
                let (_, theirs) = manifest(&other, "shop");
                let key = |manifest: &Value| manifest["artifact"]["key"].as_str().unwrap().to_owned();
                let mut forged = self.original.clone();
                forged.insert(key(&ours), other[&key(&theirs)].clone());
                forged
            }
            How::OtherKey => {
                let key = self.workshop.path("other.txt");
                let keygen = Command::new("age-keygen").arg("-o").arg(&key).output().unwrap();
                let told = String::from_utf8(keygen.stderr).unwrap();
                let recipient = told.trim().strip_prefix("Public key: ").unwrap();
                let encrypt = format!("{{ type = 'age', recipients = ['{recipient}'] }}");
                self.workshop.configure(&Job { encrypt: Some(&encrypt), ..Job::default() });
                let forged = self.forged(&self.run(), "shop");
                self.workshop.configure(&Job::default());
                forged
            }
        }
    }

    /// The exit code of a verb on these files.
    fn code(&self, files: &Files, verb: &str) -> i32 {
        self.lay(files);
        let mut command = self.workshop.command();
        command.args(verb.split(' ').take(1)).stdout(Stdio::null()).stderr(Stdio::null());
        if verb != "verify" {
            command.arg("--identity").arg(self.workshop.identity());
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
    fn verify_and_drill_find_sabotage() {
        let forge = Forge::new();
        for verb in VERBS {
            assert_eq!(forge.code(&forge.original, verb), 0, "{verb} of an untouched destination");
        }
        let (mut text, mut missed) = (String::new(), Vec::new());
        for Sabotage { name, how } in &SABOTAGES {
            let forged = forge.sabotage(how);
            write!(text, "\n{name:<24}").unwrap();
            for verb in VERBS {
                let code = forge.code(&forged, verb);
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
