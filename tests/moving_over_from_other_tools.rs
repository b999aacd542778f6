//! Files of other backup tools are recognized by their names and adopted, and become backups.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, FixedOffset, TimeDelta};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{CommandOutput, finish};

/// A host with a destination and no job.
struct Reader {
    folder: TempDir,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("old")).unwrap();
        let reader = Self { folder };
        reader.append(&format!("[destination.old]\ntype = 'local'\npath = '{}'\n", reader.old().display()));
        reader
    }

    fn old(&self) -> PathBuf {
        self.folder.path().join("old")
    }

    fn append(&self, text: &str) {
        let path = self.folder.path().join("config.toml");
        let config = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, config + text).unwrap();
    }

    fn put(&self, name: &str) {
        put(&self.old(), name);
    }

    fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        let config = self.folder.path().join("config.toml");
        command.arg("--config").arg(config).args(arguments);
        finish(command.env("HOME", self.folder.path()).env("XDG_STATE_HOME", self.folder.path().join("state")))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.longshore(arguments).expect(0).stdout).unwrap()
    }
}

fn put(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "a dump").unwrap();
}

/// The names that a tool gives its files, in chrono's formats, which have the fields of strftime.
/// `DB` is the database.
const TOOLS: [(&str, &[&str]); 10] = [
    (
        "pg_back",
        &[
            "pg/DB_%Y-%m-%dT%H:%M:%S%:z.dump",
            "pg/DB_%Y-%m-%dT%H:%M:%S%:z.sql.gz.age",
            "pg/DB_%Y-%m-%dT%H:%M:%S%:z.d/toc.dat",
        ],
    ),
    ("pg_back (timestamp_format = legacy)", &["v1/DB/DB_%Y-%m-%d_%H-%M-%S.dump", "v1/DB_%Y-%m-%d_%H-%M-%S.tar"]),
    (
        "autopostgresqlbackup 2",
        &[
            "auto/daily/DB/DB_%Y-%m-%d_%Hh%Mm.sql.zstd",
            "auto/weekly/DB/DB_%Y-%m-%d_%Hh%Mm.sql.gz",
            "auto/monthly/DB/DB_%Y-%m-%d_%Hh%Mm.sql.xz.enc",
        ],
    ),
    (
        "autopostgresqlbackup 1",
        &[
            "auto/daily/DB/DB_%Y-%m-%d_%Hh%Mm.%A.sql.gz",
            "auto/weekly/DB/DB_week.%V.%Y-%m-%d.sql.bz2",
            "auto/monthly/DB/DB_%Y-%m-%d_%Hh%Mm.%B.DB.sql.xz",
        ],
    ),
    (
        "postgres-backup-local (prodrigestivill)",
        &["last/DB-%Y%m%d-%H%M%S.sql.gz", "daily/DB-%Y%m%d.sql.gz", "weekly/DB-%G%V.sql.gz", "monthly/DB-%Y%m.sql.gz"],
    ),
    ("db-backup (tiredofit, nfrastack)", &["tired/pgsql_DB_db1_%Y%m%d-%H%M%S.sql.zst"]),
    ("db-backup 5 (nfrastack)", &["nfra/pgsql-DB-10_0_0_5-full-%Y%m%d-%H%M%S.sql.zst.age"]),
    ("PG Back Web", &["web/DB/%Y/%m/%d/dump-%Y%m%d-%H%M%S-0f343b09-3112-4a20-8f6e-5a1b2c3d4e5f.zip"]),
    ("postgres-backup-s3 (eeshugerman)", &["s3/DB_%Y-%m-%dT%H:%M:%S.dump", "s3/DB_%Y-%m-%dT%H:%M:%S.dump.gpg"]),
    ("mysql-backup (databacker)", &["my/db_backup_%Y-%m-%dT%H:%M:%SZ.gz", "my/db_backup_%Y-%m-%dT%H-%M-%SZ.tbz2"]),
];

/// Names that resemble those of the tools, or of nothing.
const NEAR_MISSES: [&str; 22] = [
    "auto/yearly/DB/DB_%Y-%m-%d_%Hh%Mm.sql.gz",
    "v1/DB_%Y-%m-%d_%H-%M-%S/toc.dat",
    "pg/DB_%Y-%m-%dT%H:%M:%S%z.dump",
    "pg/DB_%Y-%m-%dT%H:%M:%S%:z.dump.part",
    "pg/DB_%Y-%m-32T%H:%M:%S%:z.dump",
    "v1/DB_%Y-%m-%d_%H%M%S.dump",
    "v1/_%Y-%m-%d_%H-%M-%S.dump.tmp",
    "auto/daily/other/DB_%Y-%m-%d_%Hh%Mm.%A.sql.gz",
    "auto/weekly/DB/DB_week.00.%Y-%m-%d.sql.bz2",
    "auto/monthly/DB/DB_%Y-%m-%d_%Hh%Mm.%b.DB.sql.xz",
    "auto/backup1-%Y%m%d%H%M%S.log",
    "last/DB-latest-%Y%m%d.sql.gz",
    "weekly/DB-%G99.sql.gz",
    "monthly/DB-%Y%m%d%H.sql.gz",
    "tired/mysql_DB_db1_%Y%m%d-%H%M%S.sql.zst",
    "tired/pgsql_DB_db1_%Y%m%d-%H%M%S.sql.zst.md5.old",
    "nfra/pgsql-DB-10_0_0_5-incr-%Y%m%d-%H%M%S.sql.zst.age",
    "web/DB/%Y/%m/%d/dump-%Y%m%d-%H%M%S-0F343B09-3112-4A20-8F6E-5A1B2C3D4E5F.zip",
    "web/DB/%Y/%d/dump-%Y%m%d-%H%M%S-0f343b09-3112-4a20-8f6e-5a1b2c3d4e5f.zip",
    "s3/DB_%Y-%m-%dT%H:%M.dump",
    "my/db_backup_%Y-%m-%dT%H:%M:%S.gz",
    "notes/meeting %Y-%m-%d, DB.txt",
];

/// The databases of the names, of which some are odd.
const DATABASES: [&str; 4] = ["app", "app-prod", "my shop", "2026"];

fn time(number: i64) -> DateTime<FixedOffset> {
    let first = DateTime::parse_from_rfc3339("2026-01-31T23:17:05+01:00").unwrap();
    first + TimeDelta::hours(number * 25)
}

#[test]
fn only_files_of_known_tools_are_claimed() {
    let reader = Reader::new();
    let write = |pattern: &str, number: usize, database: &str| {
        time(number as i64).format(pattern).to_string().replace("DB", database)
    };
    let mut expected: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut unclaimed: BTreeSet<String> = BTreeSet::new();
    let mut number = 0;
    while unclaimed.len() + expected.values().map(BTreeSet::len).sum::<usize>() < 1000 {
        let database = DATABASES[number % DATABASES.len()];
        for (tool, patterns) in TOOLS {
            let name = write(patterns[number % patterns.len()], number, database);
            expected.entry(tool).or_default().insert(name);
        }
        let misses = NEAR_MISSES.iter().skip(number % 2).step_by(2);
        unclaimed.extend(misses.map(|pattern| write(pattern, number, database)));
        number += 1;
    }
    for name in expected.values().flatten().chain(&unclaimed) {
        reader.put(name);
    }
    let checksum = expected["pg_back"].iter().next().unwrap().clone() + ".sha256";
    reader.put(&checksum);

    let detected = reader.json(&["adopt", "detect", "old", "--json"]);
    let left: BTreeSet<String> =
        detected["unclaimed"].as_array().unwrap().iter().map(|file| file["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left.difference(&unclaimed).collect::<Vec<_>>(), [] as [&String; 0], "not recognized");
    assert_eq!(unclaimed.difference(&left).collect::<Vec<_>>(), [] as [&String; 0], "claimed wrongly");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for adopt in detected["adopts"].as_array().unwrap() {
        *counts.entry(adopt["tool"].as_str().unwrap()).or_default() += adopt["files"].as_u64().unwrap() as usize;
    }
    let expected_counts: BTreeMap<&str, usize> = expected.iter().map(|(tool, names)| (*tool, names.len())).collect();
    assert_eq!(counts, expected_counts);

    // The output is a part of a configuration, and adopts what was counted.
    let tables = reader.longshore(&["adopt", "detect", "old"]).expect(0).stdout;
    assert!(tables.contains(&format!("# Not claimed, and never removed: {} files", unclaimed.len())), "{tables}");
    reader.append(&tables);
    let list = reader.json(&["list", "--all", "--json"]);
    let listed: BTreeSet<String> =
        list.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, expected.values().flatten().cloned().collect());
    let names: BTreeSet<&str> =
        list.as_array().unwrap().iter().map(|file| file["subject"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, DATABASES.into_iter().chain(["all"]).collect());
    let again = reader.json(&["adopt", "detect", "old", "--json"]);
    assert_eq!((&again["adopts"], &again["adopted_already"]), (&Value::Array(Vec::new()), &listed.len().into()));
}

#[test]
fn hard_links_are_counted_once() {
    let reader = Reader::new();
    reader.put("last/app-20260607-030001.sql.gz");
    let link = |name: &str| {
        let path = reader.old().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::hard_link(reader.old().join("last/app-20260607-030001.sql.gz"), path).unwrap();
    };
    ["daily/app-20260607.sql.gz", "weekly/app-202623.sql.gz", "monthly/app-202606.sql.gz"]
        .iter()
        .copied()
        .for_each(link);
    let detected = reader.json(&["adopt", "detect", "old", "--json"]);
    let links = |adopt: &Value| adopt["hard_links"].as_u64().unwrap();
    let adopts = detected["adopts"].as_array().unwrap();
    assert_eq!((adopts.len(), adopts.iter().map(links).sum::<u64>()), (4, 3));
    reader.longshore(&["adopt", "detect", "old"]).expect(0).shows("1 hard link of another name");
}

#[test]
fn directory_dumps_are_counted_as_one_file() {
    let reader = Reader::new();
    let folder = "app_2026-06-07T03:00:01Z.d";
    for name in ["toc.dat", "3301.dat.gz", "README", "3302.dat.gz.age"] {
        reader.put(&format!("{folder}/{name}"));
    }
    reader.put("shop-2026-06-07/toc.dat");
    reader.put("shop-2026-06-07/3301.dat.gz");
    reader.put("x.sha1");
    let detected = reader.json(&["adopt", "detect", "old", "--json"]);
    let adopt = &detected["adopts"][0];
    assert_eq!(
        (&adopt["files"], &adopt["bytes"], &adopt["name"]),
        (&1.into(), &12.into(), &"pg_back-directory".into())
    );
    assert_eq!(adopt["pattern"], "{database}_%FT%T%:z.d/toc.dat");
    let tables = reader.longshore(&["adopt", "detect", "old"]).expect(0);
    tables
        .shows("# Files of other tools at \"old\": 1 file")
        .shows("shop-2026-06-07/3301.dat.gz: in the folder of a dump in directory format")
        .shows("# Not claimed, and never removed: 5 files")
        .shows("the checksum of");
    reader.longshore(&["adopt", "detect", "new"]).expect(1).shows("there is no such destination");
}

#[test]
fn companions_of_dumps_are_named_as_such() {
    let reader = Reader::new();
    for name in ["pg_settings", "hba_file", "ident_file"] {
        reader.put(&format!("{name}_2026-06-07T03:00:01Z.out"));
    }
    reader.put("app_2026-06-07T03:00:01Z.createdb.sql");
    reader.put("app_2026-06-07T03:00:01Z.dump");
    let detected = reader.json(&["adopt", "detect", "old", "--json"]);
    let companions = |adopt: &Value| (adopt["name"].as_str().unwrap().to_owned(), adopt["companions"] == true);
    let adopts: Vec<_> = detected["adopts"].as_array().unwrap().iter().map(companions).collect();
    let expected = [("pg_back-createdb-sql", true), ("pg_back-dump", false), ("pg_back-out", true)];
    assert_eq!(adopts, expected.map(|(name, is_companion)| (name.to_owned(), is_companion)));
    let tables = reader.longshore(&["adopt", "detect", "old"]).expect(0);
    tables.shows("# no dumps, but written beside them: hba_file, ident_file, pg_settings");
}

/// The configurations in the manual page are valid. The old ones are in other languages.
#[test]
fn configurations_of_the_manual_are_valid() {
    let manual = include_str!("../crates/cli/doc/longshore-moving-over.7.md");
    let examples: Vec<&str> = manual.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 4);
    let folder = tempfile::tempdir().unwrap();
    for example in examples {
        let path = folder.path().join("config.toml");
        fs::write(&path, example).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_longshore"));
        finish(check.args(["config", "check"]).arg(path)).expect(0);
    }
}
