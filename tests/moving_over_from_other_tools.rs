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
const TOOLS: [(&str, &[&str]); 9] = [
    ("pg_back", &["pg/DB_%Y-%m-%dT%H:%M:%S%:z.dump", "pg/DB_%Y-%m-%dT%H:%M:%S%:z.sql.gz.age"]),
    ("pg_back (timestamp_format = legacy)", &["v1/DB/DB_%Y-%m-%d_%H-%M-%S.dump", "v1/DB_%Y-%m-%d_%H-%M-%S.tar"]),
    (
        "autopostgresqlbackup",
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
const NEAR_MISSES: [&str; 20] = [
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
fn directory_dumps_are_named_and_not_adopted() {
    let reader = Reader::new();
    for name in ["app_2026-06-07T03:00:01Z.d/toc.dat", "app_2026-06-07T03:00:01Z.d/3301.dat.gz", "x.sha1"] {
        reader.put(name);
    }
    let detected = reader.longshore(&["adopt", "detect", "old"]).expect(0);
    detected
        .shows("# Files of other tools at \"old\": 0 files")
        .shows("part of a dump in directory format")
        .shows("the checksum of");
    reader.longshore(&["adopt", "detect", "new"]).expect(1).shows("there is no such destination");
}

/// Runs `init --from` with a configuration of pg_back. Returns its output and the new file.
fn translated(text: &str, code: i32) -> (CommandOutput, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("pg_back.conf");
    let dumps = folder.path().join("dumps");
    fs::write(&from, text.replace("DUMPS", dumps.to_str().unwrap())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.arg("--config").arg(folder.path().join("new/config.toml")).args(["init", "--from"]).arg(from);
    (finish(command.env("HOME", folder.path())).expect(code), folder)
}

/// Returns the new configuration, which `config check` accepts.
fn config(folder: &TempDir) -> toml::Table {
    let path = folder.path().join("new/config.toml");
    let check = Command::new(env!("CARGO_BIN_EXE_longshore")).args(["config", "check"]).arg(&path).output().unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert!(check.status.success(), "{}\n{text}", String::from_utf8_lossy(&check.stderr));
    toml::from_str(&text).unwrap()
}

fn value<'a>(config: &'a toml::Table, path: &str) -> &'a toml::Value {
    let mut parts = path.split('.');
    let first = config.get(parts.next().unwrap()).unwrap_or_else(|| panic!("{path}: {config:?}"));
    parts.fold(first, |value, part| match part.parse::<usize>() {
        Ok(index) => &value[index],
        Err(_) => value.get(part).unwrap_or_else(|| panic!("{path}: {config:?}")),
    })
}

/// The keys of pg_back.conf as its package installs it.
const PACKAGED: &str = "bin_directory =
backup_directory = DUMPS
# timestamp_format = rfc3339
host =
port =
user =
dbname =
include_dbs =
exclude_dbs =
with_templates = false
format = custom
parallel_backup_jobs = 1
compress_level = -1
checksum_algorithm = none
encrypt = false
cipher_passphrase =
encrypt_keep_source = false
purge_older_than = 30
purge_min_keep = 0
jobs = 1
pg_dump_options =
pause_timeout = 3600
pre_backup_hook =
post_backup_hook =
upload = none
# purge_remote = false
";

#[test]
fn packaged_pg_back_configuration_is_translated() {
    let (output, folder) = translated(PACKAGED, 0);
    let config = config(&folder);
    assert_eq!(value(&config, "retention.pg_back.keep_within").as_str(), Some("30d1h"));
    assert_eq!(value(&config, "job.nightly.dump.1.databases.0").as_str(), Some("*"));
    assert_eq!(value(&config, "adopt.pg_back-dump.pattern").as_str(), Some("{database}_%FT%T%:z.dump"));
    assert!(value(&config, "cluster.main.pause_replay").as_bool().unwrap());
    let output = output.shows("created an identity").shows("checksum_algorithm: every backup has digests");
    output.shows("purge_older_than: retention").shows("with purge_min_keep = 0").shows("schedule install");
    assert!(folder.path().join("dumps").is_dir() && folder.path().join("new/identity.txt").is_file());
}

/// The output of `pg_back --convert-legacy-config` in its tests.
#[test]
fn converted_pg_back_1_configuration_is_translated() {
    let (output, folder) = translated(
        "bin_directory = \nbackup_directory = DUMPS\ntimestamp_format = legacy\npurge_older_than = 30\n\
         purge_min_keep = 0\nformat = custom\npg_dump_options = -T tmp*\ninclude_dbs = db1, db2\n\
         exclude_dbs = sampledb1, testdb2\nwith_templates = false\npause_timeout = 3600\nhost = /tmp\nport = 5432\n\
         user = \ndbname = postgres\npre_backup_hook = /bin/true\npost_backup_hook = /bin/false -x 'a b'\n",
        0,
    );
    let config = config(&folder);
    let dump = value(&config, "job.nightly.dump.1");
    assert_eq!(dump["databases"].as_array().unwrap().len(), 2);
    assert_eq!((dump["exclude"][1].as_str(), dump["exclude_tables"][0].as_str()), (Some("testdb2"), Some("tmp*")));
    assert_eq!(value(&config, "cluster.main.connection").as_str(), Some("host=/tmp port=5432 dbname=postgres"));
    assert_eq!(value(&config, "job.nightly.hook.1.program.2").as_str(), Some("a b"));
    assert_eq!(value(&config, "adopt.pg_back-dump.pattern").as_str(), Some("{database}_%F_%H-%M-%S.dump"));
    output.shows("pre_backup_hook: job.nightly.hook");
}

/// Sections of databases in the tests of pg_back, and in its documentation.
#[test]
fn sections_of_databases_become_dumps() {
    let (output, folder) = translated(
        "backup_directory = DUMPS/{dbname}\npg_dump_options = -O -x\ncompress_level = 3\ndump_role_passwords = false\n\
         jobs = 4\nexclude_dbs = scratch\n[db]\npurge_older_than = 15\nparallel_backup_jobs = 2\npg_dump_options =\n\
         with_blobs = false\nformat = directory\n[other]\nschemas = sales, hr\nexclude_tables = log_*\nuser = app\n\
         [scratch]\nformat = tar\n",
        0,
    );
    let config = config(&folder);
    let nightly = value(&config, "job.nightly.dump");
    assert_eq!(nightly[0]["no_role_passwords"].as_bool(), Some(true));
    assert_eq!(nightly[1]["exclude"].as_array().unwrap().len(), 3, "{nightly:?}");
    assert_eq!((nightly[2]["databases"][0].as_str(), nightly[2]["schemas"][1].as_str()), (Some("other"), Some("hr")));
    assert_eq!(
        (nightly[2]["no_owner"].as_bool(), nightly[2]["exclude_tables"][0].as_str()),
        (Some(true), Some("log_*"))
    );
    let own = value(&config, "job.nightly-2");
    assert_eq!((own["dump"][0]["format"].as_str(), own["dump"][0]["jobs"].as_integer()), (Some("directory"), Some(2)));
    assert!(own["dump"][0].get("no_owner").is_none(), "an empty pg_dump_options cancels the general one");
    assert_eq!(value(&config, "retention.pg_back-2.keep_within").as_str(), Some("15d1h"));
    assert_eq!(value(&config, "adopt.pg_back-sql.pattern").as_str(), Some("{database}/{database}_%FT%T%:z.sql"));
    assert_eq!(value(&config, "job.nightly.parallel").as_integer(), Some(4));
    output.shows("[other] user: a cluster has one role").shows("[scratch] the whole section:");
}

/// The options of pg_back's example for Kubernetes, and its remote purge.
#[test]
fn uploads_of_pg_back_become_destinations() {
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let (output, folder) = translated(
        &format!(
            "backup_directory = DUMPS\nencrypt = true\ncipher_public_key = {recipient}\ncipher_private_key = AGE-SECRET-KEY-1X\n\
             upload = s3\nupload_prefix = /pg/\npurge_remote = true\ndelete_uploaded = yes\ns3_endpoint = https://minio:9000/\n\
             s3_region = us-east-1\ns3_bucket = my-backup-bucket\ns3_key_id = nizcifWuAmKaidJivCaf\ns3_secret = hunter2\n\
             s3_force_path = true\npurge_older_than = 36h\npurge_min_keep = 3\nsftp_host = nas\n"
        ),
        0,
    );
    let s3 = config(&folder);
    assert_eq!(value(&s3, "job.nightly.encrypt.recipients.0").as_str(), Some(recipient));
    assert_eq!(value(&s3, "job.nightly.ship").as_array().unwrap().len(), 1);
    assert_eq!(value(&s3, "destination.s3.prefix").as_str(), Some("pg"));
    assert_eq!(value(&s3, "destination.s3.endpoint").as_str(), Some("https://minio:9000"));
    assert_eq!(value(&s3, "retention.pg_back.keep_last").as_integer(), Some(3));
    assert_eq!(value(&s3, "retention.pg_back.keep_within").as_str(), Some("37h"));
    let text = fs::read_to_string(folder.path().join("new/config.toml")).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("SECRET-KEY") && !text.contains("adopt"), "{text}");
    let output = output.omits("hunter2").omits("created an identity").shows("s3_secret: secrets are not copied");
    output.shows("sftp_host: upload is s3, not sftp").shows("cipher_private_key: only restores need it");
    assert!(!folder.path().join("dumps").exists());

    for (keys, name, setting) in [
        (
            "upload = sftp\nsftp_host = nas\nsftp_user = me\nsftp_port = 2222\nsftp_directory = /srv/pg\nsftp_ignore_hostkey = true",
            "sftp",
            "host",
        ),
        ("upload = gcs\ngcs_bucket = acme\ngcs_keyfile = /etc/key.json", "gcs", "bucket"),
        ("upload = azure\nazure_account = acme\nazure_container = pg\nazure_key = hunter2", "azure", "container"),
        (
            "upload = b2\nb2_bucket = acme\nb2_key_id = id\nb2_app_key = hunter2\nb2_concurrent_connections = 5",
            "s3",
            "bucket",
        ),
    ] {
        let (output, folder) = translated(&format!("backup_directory = DUMPS\n{keys}\n"), 0);
        let config = config(&folder);
        assert!(value(&config, &format!("destination.{name}.{setting}")).is_str());
        // Without purge_remote, uploaded files stay.
        assert!(value(&config, "job.nightly.retention.local").is_str());
        output.omits("hunter2");
    }
}

/// Options of pg_dump that Longshore sets itself, an unknown key, and values that pg_back refuses.
#[test]
fn keys_that_are_not_taken_are_named() {
    let (output, folder) = translated(
        "backup_directory = DUMPS\npg_dump_options = --clean -Z9 --inserts\npost_backup_hook = notify.sh\n\
         purge_min_keep = all\ncolour = 1\nformat = p\nsftp_password = hunter2\n",
        0,
    );
    let config = config(&folder);
    assert_eq!(value(&config, "job.nightly.dump.1.extra_args.0").as_str(), Some("--inserts"));
    assert_eq!(value(&config, "job.nightly.dump.1.format").as_str(), Some("plain"));
    assert!(config.get("retention").is_none() && config.get("adopt").is_none());
    let output = output.shows("pg_dump_options --clean:").shows("pg_dump_options --compress: Longshore compresses");
    output.shows("post_backup_hook: a hook needs the absolute path").shows("colour: pg_back has no such key");
    for (text, expected) in [
        ("purge_older_than = soon\n", "purge_older_than must be"),
        ("format = zip\n", "format must be"),
        ("upload = ftp\n", "upload must be"),
        ("upload = s3\n", "s3_bucket is missing"),
        ("PGBK_PURGE=30\n", "pg_back 1"),
        ("nonsense\n", "line 1"),
        ("cipher_public_key = fakepubkey\n", "recipient"),
    ] {
        let (output, folder) = translated(text, 1);
        output.shows(expected);
        assert!(!folder.path().join("new").exists(), "{text}");
    }
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
