//! `verify` reads back the backups of a destination, reports every change, and distinguishes damage
//! from read errors.

use crate::support::{Job, TestEnv, artifact, finish, manifest};

fn with_backup() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 2);
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["verify", "--all"]).expect(0).shows("verified: read to its end");
    test_env
}

#[test]
fn flipped_cut_or_missing_artifact_is_damage() {
    for damage in ["flip", "cut", "remove"] {
        let test_env = with_backup();
        let artifact = artifact(&test_env.local().join("main/bulk"));
        let mut bytes = std::fs::read(&artifact).unwrap();
        match damage {
            "flip" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&artifact, bytes).unwrap();
            }
            "cut" => std::fs::write(&artifact, &bytes[..bytes.len() - 1]).unwrap(),
            _ => std::fs::remove_file(&artifact).unwrap(),
        }
        test_env.longshore(&["verify"]).expect(4).shows("main/bulk/bulk-").stdout_shows("damaged");
        test_env.run_with_identity(&["verify"]).expect(4).stdout_shows("damaged");
        let read = test_env.json(&["verify", "--json"]);
        let damaged: Vec<_> = read.as_array().unwrap().iter().filter(|read| read["damaged"] == true).collect();
        assert_eq!(damaged.len(), 1, "{damage}");
        // A restore reports the damage.
        let to = format!("{} dbname=again", test_env.cluster.connection());
        let restored = test_env.run_with_identity(&["restore", "bulk", "--create", "--to", &to]);
        assert!(matches!(restored.code, Some(2 | 4)), "{damage}: {restored:?}");
    }
}

#[test]
fn cut_or_moved_manifest_is_damage() {
    let test_env = with_backup();
    let manifest = manifest(&test_env.local().join("main/bulk"));
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    test_env.longshore(&["list"]).expect(4).shows("not a");
    for verify in [&["verify", "--all"][..], &["verify"], &["verify", "bulk"], &["verify", "main/bulk"]] {
        test_env.longshore(verify).expect(4).stdout_shows("damaged").shows("main/bulk/bulk-");
    }
    test_env.longshore(&["verify", "postgres"]).expect(0);
    let other_manifest = test_env.make_folder("local/main/other").join("other-2026-06-07_091500.json");
    std::fs::write(&manifest, &whole).unwrap();
    std::fs::write(other_manifest, &whole).unwrap();
    test_env.longshore(&["list"]).expect(4).shows("which is another backup");
}

#[test]
fn newer_manifest_version_is_not_damage() {
    let test_env = with_backup();
    let manifest = manifest(&test_env.local().join("main/bulk"));
    let newer = std::fs::read_to_string(&manifest).unwrap().replace("\"format\": 1,", "\"format\": 3,");
    std::fs::write(&manifest, newer).unwrap();
    test_env.longshore(&["list"]).expect(3).shows("manifest format 3");
    test_env.longshore(&["verify"]).expect(3).shows("manifest format 3").stdout_omits("damaged");
}

#[test]
fn damage_outweighs_an_unreadable_destination() {
    let test_env = TestEnv::new();
    let (near, off) = (test_env.make_folder("near"), test_env.make_folder("off"));
    test_env.configure(&Job { ship: &[("near", &near), ("off", &off)], ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    std::fs::remove_file(artifact(&near.join("main/postgres"))).unwrap();
    std::fs::remove_dir_all(&off).unwrap();
    test_env.longshore(&["list"]).expect(4).shows("damaged: no artifact").shows("off");
}

#[test]
fn directory_dump_is_verified_with_and_without_scratch_dir() {
    let test_env = TestEnv::new();
    let scratch = test_env.make_folder("scratch");
    let more = format!("scratch_dir = '{}'", scratch.display());
    let dump = "[{ type = 'pg_dump', format = 'directory' }]";
    test_env.configure(&Job { dump, more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    std::fs::write(test_env.config_path(), config.replace("job.nightly", "job.other").replace(&more, "")).unwrap();
    test_env.run_with_identity(&["verify"]).expect(0).shows("verified: read to its end");
    std::fs::write(test_env.config_path(), config.replace(&more, "verify = [{ type = 'pg_restore' }]")).unwrap();
    // The job's settings are incomplete, but its backups still exist.
    test_env.run_with_identity(&["verify"]).expect(2).shows("--scratch-dir");
    let mut verify = test_env.command();
    verify.args(["verify", "--scratch-dir"]).arg(&scratch).arg("--identity").arg(test_env.identity());
    finish(&mut verify).expect(0).shows("verified: decoded by pg_restore");
    assert_eq!(crate::support::files(&scratch), [""; 0]);
}

#[test]
fn wrong_identity_is_not_damage() {
    let test_env = with_backup();
    let other = TestEnv::new();
    let mut verify = test_env.command();
    let result = crate::support::finish(verify.args(["verify", "bulk", "--identity"]).arg(other.identity()));
    result.expect(2).stdout_shows("failed").stdout_omits("damaged");
}

#[test]
fn verifies_one_named_backup() {
    let test_env = with_backup();
    let name = test_env.json(&["list", "bulk", "--json"])[0]["name"].as_str().unwrap().to_owned();
    test_env.run_with_identity(&["verify", &name]).expect(0).shows(&name);
    test_env.run_with_identity(&["verify", "nothing"]).expect(1).shows("no backup of that name");
}

#[test]
fn digest_detects_change_in_uncompressed_data() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("letters");
    test_env.cluster.psql("letters", "CREATE TABLE t AS SELECT 'a word to change' AS word");
    let dump = "[{ type = 'pg_dump', databases = ['letters'] }]";
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump, more, encrypt: Some("{ type = 'none' }"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let artifact = artifact(&test_env.local().join("main/letters"));
    let mut bytes = std::fs::read(&artifact).unwrap();
    let place = bytes.windows(16).position(|bytes| bytes == b"a word to change").unwrap();
    bytes[place] = b'A';
    std::fs::write(&artifact, bytes).unwrap();
    test_env
        .longshore(&["inspect", "--check", artifact.to_str().unwrap()])
        .expect(0)
        .shows("no checksum covers any of its")
        .shows("only a digest detects");
    // The digests of a backup cover all of its bytes.
    test_env.longshore(&["inspect", "--check", "letters"]).expect(4);
    test_env.longshore(&["verify"]).expect(4).stdout_shows("damaged");
}
