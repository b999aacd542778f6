//! `verify` reads back the backups of a destination, reports every change, and distinguishes damage
//! from read errors.

use crate::support::{Job, Workshop, artifact, finish, manifest};

fn with_backup() -> Workshop {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 2);
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["verify", "--all"]).expect(0).says("verified: read to its end");
    workshop
}

#[test]
fn a_flipped_bit_a_cut_and_a_missing_artifact_are_damage_with_and_without_an_identity() {
    for damage in ["flip", "cut", "remove"] {
        let workshop = with_backup();
        let artifact = artifact(&workshop.local().join("main/bulk"));
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
        workshop.longshore(&["verify"]).expect(4).says("main/bulk/bulk-").says("DAMAGED");
        workshop.opening(&["verify"]).expect(4).says("DAMAGED");
        let read = workshop.json(&["verify", "--json"]);
        let damaged: Vec<_> = read.as_array().unwrap().iter().filter(|read| read["damaged"] == true).collect();
        assert_eq!(damaged.len(), 1, "{damage}");
        // A restore reports the damage.
        let to = format!("{} dbname=again", workshop.cluster.connection());
        let restored = workshop.opening(&["restore", "bulk", "--create", "--to", &to]);
        assert!(matches!(restored.code, Some(2 | 4)), "{damage}: {restored:?}");
    }
}

#[test]
fn a_manifest_that_was_cut_or_moved_is_damage() {
    let workshop = with_backup();
    let manifest = manifest(&workshop.local().join("main/bulk"));
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    workshop.longshore(&["list"]).expect(4).says("not a");
    for verify in [&["verify", "--all"][..], &["verify"], &["verify", "bulk"], &["verify", "main/bulk"]] {
        workshop.longshore(verify).expect(4).says("DAMAGED").says("main/bulk/bulk-");
    }
    workshop.longshore(&["verify", "postgres"]).expect(0);
    let elsewhere = workshop.make_folder("local/main/other").join("other-2026-06-07_091500.json");
    std::fs::write(&manifest, &whole).unwrap();
    std::fs::write(elsewhere, &whole).unwrap();
    workshop.longshore(&["list"]).expect(4).says("which is another backup");
}

#[test]
fn a_manifest_of_a_newer_version_is_reported_and_is_no_damage() {
    let workshop = with_backup();
    let manifest = manifest(&workshop.local().join("main/bulk"));
    let newer = std::fs::read_to_string(&manifest).unwrap().replace("\"format\": 1,", "\"format\": 2,");
    std::fs::write(&manifest, newer).unwrap();
    workshop.longshore(&["list"]).expect(3).says("manifest format 2");
    workshop.longshore(&["verify"]).expect(3).says("manifest format 2").keeps_quiet_about("DAMAGED");
}

#[test]
fn damage_outweighs_a_destination_that_cannot_be_read() {
    let workshop = Workshop::new();
    let (near, off) = (workshop.make_folder("near"), workshop.make_folder("off"));
    workshop.configure(&Job { ship: &[("near", &near), ("off", &off)], ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    std::fs::remove_file(artifact(&near.join("main/postgres"))).unwrap();
    std::fs::remove_dir_all(&off).unwrap();
    workshop.longshore(&["list"]).expect(4).says("damaged: no artifact").says("off");
}

#[test]
fn a_directory_dump_is_verified_in_the_stream_and_by_pg_restore_where_there_is_a_place_for_its_files() {
    let workshop = Workshop::new();
    let scratch = workshop.make_folder("scratch");
    let more = format!("scratch_dir = '{}'", scratch.display());
    let dump = "[{ type = 'pg_dump', format = 'directory' }]";
    workshop.configure(&Job { dump, more: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    std::fs::write(workshop.config_path(), config.replace("job.nightly", "job.other").replace(&more, "")).unwrap();
    workshop.opening(&["verify"]).expect(0).says("verified: read to its end");
    std::fs::write(workshop.config_path(), config.replace(&more, "verify = [{ type = 'pg_restore' }]")).unwrap();
    // The job's settings are incomplete, but its backups still exist.
    workshop.opening(&["verify"]).expect(2).says("--scratch-dir");
    let mut verify = workshop.command();
    verify.args(["verify", "--scratch-dir"]).arg(&scratch).arg("--identity").arg(workshop.identity());
    finish(&mut verify).expect(0).says("verified: decoded by pg_restore");
    assert_eq!(crate::support::files(&scratch), [""; 0]);
}

#[test]
fn a_wrong_identity_is_no_damage() {
    let workshop = with_backup();
    let other = Workshop::new();
    let mut verify = workshop.command();
    let ended = crate::support::finish(verify.args(["verify", "bulk", "--identity"]).arg(other.identity()));
    ended.expect(2).says("FAILED").keeps_quiet_about("DAMAGED");
}

#[test]
fn one_backup_can_be_named() {
    let workshop = with_backup();
    let name = workshop.json(&["list", "bulk", "--json"])[0]["name"].as_str().unwrap().to_owned();
    workshop.opening(&["verify", &name]).expect(0).says(&name);
    workshop.opening(&["verify", "nothing"]).expect(1).says("no backup of that name");
}

#[test]
fn a_changed_letter_that_no_reading_finds_is_found_by_the_manifests_digest() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("letters");
    workshop.cluster.psql("letters", "CREATE TABLE t AS SELECT 'a word to change' AS word");
    let dump = "[{ type = 'pg_dump', databases = ['letters'] }]";
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump, more, encrypt: Some("{ type = 'none' }"), ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let artifact = artifact(&workshop.local().join("main/letters"));
    let mut bytes = std::fs::read(&artifact).unwrap();
    let place = bytes.windows(16).position(|bytes| bytes == b"a word to change").unwrap();
    bytes[place] = b'A';
    std::fs::write(&artifact, bytes).unwrap();
    workshop
        .longshore(&["inspect", "--check", artifact.to_str().unwrap()])
        .expect(0)
        .says("no checksum covers any of its")
        .says("only a digest detects");
    // The digests of a backup cover all of its bytes.
    workshop.longshore(&["inspect", "--check", "letters"]).expect(4);
    workshop.longshore(&["verify"]).expect(4).says("DAMAGED");
}
