//! Each flipped byte of an archive is found, or has no meaning.
//!
//! Two changes have no meaning: that of the character after a header's checksum to the other one of
//! blank and zero byte, and that of the case of a digit of the manifest's checksum.

use std::sync::LazyLock;

use longshore_pg_base::{ErrorKind, Facts};
use longshore_testkit::cluster::Installation;
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::prop_assert;

use crate::support;
use crate::support::tar::Member;
use crate::support::{real, tar, verify};

/// A small backup, made of a part of a real one, with its facts and members.
static SMALL: LazyLock<(Vec<u8>, Facts, Vec<Member>)> = LazyLock::new(|| {
    let source = real::Source::start(&Installation::of_major(17), &[]);
    let relation = source.cluster.psql("postgres", "SELECT pg_relation_filepath('stars')");
    let mut members = tar::members(&source.back_up(&["-X", "none"]).merged());
    let kept =
        ["backup_label", "tablespace_map", "PG_VERSION", "global/pg_control", "global/1262", "base/1/PG_VERSION"];
    let is_kept = |path: &str| {
        let is_folder = ["base/", "base/1/", "global/", "pg_tblspc/", "pg_wal/"].contains(&path);
        kept.contains(&path) || path == "backup_manifest" || path == relation || is_folder
    };
    members.retain(|member| is_kept(&member.path) || member.path.starts_with("pg_tblspc/") && member.is_directory());
    support::damage::content(&mut members, &relation).truncate(16_384);
    let manifest = support::damage::content(&mut members, "backup_manifest");
    let lines = support::manifest::lines_before_checksum(manifest);
    let is_listed = |line: &&str| {
        let path = line.strip_prefix("{ \"Path\": \"").and_then(|rest| rest.split('"').next());
        path.is_none_or(is_kept)
    };
    let lines: Vec<&str> = lines.lines().filter(is_listed).collect();
    *manifest = support::manifest::finished(&(lines.join("\n") + "\n").replace("},\n]", "}\n]"));
    let archive = tar::archive(&support::refitted(&members));
    let facts = verify(&archive).unwrap();
    let members = tar::members(&archive);
    (archive, facts, members)
});

/// The places of the headers in the small backup.
static HEADERS: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let mut archive = ::tar::Archive::new(&SMALL.0[..]);
    let positions = archive.entries().unwrap().map(|entry| entry.unwrap().raw_header_position() as usize);
    positions.collect()
});

/// Returns true if the change of one byte is found or has no meaning.
fn is_found(at: usize, mask: u8) -> bool {
    let (archive, facts, members) = &*SMALL;
    let mut flipped = archive.clone();
    flipped[at] ^= mask;
    match verify(&flipped) {
        Err(_) => true,
        Ok(read) => {
            let (before, after) = (archive[at], flipped[at]);
            let is_terminator = at.checked_sub(155).is_some_and(|at| HEADERS.contains(&at))
                && matches!((before, after), (b' ', 0) | (0, b' '));
            let is_digit = before.eq_ignore_ascii_case(&after) && manifest_checksum().contains(&at);
            (is_terminator || is_digit) && read == *facts && tar::members(&flipped).len() == members.len()
        }
    }
}

/// The place of the digits of the manifest's own checksum, which mean the same in either case.
fn manifest_checksum() -> std::ops::Range<usize> {
    let archive = &SMALL.0;
    let key = b"\"Manifest-Checksum\": \"";
    let at = archive.windows(key.len()).position(|part| part == key).unwrap() + key.len();
    at..at + 64
}

#[test]
fn every_byte_flipped_is_found() {
    let (archive, facts, _) = &*SMALL;
    assert_eq!(support::pages(facts).0, 3, "pages of {} bytes", archive.len());
    for at in 0..archive.len() {
        let mask = 1 << (at % 8);
        assert!(is_found(at, mask), "mask {mask:#x} of byte {at}, in the block {:?}", &archive[at / 512 * 512..at]);
    }
}

#[test]
fn every_cut_is_found() {
    let archive = &SMALL.0;
    for end in 0..archive.len() {
        let error = verify(&archive[..end]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Damaged, "cut at {end}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_byte_changed_is_found(at in any::<proptest::sample::Index>(), mask in 1..=u8::MAX) {
        let at = at.index(SMALL.0.len());
        prop_assert!(is_found(at, mask), "mask {:#x} of byte {}", mask, at);
    }

    #[test]
    fn any_hostile_bytes_give_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(verify(&bytes).is_err());
    }
}
