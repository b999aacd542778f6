//! The offsets of data, for archives that were written to a pipe.

use std::fs;
use std::process::Command;

use longshore_pg_archive::{offsets, read};
use longshore_testkit::cluster::{self, Cluster, Installation};
use longshore_testkit::sample;
use proptest::collection::vec;

use crate::support::mutation::{any_mutation, mutated, runner};
use crate::support::patching::apply_patches;
use crate::support::{self, Archive, Target, release};

/// Dumps a database in the custom format to a pipe.
fn piped(cluster: &Cluster, installation: &Installation, compression: &str) -> Vec<u8> {
    let mut pg_dump = Command::new(installation.program("pg_dump"));
    pg_dump.env_clear().arg("-d").arg(format!("{} dbname={}", cluster.connection(), sample::ZOO));
    let output = pg_dump.args(["--format=custom", "--compress", compression]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn patches_add_only_correct_offsets() {
    let archives = support::archives_of_two_releases();
    patches_add_offsets_of_all_data(&archives);
    damage_never_yields_wrong_offset(&archives);
}

fn patches_add_offsets_of_all_data(archives: &[Archive]) {
    for archive in archives {
        let patches = offsets::missing(&archive.bytes[..]).unwrap();
        if archive.target == Target::File {
            assert_eq!(patches, [], "{}", archive.name);
            continue;
        }
        let facts = support::read(&archive.bytes).unwrap();
        let with_data = facts.objects.get("TABLE DATA").unwrap() + facts.objects.get("BLOBS").unwrap();
        assert_eq!(patches.len() as u64, with_data, "{}", archive.name);
        let patched = apply_patches(archive.bytes.clone(), &patches);
        // Reading checks every offset in the TOC.
        assert_eq!(support::read(&patched).unwrap(), facts, "{}", archive.name);
        assert_eq!(offsets::missing(&patched[..]).unwrap(), [], "{}", archive.name);
    }
}

#[test]
fn parallel_restore_of_patched_archive_is_complete() {
    restore_in_parallel(&release::newest());
}

/// Restores patched archives of the zoo, and compares the databases with the zoo.
fn restore_in_parallel(installation: &Installation) {
    let cluster = Cluster::start(installation, &[]);
    sample::load_zoo(&cluster);
    let before = cluster::contents(&cluster, sample::ZOO);
    let algorithm = if installation.major >= 16 && installation.compresses() { "zstd" } else { "6" };
    for compression in ["0", algorithm] {
        let bytes = piped(&cluster, installation, compression);
        let patches = offsets::missing(&bytes[..]).unwrap();
        assert!(patches.len() > 100, "{}", patches.len());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), apply_patches(bytes, &patches)).unwrap();
        let target = format!("restored {compression}");
        cluster.create_database(&target);
        let mut pg_restore = Command::new(installation.program("pg_restore"));
        pg_restore.env_clear().args(["--exit-on-error", "--jobs=2", "-d"]);
        pg_restore.arg(format!("{} dbname='{target}'", cluster.connection())).arg(file.path());
        let output = pg_restore.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Privileges on the database itself come first, and the dump does not contain them.
        let of_content = |text: &str| text.split_once("\nrows|").unwrap().1.to_owned();
        let after = cluster::contents(&cluster, &target);
        assert!(of_content(&after) == of_content(&before), "{} {compression}", installation.major);
    }
}

fn damage_never_yields_wrong_offset(archives: &[Archive]) {
    for archive in archives {
        for cut in (0..archive.bytes.len()).step_by(997) {
            assert!(offsets::missing(&archive.bytes[..cut]).is_err(), "{} {cut}", archive.name);
        }
    }
    runner(300)
        .run(&(0..archives.len(), vec(any_mutation(), 1..4)), |(archive, mutations)| {
            let mutated = mutated(&archives[archive].bytes, &mutations);
            let (read_before, patches) = (support::read(&mutated), offsets::missing(&mutated[..]));
            // Patches do not damage an intact archive, and exist for every archive without
            // detectable damage.
            if let Ok(facts) = read_before {
                let behind = apply_patches(mutated, &patches.unwrap());
                assert_eq!(read(&behind[..], &mut |_| ()).map_err(|error| error.to_string()), Ok(facts));
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The other releases.
mod slow {
    use super::{release, restore_in_parallel};

    #[test]
    fn parallel_restore_is_complete_on_older_releases() {
        release::older().iter().for_each(restore_in_parallel);
    }
}
