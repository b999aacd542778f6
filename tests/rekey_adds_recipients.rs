//! `rekey` lets other identities decrypt stored backups, without reading or changing a payload.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::TimeDelta;
use longshore_core::header::HeaderName;
use longshore_core::key::{Key, Timestamp};
use longshore_core::manifest::{Manifest, SealedFile};
use longshore_core::meter::Digest;
use longshore_testkit::ceph::{Ceph, Protection};
use longshore_testkit::cluster::{Cluster, Installation, contents};
use longshore_testkit::garage::{Garage, Permission, REGION};
use longshore_testkit::sample;

use crate::differential_backups_restore;
use crate::recovery_reaches_its_target;
use crate::stock_tools_can_decode_every_file::{commands_in, unpack_with_the_page};
use crate::support::{ArchiveEnv, CommandOutput, Job, RecordingProxy, TestEnv, files, finish, manifest};

const GLOBALS: &str = "[{ type = 'pg_dumpall' }]";

/// Creates an identity. Returns its file and its recipient.
fn new_identity(folder: &Path, name: &str) -> (PathBuf, String) {
    let file = folder.join(name);
    let made = finish(Command::new("age-keygen").arg("-o").arg(&file)).expect(0);
    (file, made.stderr.trim().strip_prefix("Public key: ").unwrap().to_owned())
}

/// Runs a command with an identity.
fn with(test_env: &TestEnv, identity: &Path, arguments: &[&str]) -> CommandOutput {
    finish(test_env.command().args(arguments).arg("--identity").arg(identity))
}

/// Returns the content of all files below a folder, except run reports.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files(folder).into_iter().map(|file| (file.clone(), fs::read(folder.join(&file)).unwrap())).collect()
}

/// Returns the names of the headers below a folder.
fn headers(folder: &Path) -> Vec<HeaderName> {
    files(folder).iter().filter_map(|file| HeaderName::from_key(&Key::parse(file).unwrap())).collect()
}

#[test]
fn new_identity_restores_and_old_one_opens_no_header() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 100);
    test_env.longshore(&["run"]).expect(0);
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    with(&test_env, &new, &["verify"]).expect(2).shows("none of the identities given decrypts it");
    // An identity that opens nothing is an error, also if there is nothing to do.
    for more in [&["--to", &recipient][..], &["--to", &recipient, "--dry-run"], &[]] {
        let refused = with(&test_env, &new, &[&["rekey", "nightly"], more].concat()).expect(2);
        refused.shows("none of the identities given decrypts");
    }
    let before = content(&test_env.local());
    let planned = with(&test_env, &test_env.identity(), &["rekey", "--to", &recipient, "--dry-run"]).expect(0);
    planned.stdout_shows("would write");
    assert_eq!(content(&test_env.local()), before);
    let rekeyed = with(&test_env, &test_env.identity(), &["rekey", "nightly", "--to", &recipient]).expect(0);
    rekeyed.shows("written").shows("still open them").omits("AGE-SECRET");

    let after = content(&test_env.local());
    assert!(before.iter().all(|(file, bytes)| after.get(file) == Some(bytes)), "a file changed");
    let added: BTreeSet<_> = after.keys().filter(|file| !before.contains_key(*file)).collect();
    let sealed: BTreeSet<_> = before.keys().filter(|file| file.ends_with(".age")).collect();
    let named = headers(&test_env.local());
    let rekeyed: BTreeSet<_> = named.iter().map(|header| header.sealed.to_string()).collect();
    assert!(rekeyed.iter().eq(sealed) && added.len() == rekeyed.len() + 1, "{added:?}");
    assert!(added.iter().any(|file| *file == "RESTORE-HEADERS.md"));

    for identity in [&new, &test_env.identity()] {
        with(&test_env, identity, &["verify"]).expect(0).shows("matches the record").omits("RESTORE");
        with(&test_env, identity, &["inspect", "shop", "--check"]).expect(0).omits("none of the identities");
    }
    // The new identity opens stored backups, but not the next ones.
    let checked = with(&test_env, &new, &["check"]).expect(2);
    let checked = checked.shows("identity: decrypts no new backup of job nightly, which encrypts for other recipients");
    checked.shows("add its recipient to encrypt of the job").shows("the identity decrypts the oldest backup");
    test_env.longshore(&["verify"]).expect(0);
    test_env.longshore(&["list"]).expect(0).omits("belong to no backup");
    test_env.longshore(&["status", "--max-age", "1d"]).expect(0);
    with(&test_env, &new, &["drill"]).expect(0);
    // The details of the drill are encrypted, too, and for the recipients of the job.
    with(&test_env, &test_env.identity(), &["rekey", "--to", &recipient]).expect(0).shows("written");
    with(&test_env, &test_env.identity(), &["rekey", "--to", &recipient]).expect(0).omits("written").shows("ok");
    let target = Cluster::start(&Installation::system(), &[]);
    let connection = target.connection();
    let restore = ["restore", "--run", "latest", "--create", "--to", &connection];
    with(&test_env, &new, &restore).expect(0).shows("compared");
    assert!(contents(&target, "shop") == contents(&test_env.cluster, "shop"));
    let output = test_env.path("shop.dump");
    with(&test_env, &new, &["restore", "shop", "--output", output.to_str().unwrap()]).expect(0);

    for header in headers(&test_env.local()) {
        let header = test_env.local().join(header.key().unwrap().as_str());
        let opened = |identity: &Path| finish(Command::new("age").arg("-d").arg("-i").arg(identity).arg(&header));
        // A header alone has no payload.
        opened(&test_env.identity()).expect(1).shows("no identity matched");
        opened(&new).expect(1).omits("no identity matched");
    }
}

#[test]
fn stock_tools_open_files_by_their_headers() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 100);
    test_env.longshore(&["run"]).expect(0);
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    with(&test_env, &test_env.identity(), &["rekey", "--to", &recipient]).expect(0);
    // The command of the page about headers, for every file.
    let page = fs::read_to_string(test_env.local().join("RESTORE-HEADERS.md")).unwrap();
    let command = page.split("```sh\n").nth(1).unwrap().split("\n```").next().unwrap();
    for header in headers(&test_env.local()) {
        let file = test_env.local().join(header.sealed.as_str());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).env("IDENTITY", &new).env("FILE", &file);
        // A locale in which most bytes of the payload are no characters.
        shell.env("LANG", "C.UTF-8").env("HEADER", test_env.local().join(header.key().unwrap().as_str()));
        let by_header = shell.output().unwrap();
        let own = Command::new("age").arg("-d").arg("-i").arg(test_env.identity()).arg(&file).output().unwrap();
        assert!(by_header.status.success() && own.status.success() && !own.stdout.is_empty(), "{by_header:?}");
        assert!(by_header.stdout == own.stdout, "{}", file.display());
    }
    // The page about restoring, with either identity.
    for identity in [&new, &test_env.identity()] {
        let target = Cluster::start(&Installation::system(), &[]);
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &commands_in(&test_env.local().join("RESTORE.md"))]);
        shell.current_dir(test_env.local()).env("CLUSTER", "main").env("DATABASE", "shop").env("IDENTITY", identity);
        shell.env("PGHOST", target.connection().split_whitespace().next().unwrap().trim_start_matches("host="));
        shell.env("PGPORT", target.port().to_string()).env("PGUSER", "postgres");
        finish(&mut shell).expect(0).shows("OK");
        assert!(contents(&target, "shop") == contents(&test_env.cluster, "shop"), "{}", identity.display());
    }
}

#[test]
fn headers_follow_their_backups() {
    let test_env = TestEnv::new();
    let (one, other) = (test_env.make_folder("one"), test_env.make_folder("other"));
    let job = |ship, more| Job { dump: GLOBALS, ship, more, ..Job::default() };
    let both: [(&str, &Path); 2] = [("one", &one), ("other", &other)];
    test_env.configure(&job(&both, ""));
    test_env.longshore(&["run"]).expect(0);
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    let rekey = ["rekey", "--to", &recipient, "--destination", "one"];
    with(&test_env, &test_env.identity(), &rekey).expect(0);
    // Of the script and its details.
    assert_eq!((headers(&one).len(), headers(&other).len()), (2, 0));
    let output = test_env.path("globals.sql");
    let restore = ["restore", "globals", "--from", "one", "--output", output.to_str().unwrap()];
    with(&test_env, &new, &restore).expect(0);

    // A destination that was not rekeyed gets the headers of its backups.
    test_env.longshore(&["sync"]).expect(0).shows("headers to \"other\": copied 2");
    assert_eq!(headers(&one), headers(&other));
    test_env.longshore(&["sync"]).expect(0).shows("in sync");

    // A copy of the backup has its headers.
    for file in files(&other) {
        fs::remove_file(other.join(file)).unwrap();
    }
    test_env.longshore(&["sync"]).expect(0).shows("copied");
    assert_eq!(headers(&one), headers(&other));
    with(&test_env, &new, &["verify", "--destination", "other"]).expect(0).shows("verified");

    // Headers are deleted with their backup.
    let more = "retention = 'short'\n\n[retention.short]\nkeep_last = 1\nmin_age = '1s'\n";
    test_env.configure(&job(&both, more));
    let rekeyed = headers(&one);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    // The only verified backup would be kept.
    test_env.longshore(&["verify"]).expect(0);
    test_env.longshore(&["prune"]).expect(0);
    for folder in [&one, &other] {
        assert_eq!(headers(folder), [], "{rekeyed:?}");
        assert_eq!(files(folder).iter().filter(|file| file.ends_with(".age")).count(), 2);
    }
    test_env.longshore(&["list"]).expect(0).omits("belong to no backup");
}

#[test]
fn forged_headers_change_nothing() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: GLOBALS, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    with(&test_env, &test_env.identity(), &["rekey", "--to", &recipient]).expect(0);
    let header = headers(&test_env.local()).remove(0);
    // The header of another file for the same recipients, dated in the future, and other bytes.
    let other = test_env.path("other.age");
    let sealed = Command::new("age").args(["-r", &recipient, "-o"]).arg(&other).arg(test_env.config_path()).status();
    assert!(sealed.unwrap().success());
    let bytes = fs::read(&other).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\n---").unwrap() + 49;
    for (year, content) in [("2030", &bytes[..end]), ("2031", b"no header"), ("2032", b"")] {
        let time = Timestamp::parse(&format!("{year}-01-01_000000")).unwrap();
        let forged = HeaderName { time, ..header.clone() };
        fs::write(test_env.local().join(forged.key().unwrap().as_str()), content).unwrap();
    }
    // More forged headers than are tried together, newer than the real one.
    for second in 1..=70 {
        let time = Timestamp::new(header.time.time() + TimeDelta::seconds(second));
        let forged = HeaderName { time, ..header.clone() };
        fs::write(test_env.local().join(forged.key().unwrap().as_str()), &bytes[..end]).unwrap();
    }
    for identity in [&new, &test_env.identity()] {
        with(&test_env, identity, &["verify"]).expect(0).shows("verified: ");
    }
    assert!(files(&test_env.local()).iter().all(|file| !file.contains(".damaged.")));
    // The new identity rekeys for a third one, although most headers are forged. A forged header
    // for its recipients is no reason to write none.
    let (third, recipient) = new_identity(&test_env.path(""), "third.txt");
    let before = headers(&test_env.local());
    let rekey = ["rekey", "--to", &recipient];
    with(&test_env, &new, &rekey).expect(0).shows("still open them");
    for own in headers(&test_env.local()).into_iter().filter(|header| !before.contains(header)) {
        fs::remove_file(test_env.local().join(own.key().unwrap().as_str())).unwrap();
        let forged = HeaderName { time: header.time, ..own };
        fs::write(test_env.local().join(forged.key().unwrap().as_str()), &bytes[..end]).unwrap();
    }
    with(&test_env, &new, &rekey).expect(0).shows("still open them");
    with(&test_env, &third, &["verify"]).expect(0).shows("verified: ");
    with(&test_env, &new, &rekey).expect(0).omits("still open them");

    // A file whose own header is damaged accepts no header, and is damaged for each identity.
    let artifact =
        test_env.local().join(files(&test_env.local()).iter().find(|it| it.ends_with(".sql.zst.age")).unwrap());
    let mut bytes = fs::read(&artifact).unwrap();
    let mac = bytes.windows(4).position(|window| window == b"\n---").unwrap() + 10;
    bytes[mac] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    for identity in [&new, &test_env.identity()] {
        with(&test_env, identity, &["verify"]).expect(4).stdout_shows("damaged");
    }
}

#[test]
fn difference_is_rekeyed_with_its_full_backup() {
    let test_env = differential_backups_restore::source("custom", &[]);
    differential_backups_restore::run(&test_env);
    differential_backups_restore::change(&test_env, 1);
    differential_backups_restore::run(&test_env);
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    with(&test_env, &test_env.identity(), &["rekey", "--backup", "shop", "--to", &recipient]).expect(0);
    let of_artifacts =
        headers(&test_env.local()).into_iter().filter(|header| !header.sealed.as_str().contains(".details."));
    let sealed: Vec<Key> = of_artifacts.map(|header| header.sealed).collect();
    assert_eq!(sealed.len(), 2, "{sealed:?}");
    assert_eq!(sealed.iter().filter(|key| key.as_str().contains(".rdiff.")).count(), 1, "{sealed:?}");
    with(&test_env, &new, &["verify", "shop"]).expect(0).shows("verified: ");
}

/// Returns the reports of rekeys in the destination.
fn rekey_reports(test_env: &TestEnv) -> Vec<serde_json::Value> {
    let folder = test_env.local().join("main/runs/nightly");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_report = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.contains("-rekey-") && !name.contains(".details")
    };
    paths.filter(is_report).map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

#[test]
fn damaged_and_unreadable_files_are_reported() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.longshore(&["run"]).expect(0);
    let (_, recipient) = new_identity(&test_env.path(""), "new.txt");
    let (stranger, _) = new_identity(&test_env.path(""), "stranger.txt");
    with(&test_env, &stranger, &["rekey", "--to", &recipient]).expect(2).shows("none of the identities given");
    test_env.longshore(&["rekey", "--to", &recipient]).expect(1).shows("there is no identity").shows("--identity");
    with(&test_env, &test_env.identity(), &["rekey", "--to", "age1nonsense"]).expect(1).shows("mistyped");
    with(&test_env, &test_env.identity(), &["rekey"]).expect(0).omits("written").shows("ok");
    assert_eq!(headers(&test_env.local()), []);
    // The MAC of a header is wrong, and another file ends within its header.
    let [shop, globals] = ["shop-2", "globals-2"].map(|name| {
        let all = files(&test_env.local());
        let file = all.iter().find(|file| file.contains(name) && file.ends_with(".zst.age")).unwrap();
        test_env.local().join(file)
    });
    let mut bytes = fs::read(&shop).unwrap();
    let mac = bytes.windows(4).position(|window| window == b"\n---").unwrap() + 10;
    bytes[mac] = if bytes[mac] == b'A' { b'B' } else { b'A' };
    fs::write(&shop, bytes).unwrap();
    fs::write(&globals, &fs::read(&globals).unwrap()[..130]).unwrap();
    let rekeyed = with(&test_env, &test_env.identity(), &["rekey", "--to", &recipient, "--json"]).expect(4);
    let rekeyed: serde_json::Value = serde_json::from_str(&rekeyed.stdout).unwrap();
    for backup in rekeyed["backups"].as_array().unwrap() {
        let is_damaged = !backup["name"].as_str().unwrap().contains("postgres-2");
        assert_eq!(backup["damaged"], is_damaged, "{backup}");
        assert_eq!(backup["headers"].as_array().unwrap().len(), if is_damaged { 0 } else { 2 });
    }
    let reports = rekey_reports(&test_env);
    let report = reports.iter().find(|report| report["outcome"] == "damaged").expect("a report of the damage");
    assert_eq!(report["counts"]["new_headers"], 2);
}

#[test]
fn check_reports_recipients_without_access() {
    let test_env = TestEnv::new();
    let old = test_env.recipient().to_owned();
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    let configure = |recipients: &[&str], more: &str| {
        let recipients: Vec<_> = recipients.iter().map(|recipient| format!("'{recipient}'")).collect();
        let encrypt = format!("{{ type = 'age', recipients = [{}] }}", recipients.join(", "));
        test_env.configure(&Job { dump: GLOBALS, encrypt: Some(&encrypt), more, ..Job::default() });
    };
    configure(&[&old], "");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["check"]).expect(0).shows("encrypts for one recipient").omits("oldest");
    configure(&[&old, &recipient], "");
    test_env
        .longshore(&["check"])
        .expect(0)
        .shows("1 of 2 recipients cannot decrypt the backup of")
        .omits("one recipient");
    let drill = format!("[job.nightly.drill]\nidentity = '{}'\n", new.display());
    configure(&[&old, &recipient], &drill);
    test_env.longshore(&["check"]).expect(0).shows("the identity does not decrypt the oldest backup");
    with(&test_env, &test_env.identity(), &["rekey"]).expect(0).shows("written");
    let checked = test_env.longshore(&["check"]).expect(0).shows("the identity decrypts the oldest backup");
    checked.omits("cannot decrypt the backup of").omits("none is offline");
    let both = format!("[identity]\nfile = ['{}', '{}']\n", new.display(), test_env.identity().display());
    configure(&[&old, &recipient], &both);
    test_env.longshore(&["check"]).expect(0).shows("identities of all 2 recipients").shows("none is offline");
}

#[test]
fn archived_wal_is_rekeyed() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    let test_env = &archive.env;
    let unneeded = archive.archive();
    archive.longshore(&["run"]).expect(0);
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create table t (i int); insert into t values (42)");
    let segment = archive.archive();
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    archive.give_files();
    let [old_file, new_file] = [test_env.identity(), new.clone()].map(|file| file.display().to_string());
    archive.longshore(&["rekey", "--to", &recipient, "-i", &old_file]).expect(0).shows("main/wal").shows("written");
    archive.longshore(&["rekey", "--to", &recipient, "-i", &old_file]).expect(0).omits("written");
    archive.longshore(&["verify", "main/wal", "-i", &new_file]).expect(0).omits("damaged").shows("verified");
    archive.longshore(&["wal", "status"]).expect(0);
    archive.longshore(&["list"]).expect(0).omits("belong");
    let fetch = ["wal", "fetch", &segment, "pg_wal/RECOVERYXLOG", "-i", &new_file];
    archive.in_data_dir(&fetch).expect(0);
    // WAL is pruned with its headers.
    let has_headers = |segment: &str| headers(&test_env.local()).iter().any(|it| it.sealed.as_str().contains(segment));
    assert!(has_headers(&unneeded) && has_headers(&segment));
    archive.configure("recovery_window = 'none'");
    archive.longshore(&["prune"]).expect(0).shows(&unneeded);
    assert!(!has_headers(&unneeded) && has_headers(&segment));
    // By hand, with the commands of the page and the new identity alone.
    fs::rename(&new, test_env.identity()).unwrap();
    let (folder, done) = unpack_with_the_page(test_env, &Installation::newer());
    done.shows("OK").omits("is damaged");
    let restored = recovery_reaches_its_target::start(folder, &Installation::newer(), &[]);
    assert_eq!(restored.psql("shop", "select i from t"), "42");
}

#[test]
fn locked_bucket_keeps_every_version() {
    let (test_env, ceph) = (TestEnv::new(), Ceph::start());
    let lock = "object_lock = { mode = 'governance', retain = 'policy' }";
    let remote = [("offsite", test_env.in_ceph_bucket(&ceph, "acme", Protection::ObjectLock, lock))];
    let more = "retention = { offsite = 'standard' }\n[retention.standard]\nkeep_within = '2d'";
    test_env.configure(&Job { dump: GLOBALS, remote: &remote, more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let (versions, _) = ceph.versions("acme");
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    let rekey = ["rekey", "--to", &recipient, "--destination", "offsite"];
    with(&test_env, &test_env.identity(), &rekey).expect(0).shows("written");
    // A header, its page, and the report of the rekey with its details.
    let (after, markers) = ceph.versions("acme");
    assert!((versions + 2..=versions + 4).contains(&after) && markers == 0, "{versions} {after} {markers}");
    with(&test_env, &new, &["verify", "--destination", "offsite"]).expect(0).shows("verified: ");
    with(&test_env, &test_env.identity(), &rekey).expect(0).omits("written");
}

/// Fills a folder with encrypted backups of one database, an hour apart, that share the bytes of
/// one real backup. Returns their number of encrypted files.
fn fill(test_env: &TestEnv, count: usize) -> usize {
    sample::load(&test_env.cluster, 10);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let local = test_env.local();
    let template: Manifest = serde_json::from_slice(&fs::read(manifest(&local)).unwrap()).unwrap();
    let artifact = fs::read(local.join(template.artifact.key.as_str())).unwrap();
    // The details name their backup, which older ones do not.
    let sealed = local.join(template.details.as_ref().unwrap().key.as_str());
    let plain = finish(Command::new("age").arg("-d").arg("-i").arg(test_env.identity()).arg(&sealed)).expect(0).stdout;
    let mut details: serde_json::Value = serde_json::from_str(&plain).unwrap();
    details.as_object_mut().unwrap().remove("backup").unwrap();
    let (plain, sealed) = (test_env.path("details.json"), test_env.path("details.age"));
    fs::write(&plain, details.to_string()).unwrap();
    finish(Command::new("age").args(["-r", test_env.recipient(), "-o"]).arg(&sealed).arg(&plain)).expect(0);
    let details = fs::read(&sealed).unwrap();
    for file in files(&local) {
        fs::remove_file(local.join(file)).unwrap();
    }
    for hour in 0..count {
        let mut manifest = template.clone();
        manifest.time = Timestamp::new(template.time.time() - chrono::TimeDelta::hours(hour as i64));
        manifest.needs = Vec::new();
        let name = manifest.name().unwrap();
        manifest.artifact.key = name.artifact(".dump.zst.age").unwrap();
        manifest.details = Some(SealedFile { key: name.details(".age").unwrap(), sealed: Digest::of(&details) });
        fs::write(local.join(manifest.artifact.key.as_str()), &artifact).unwrap();
        fs::write(local.join(manifest.details.as_ref().unwrap().key.as_str()), &details).unwrap();
        fs::write(local.join(name.manifest().as_str()), manifest.to_bytes().unwrap()).unwrap();
    }
    2 * count
}

/// Rekeys backups in a bucket, and compares the requests with the sizes of the headers. Returns the
/// number of requests for parts of files, and the number of their bytes.
fn count_requests(count: usize) -> (usize, u64) {
    let (test_env, garage) = (TestEnv::new(), Garage::single_node());
    let sealed = fill(&test_env, count);
    let bytes = |file: &str| fs::read(test_env.local().join(file)).unwrap();
    let proxy = RecordingProxy::start(garage.address(0));
    let key = garage.bucket("acme", Permission::Everything);
    let bucket = test_env.s3("acme", proxy.address(), REGION, [&key.id, &key.secret], "parallel = 8");
    let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
    test_env.configure(&Job { dump, remote: &[("offsite", bucket)], ..Job::default() });
    test_env.longshore(&["sync"]).expect(0);
    proxy.requests();
    let (new, recipient) = new_identity(&test_env.path(""), "new.txt");
    let rekey = ["rekey", "--to", &recipient, "--destination", "offsite"];
    with(&test_env, &test_env.identity(), &rekey).expect(0).shows(&sealed.to_string());
    let requests = proxy.requests();
    let path_of = |path: &str| path.trim_start_matches("/acme/").split('?').next().unwrap().to_owned();
    let of_sealed: Vec<_> = requests.iter().filter(|request| path_of(&request.path).ends_with(".age")).collect();
    let (mut read, mut headers) = (0, BTreeMap::new());
    for request in &of_sealed {
        let file = path_of(&request.path);
        assert_eq!(request.method, "GET", "{request:?}");
        let header = *headers
            .entry(file.clone())
            .or_insert_with(|| bytes(&file).windows(4).position(|window| window == b"\n---").unwrap() as u64 + 49);
        let (begin, end) = request.range.expect("a part of the file");
        assert!(end <= header, "{file}: a header of {header} bytes, but {begin}..{end} were requested");
        read += end - begin;
    }
    assert_eq!(headers.len(), sealed);
    assert_eq!(read, headers.values().sum::<u64>(), "each byte of a header once");
    let written = |request: &&_| request_is_header(request);
    assert_eq!(requests.iter().filter(written).count(), sealed);
    // A second rekey authenticates the headers, and writes none.
    with(&test_env, &test_env.identity(), &rekey).expect(0).omits("written");
    let again = proxy.requests();
    let opened: BTreeSet<_> = again.iter().map(|request| path_of(&request.path)).collect();
    assert_eq!(opened.iter().filter(|path| path.ends_with(".age")).count(), sealed);
    assert!(
        again
            .iter()
            .all(|request| request.method != "GET" || request.range.is_none_or(|(begin, end)| end - begin < 1000))
    );
    assert_eq!(again.iter().filter(written).count(), 0);
    let verified = with(&test_env, &new, &["verify", "--all", "--destination", "offsite"]).expect(0);
    assert_eq!(verified.stdout.matches("verified: ").count(), count);
    (of_sealed.len(), read)
}

fn request_is_header(request: &crate::support::Request) -> bool {
    request.method == "PUT" && request.path.contains(".age-header")
}

#[test]
fn only_headers_are_requested() {
    let (requests, _) = count_requests(20);
    assert!(requests <= 40 * 8, "{requests}");
}

mod slow {
    use super::*;

    #[test]
    fn thousand_backups_are_rekeyed_by_their_headers() {
        let (requests, bytes) = count_requests(1000);
        assert!(requests <= 2000 * 8 && bytes <= 2000 * 400, "{requests} requests for {bytes} bytes of headers");
    }
}
