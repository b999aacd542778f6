//! Differences between real sequences of bytes, applied here and by Debian's `rdiff`.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use longshore_rdiff::signature::sign;
use longshore_rdiff::{BlockHasher, Encoder, Key, Signature, patch};
use proptest::prelude::*;

const KEY: Key = Key([7; 32]);

/// Encodes `new` against `old` in pieces.
fn encode(old: &[u8], new: &[u8], block_bytes: u32, piece: usize) -> Vec<u8> {
    let (place, summary) = sign(old, &KEY, block_bytes).unwrap();
    let mut encoder = Encoder::new(Signature::open(place, &KEY, block_bytes, &summary).unwrap());
    let mut delta = Vec::new();
    new.chunks(piece).for_each(|piece| encoder.push(piece, &mut delta));
    assert!(encoder.encoded_bytes() as usize >= delta.len());
    encoder.finish(&mut delta);
    delta
}

fn patched(old: &[u8], delta: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    patch(&mut &*old, &mut &*delta, &mut out).unwrap();
    out
}

fn rdiff(arguments: &[&Path]) {
    let output = Command::new("rdiff").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Applies a delta with the program `rdiff`.
fn patched_by_rdiff(folder: &Path, old: &[u8], delta: &[u8]) -> Vec<u8> {
    let [base, difference, new] = ["base", "delta", "new"].map(|name| folder.join(name));
    fs::write(&base, old).unwrap();
    fs::write(&difference, delta).unwrap();
    if new.exists() {
        fs::remove_file(&new).unwrap();
    }
    rdiff(&["patch".as_ref(), &base, &difference, &new]);
    fs::read(&new).unwrap()
}

/// Rows of text, such as those of a dump.
fn rows(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count)
        .map(|number| {
            let text: String = (0..random.usize(10..90)).map(|_| random.alphanumeric()).collect();
            format!("{number}\t{text}\t\\N\n").into_bytes()
        })
        .collect()
}

/// A change of some rows.
#[derive(Debug, Clone)]
enum Edit {
    Change(f64),
    Insert(f64, usize),
    Delete(f64, usize),
    Cut(f64),
    Byte(f64),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let place = || 0.0..1.0_f64;
    let edit = prop_oneof![
        4 => place().prop_map(Edit::Change),
        2 => (place(), 1..400_usize).prop_map(|(at, count)| Edit::Insert(at, count)),
        2 => (place(), 1..400_usize).prop_map(|(at, count)| Edit::Delete(at, count)),
        1 => place().prop_map(Edit::Cut),
        2 => place().prop_map(Edit::Byte),
    ];
    prop::collection::vec(edit, 0..12)
}

fn edited(mut rows: Vec<Vec<u8>>, edits: &[Edit]) -> Vec<u8> {
    let index = |at: f64, length: usize| ((at * length as f64) as usize).min(length.saturating_sub(1));
    for (number, edit) in edits.iter().enumerate() {
        let length = rows.len();
        match *edit {
            _ if length == 0 => break,
            Edit::Change(at) => rows[index(at, length)] = format!("changed\t{number}\n").into_bytes(),
            Edit::Insert(at, count) => {
                let at = index(at, length);
                rows.splice(at..at, self::rows(count, number as u64 + 1000));
            }
            Edit::Delete(at, count) => {
                let at = index(at, length);
                rows.drain(at..(at + count).min(length));
            }
            Edit::Cut(at) => rows.truncate(index(at, length).max(length / 2)),
            Edit::Byte(at) => {
                let row = &mut rows[index(at, length)];
                row[0] = row[0].wrapping_add(1);
            }
        }
    }
    rows.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn edited_files_are_reconstructed(
        seed in any::<u64>(), edits in edits(), block in prop::sample::select(vec![128_u32, 512, 1024]),
        piece in prop::sample::select(vec![1000_usize, 4096, 70_001, 1 << 20]),
    ) {
        let rows = rows(2000, seed);
        let (old, new) = (rows.concat(), edited(rows, &edits));
        let delta = encode(&old, &new, block, piece);
        prop_assert_eq!(patched(&old, &delta), new);
    }

    #[test]
    fn bytes_without_structure_are_reconstructed(
        old in prop::collection::vec(0..3_u8, 0..5000), new in prop::collection::vec(0..3_u8, 0..5000), piece in 1..600_usize,
    ) {
        let delta = encode(&old, &new, 128, piece);
        prop_assert_eq!(patched(&old, &delta), new);
        let twice = [&old[..], &old].concat();
        let delta = encode(&twice, &old, 128, piece);
        prop_assert_eq!(patched(&twice, &delta), old);
    }

    #[test]
    fn any_bytes_as_a_delta_end(delta in prop::collection::vec(any::<u8>(), 0..300)) {
        let delta = [&b"rs\x026"[..], &delta].concat();
        let mut out = Vec::new();
        if patch(&mut &[5; 1000][..], &mut &delta[..], &mut out).is_err() {
            prop_assert!(out.len() <= 1000 + delta.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rdiff_applies_our_deltas_and_we_apply_its(seed in any::<u64>(), edits in edits()) {
        let folder = tempfile::tempdir().unwrap();
        let rows = rows(1500, seed);
        let (old, new) = (rows.concat(), edited(rows, &edits));
        let delta = encode(&old, &new, 512, 10_000);
        prop_assert_eq!(patched_by_rdiff(folder.path(), &old, &delta), &*new);
        let [base, signature, changed, difference] = ["base", "signature", "changed", "difference"].map(|name| folder.path().join(name));
        fs::write(&changed, &new).unwrap();
        rdiff(&["signature".as_ref(), &base, &signature]);
        rdiff(&["delta".as_ref(), &signature, &changed, &difference]);
        prop_assert_eq!(patched(&old, &fs::read(&difference).unwrap()), new);
    }
}

/// Tables of rows that all differ.
fn tables() -> [Vec<u8>; 4] {
    [1, 2, 3, 4].map(|seed| rows(100_000, seed).concat())
}

/// Returns the size of the delta in percent of the new file, after a check of both directions.
fn percent(old: &[&[u8]], new: &[&[u8]]) -> f64 {
    let (old, new) = (old.concat(), new.concat());
    let delta = encode(&old, &new, 512, 100_000);
    assert!(patched(&old, &delta) == new);
    100.0 * delta.len() as f64 / new.len() as f64
}

#[test]
fn position_is_found_again_after_lost_tables() {
    let [a, b, c, d] = tables();
    // Each table exceeds the window of 4 MiB.
    assert!(a.len() > 5 << 20);
    let same = percent(&[&a, &b, &c], &[&a, &b, &c]);
    let dropped = percent(&[&a, &b, &c], &[&a, &c]);
    let added = percent(&[&a, &b, &c], &[&a, &d, &b, &c]);
    let rewritten = percent(&[&a, &b, &c], &[&a, &d, &c]);
    let shortened = percent(&[&a, &b, &c], &[&a, &b[b.len() - 100_000..], &c]);
    assert!(same < 0.1, "{same}");
    assert!(dropped < 2.0, "{dropped}");
    assert!((20.0..27.0).contains(&added), "a fourth is new: {added}");
    assert!((30.0..36.0).contains(&rewritten), "a third is new: {rewritten}");
    assert!(shortened < 2.0, "{shortened}");
    // All copies are forward, so what precedes a table that moved to the front is lost.
    let moved = percent(&[&a, &b, &c], &[&c, &a, &b]);
    assert!(moved < 101.0, "never more than literal data: {moved}");
}

#[test]
fn changes_in_one_of_hundred_rows_cost_little() {
    let rows = rows(200_000, 5);
    let mut random = fastrand::Rng::with_seed(1);
    let mut changed = rows.clone();
    for _ in 0..rows.len() / 100 {
        let index = random.usize(..changed.len());
        changed[index] = format!("{}\tanother\n", random.u64(..)).into_bytes();
    }
    let (old, new) = (rows.concat(), changed.concat());
    let delta = encode(&old, &new, 512, 1 << 18);
    assert!(patched(&old, &delta) == new);
    assert!(delta.len() * 8 < new.len(), "{} of {}", delta.len(), new.len());
}

#[test]
fn repeated_blocks_cause_no_far_jump() {
    let [a, b, c, _] = tables();
    let zeros = vec![0; 200_000];
    // The second run of zeros is far behind the inserted one.
    let jump = percent(&[&a, &b, &zeros, &c], &[&a[..1000], &zeros[..900], &a[1000..], &b, &zeros, &c]);
    assert!(jump < 1.0, "{jump}");
}

#[test]
fn tiny_files_are_reconstructed() {
    for (old, new) in [(&b""[..], &b""[..]), (b"", b"abc"), (b"abc", b""), (b"abc", b"abc"), (&[1; 513], &[1; 512])] {
        assert_eq!(patched(old, &encode(old, new, 512, 100)), new);
    }
}

/// Without the strong digest, the block would be copied in place of the other.
#[test]
fn block_with_the_same_rolling_digest_is_not_copied() {
    let hasher = BlockHasher::new(&KEY, 128);
    let mut random = fastrand::Rng::with_seed(3);
    let mut seen = HashMap::new();
    let forged = (0..400_000).find_map(|_| {
        let block: [u8; 128] = std::array::from_fn(|_| random.u8(..));
        let other = seen.insert(hasher.entry(&block).rolling, block);
        other.filter(|other| *other != block).map(|other| (other, block))
    });
    let (old, new) = forged.expect("two of 400,000 blocks have the same 32 bits");
    assert_ne!(hasher.entry(&old).strong, hasher.entry(&new).strong);
    let delta = encode(&old, &new, 128, 100);
    assert!(delta.len() > 128 && patched(&old, &delta) == new);
}
