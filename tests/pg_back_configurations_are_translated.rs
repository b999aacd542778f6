//! `init --from` translates configurations of pg_back.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{CommandOutput, finish};

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
    let output = output.shows("purge_older_than: retention").shows("with purge_min_keep = 0").shows("schedule install");
    assert!(folder.path().join("dumps").is_dir() && folder.path().join("new/identity.txt").is_file());
    // As without --from, the records of the backups are signed.
    output.shows("created a signing key").shows("allowed_signers").shows("run nightly` for a backup now");
    assert_eq!(value(&config, "signing.key").as_str(), folder.path().join("new/signing_key").to_str());
    assert!(folder.path().join("new/signing_key").is_file() && folder.path().join("new/allowed_signers").is_file());
    assert_eq!(value(&config, "adopt.pg_back-directory.pattern").as_str(), Some("{database}_%FT%T%:z.d/toc.dat"));
    assert_eq!(value(&config, "adopt.pg_back-createdb-sql.pattern").as_str(), Some("{database}_%FT%T%:z.createdb.sql"));
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
    let output = output.shows("run nightly` and `").shows("run nightly-2` for backups now");
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

/// The keys that pg_back knows, `internal/config/config.go`, validateConfigurationFile, and
/// `cipher_passphrase`, which its packaged file has.
const KEYS: &str = "bin_directory backup_directory backup_file_mode timestamp_format host port user dbname exclude_dbs \
    include_dbs with_templates format parallel_backup_jobs compress_level jobs pause_timeout purge_older_than \
    purge_min_keep checksum_algorithm pre_backup_hook post_backup_hook encrypt cipher_pass cipher_passphrase \
    cipher_public_key cipher_private_key encrypt_keep_source upload purge_remote b2_bucket b2_key_id b2_app_key \
    b2_force_path b2_concurrent_connections s3_region s3_bucket s3_endpoint s3_profile s3_key_id s3_secret \
    s3_force_path s3_tls sftp_host sftp_port sftp_user sftp_password sftp_directory sftp_identity sftp_ignore_hostkey \
    gcs_bucket gcs_endpoint gcs_keyfile azure_container azure_account azure_key azure_endpoint pg_dump_options \
    dump_role_passwords dump_only upload_prefix delete_uploaded uniform_timestamp";

/// The keys of the section of a database.
const KEYS_OF_DATABASES: &str = "format parallel_backup_jobs compress_level checksum_algorithm purge_older_than \
    purge_min_keep schemas exclude_schemas tables exclude_tables pg_dump_options with_blobs user";

/// Returns a value that pg_back accepts for a key.
fn value_of_key(key: &str) -> &str {
    match key {
        "backup_directory" => "DUMPS",
        "exclude_dbs" => "scratch",
        "timestamp_format" => "legacy",
        "format" => "plain",
        "purge_min_keep" | "purge_older_than" | "compress_level" | "port" | "jobs" | "parallel_backup_jobs" => "3",
        "sftp_port" | "b2_concurrent_connections" => "22",
        "checksum_algorithm" => "sha256",
        "backup_file_mode" => "0600",
        "pre_backup_hook" | "post_backup_hook" => "/bin/true",
        "cipher_public_key" => "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "gcs_endpoint" | "s3_endpoint" => "https://objects.example",
        "azure_endpoint" => "blob.example",
        "pg_dump_options" => "-O",
        "bin_directory" | "gcs_keyfile" | "sftp_identity" => "/usr",
        key if key.starts_with("with_") || key.contains("_only") || key.ends_with("_tls") => "true",
        key if key.starts_with("encrypt") || key.contains("force") || key.contains("ignore") => "true",
        "purge_remote" | "delete_uploaded" | "uniform_timestamp" | "dump_role_passwords" => "false",
        _ => "word",
    }
}

/// Every key of pg_back becomes a setting, or is named with the reason why not.
#[test]
fn every_key_of_pg_back_is_named() {
    for place in ["none", "s3", "b2", "sftp", "gcs", "azure"] {
        let of_key = |key: &str| format!("{key} = {}\n", if key == "upload" { place } else { value_of_key(key) });
        let global: String = KEYS.split_whitespace().map(of_key).collect();
        let section: String = KEYS_OF_DATABASES.split_whitespace().map(of_key).collect();
        let (output, folder) = translated(&format!("{global}[word]\n{section}"), 0);
        config(&folder);
        let names: BTreeSet<&str> = output
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_once(": "))
            .map(|(key, _)| key)
            .collect();
        let of_section = KEYS_OF_DATABASES.split_whitespace().map(|key| format!("[word] {key}"));
        for key in KEYS.split_whitespace().map(str::to_owned).chain(of_section) {
            assert!(names.contains(key.as_str()), "{place}: {key}\n{}", output.stdout);
        }
        output.omits("pg_back has no such key").omits("hunter2");
    }
}
