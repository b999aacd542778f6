//! Random edits of archives made by every release of PostgreSQL, applied here and by Debian's
//! `rdiff`, in both directions.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::thread;

use longshore_rdiff::signature::sign;
use longshore_rdiff::{Encoder, Key, Signature, Summary, patch};
use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

const KEY: Key = Key([7; 32]);
const BLOCK_BYTES: u32 = 384;

/// The changes of the database between two dumps.
const CHANGES: [&str; 3] = [
    "update edited set note = 'another' where i % 100 = 3; insert into edited select i, 'new' from generate_series(1, 99) i",
    "drop table dropped; create table added as select i, md5(i::text) from generate_series(1, 400) i; \
     delete from edited where i between 500 and 900",
    "create index on edited (note); cluster edited using edited_note_idx; alter table added rename to aa_moved",
];

/// Dumps of one database in one format: the first, and those after each change.
struct History {
    name: String,
    dumps: Vec<Vec<u8>>,
    /// The first dump, prepared for both encoders.
    signature: (Vec<u8>, Summary),
}

/// Returns the dumps of these releases in all formats that a difference supports.
fn histories(releases: Vec<Installation>) -> Vec<History> {
    let servers = releases.into_iter().map(|installation| thread::spawn(move || of_release(&installation)));
    let servers: Vec<_> = servers.collect();
    servers.into_iter().flat_map(|server| server.join().unwrap()).collect()
}

fn of_release(installation: &Installation) -> Vec<History> {
    let cluster = Cluster::start(installation, &[]);
    cluster.psql("postgres", sample::roles());
    let (database, script) = sample::databases(300).into_iter().find(|(name, _)| *name == sample::SHOP).unwrap();
    cluster.create_database(database);
    cluster.psql(database, &script);
    cluster.psql(
        database,
        "create table dropped as select i, md5((i * 3)::text) from generate_series(1, 700) i;
         create table edited as select i, md5(i::text) || repeat('x', i % 50) note from generate_series(1, 1500) i;
         create table toasted as select i, string_agg(md5((i * j)::text), '') from generate_series(1, 9) i,
         generate_series(1, 300) j group by i;
         select lo_from_bytea(0, decode(string_agg(md5(i::text), ''), 'hex')) from generate_series(1, 400) i",
    );
    let formats = ["custom", "plain", "tar"];
    let mut dumps = formats.map(|_| Vec::new());
    for change in [""].iter().chain(&CHANGES) {
        cluster.psql(database, change);
        for (format, dumps) in formats.iter().zip(&mut dumps) {
            let mut pg_dump = Command::new(installation.program("pg_dump"));
            pg_dump.arg("-d").arg(format!("{} dbname={database}", cluster.connection())).arg(format!("-F{format}"));
            let output = pg_dump.arg("-Z0").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            dumps.push(output.stdout);
        }
    }
    let history = |(format, dumps): (&str, Vec<Vec<u8>>)| {
        let signature = sign(&dumps[0][..], &KEY, BLOCK_BYTES).unwrap();
        History { name: format!("{} {format}", installation.major), dumps, signature }
    };
    formats.into_iter().zip(dumps).map(history).collect()
}

/// A change of an archive. Places are parts of its size.
#[derive(Debug, Clone)]
enum Edit {
    /// Replaces a byte.
    Replace(f64, u8),
    /// Inserts bytes that do not occur elsewhere.
    Insert(f64, Vec<u8>),
    /// Inserts a copy of a part.
    Repeat(f64, f64, usize),
    Delete(f64, usize),
    /// Exchanges the parts before and after a place within a range.
    Rotate(f64, usize),
    Truncate(f64),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let place = || 0.0..1.0_f64;
    let edit = prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        4 => (place(), prop::collection::vec(any::<u8>(), 1..300)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (place(), place(), 1..40_000_usize).prop_map(|(at, from, bytes)| Edit::Repeat(at, from, bytes)),
        4 => (place(), 1..3000_usize).prop_map(|(at, bytes)| Edit::Delete(at, bytes)),
        1 => (place(), 2..60_000_usize).prop_map(|(at, bytes)| Edit::Rotate(at, bytes)),
        1 => place().prop_map(Edit::Truncate),
    ];
    prop::collection::vec(edit, 0..20)
}

impl Edit {
    /// Returns true if the edit leaves the rest in its order, and makes no part occur twice.
    fn keeps_order(&self) -> bool {
        !matches!(self, Self::Repeat(..) | Self::Rotate(..))
    }
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let size = bytes.len();
    let place = |part: f64| ((part * size as f64) as usize).min(size);
    match edit {
        _ if size == 0 => {}
        Edit::Replace(at, byte) => bytes[place(*at).min(size - 1)] = *byte,
        Edit::Insert(at, inserted) => drop(bytes.splice(place(*at)..place(*at), inserted.iter().copied())),
        Edit::Repeat(at, from, length) => {
            let from = place(*from);
            let part = bytes[from..size.min(from + length)].to_vec();
            bytes.splice(place(*at)..place(*at), part);
        }
        Edit::Delete(at, length) => drop(bytes.drain(place(*at)..size.min(place(*at) + length))),
        Edit::Rotate(at, length) => {
            let part = &mut bytes[place(*at)..size.min(place(*at) + length)];
            part.rotate_left(part.len() / 3);
        }
        Edit::Truncate(at) => bytes.truncate(size / 2 + place(*at) / 2),
    }
}

fn encode(history: &History, new: &[u8], piece: usize) -> Vec<u8> {
    let (place, summary) = history.signature.clone();
    let mut encoder = Encoder::new(Signature::open(place, &KEY, BLOCK_BYTES, &summary).unwrap());
    let mut delta = Vec::new();
    new.chunks(piece).for_each(|piece| encoder.push(piece, &mut delta));
    encoder.finish(&mut delta);
    delta
}

fn rdiff(arguments: &[&Path]) {
    let output = Command::new("rdiff").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Reconstructs this many random edits of archives of these releases in both directions.
fn reconstruct_edits(releases: Vec<Installation>, cases: u32) {
    let histories = histories(releases);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // The first dump and its signature by `rdiff`, for each history.
    for (index, History { dumps, .. }) in histories.iter().enumerate() {
        let [base, signature] = ["base", "signature"].map(|kind| path(&format!("{kind}-{index}")));
        fs::write(&base, &dumps[0]).unwrap();
        rdiff(&["signature".as_ref(), &base, &signature]);
    }
    let [delta, new, patched] = ["delta", "new", "patched"].map(path);
    // `rdiff` does not overwrite.
    let vacate = |path: &Path| {
        if path.exists() {
            fs::remove_file(path).unwrap()
        }
    };
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::with_cases(cases)
    };
    let parameters =
        (0..histories.len(), 0..=CHANGES.len(), edits(), prop::sample::select(vec![1000_usize, 70_001, 1 << 20]));
    let backward = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&parameters, |(index, dump, edits, piece)| {
            let History { name, dumps, .. } = &histories[index];
            let (old, mut edited) = (&dumps[0], dumps[dump].clone());
            edits.iter().for_each(|edit| apply(&mut edited, edit));
            let [base, signature] = ["base", "signature"].map(|kind| path(&format!("{kind}-{index}")));

            let ours = encode(&histories[index], &edited, piece);
            let mut out = Vec::new();
            patch(&mut &old[..], &mut &ours[..], &mut out).unwrap();
            prop_assert!(out == edited, "{}: by the patch of this crate", name);
            fs::write(&delta, &ours).unwrap();
            vacate(&patched);
            rdiff(&["patch".as_ref(), &base, &delta, &patched]);
            prop_assert!(fs::read(&patched).unwrap() == edited, "{}: by the patch of rdiff", name);

            // `rdiff` also copies backward, so that its deltas are read where the order is kept.
            edited.clone_from(old);
            edits.iter().filter(|edit| edit.keeps_order()).for_each(|edit| apply(&mut edited, edit));
            fs::write(&new, &edited).unwrap();
            vacate(&delta);
            rdiff(&["delta".as_ref(), &signature, &new, &delta]);
            out.clear();
            match patch(&mut &old[..], &mut &fs::read(&delta).unwrap()[..], &mut out) {
                Ok(_) => prop_assert!(out == edited, "{}: of a delta of rdiff", name),
                // Some blocks are the same by chance.
                Err(error) => {
                    prop_assert_eq!(
                        (error.kind(), &*error.to_string()),
                        (ErrorKind::InvalidData, "the delta copies backward")
                    );
                    backward.set(backward.get() + 1);
                }
            }
            Ok(())
        })
        .unwrap();
    let forward = cases - backward.get().min(cases);
    assert!(forward >= cases / 2, "most deltas of rdiff are read: {forward} of {cases}");
}

#[test]
fn edited_archives_are_reconstructed_in_both_directions() {
    reconstruct_edits(vec![Installation::system()], 200);
}

mod slow {
    use super::{Installation, reconstruct_edits};

    #[test]
    fn ten_thousand_edited_archives_are_reconstructed() {
        let releases = Installation::all();
        assert!(releases.len() >= 4, "PostgreSQL 15 to 18");
        reconstruct_edits(releases, 10_000);
    }
}
