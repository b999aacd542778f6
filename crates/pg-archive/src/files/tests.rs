//! Small handmade tars: intact tars in every order, and combinations of damage and place.

mod extra_members;
mod member_kinds;
mod member_order;

use std::io::Write;

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::read;
use crate::error::{Error, ErrorKind, Result};
use crate::facts::{Facts, Format};
use crate::input::Input;

type Members = Vec<(String, Vec<u8>)>;

const ROWS: &[u8] = b"1\tone\n2\ttwo\n\\.\n\n\n";
const STATEMENTS: &[u8] = b"INSERT INTO public.u VALUES (1);\n\n\n";
const SCRIPT: &[u8] = b"--\n-- NOTE:\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n";

fn int(value: i32) -> Vec<u8> {
    let mut bytes = vec![u8::from(value < 0)];
    bytes.extend(value.unsigned_abs().to_le_bytes());
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [int(text.len() as i32), text.as_bytes().to_vec()].concat()
}

/// Returns an entry of version 1.16.
fn entry(id: i32, name: &str, kind: &str, sql: &str, copy: &str, file: &str) -> Vec<u8> {
    let had_dumper = i32::from(!file.is_empty());
    let front = [int(id), int(had_dumper), text("0"), text("0"), text(name), text(kind), int(3), text(sql), text("")];
    let back = [text(copy), text("public"), text(""), text(""), int(0), text("me"), text("false"), int(-1), text(file)];
    [front.concat(), back.concat()].concat()
}

/// Returns a `toc.dat`: table t with two columns, table u with INSERT statements, the large objects
/// 7 and 8.
fn toc(compression: u8, large_objects: &str) -> Vec<u8> {
    let entries = [
        entry(1, "ENCODING", "ENCODING", "SET client_encoding = 'UTF8';\n", "", ""),
        entry(2, "t", "TABLE DATA", "", "COPY public.t (a, b) FROM stdin;\n", "2.dat"),
        entry(3, "u", "TABLE DATA", "", "", "3.dat"),
        entry(4, "7..8", "BLOB METADATA", "7\n8\n", "", ""),
        entry(5, "BLOBS", "BLOBS", "", "", large_objects),
    ];
    let header = [b"PGDMP\x01\x10\x00\x04\x08\x03".to_vec(), vec![compression]];
    let time = [0, 0, 0, 1, 0, 126, 0].map(int).concat();
    let names = ["shop", "17.1", "17.1"].map(text).concat();
    [header.concat(), time, names, int(entries.len() as i32), entries.concat()].concat()
}

fn named(members: &[(&str, &[u8])]) -> Members {
    members.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
}

fn directory() -> Members {
    let toc = toc(0, "blobs_5.toc");
    let list = &b"7 blob_7.dat\n8 blob_8.dat\n"[..];
    named(&[
        ("toc.dat", &toc),
        ("2.dat", ROWS),
        ("3.dat", STATEMENTS),
        ("blob_7.dat", b"seven"),
        ("blob_8.dat", b""),
        ("blobs_5.toc", list),
    ])
}

fn tar_format() -> Members {
    let mut members = directory();
    members[0].1 = toc(0, "5.dat");
    members.push(("restore.sql".to_owned(), SCRIPT.to_vec()));
    members
}

/// Returns the directory, with every file compressed according to the TOC.
fn compressed(algorithm: u8) -> Members {
    type Pack = fn(&[u8]) -> Vec<u8>;
    let (ending, pack): (&str, Pack) = match algorithm {
        1 => (".gz", |content| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }),
        2 => (".lz4", |content| {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }),
        _ => (".zst", |content| zstd::encode_all(content, 3).unwrap()),
    };
    let mut members = directory();
    members[0].1 = toc(algorithm, "blobs_5.toc");
    for (name, content) in members.iter_mut().filter(|(name, _)| name.ends_with(".dat") && name != "toc.dat") {
        *name += ending;
        *content = pack(content);
    }
    members
}

fn append(tar: &mut tar::Builder<Vec<u8>>, kind: EntryType, name: &[u8], content: &[u8]) {
    if name.len() > 100 {
        append(tar, EntryType::GNULongName, b"././@LongLink", name);
    }
    let mut header = Header::new_gnu();
    let shown = name.len().min(100);
    header.as_gnu_mut().unwrap().name[..shown].copy_from_slice(&name[..shown]);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn pack(members: &Members) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let kind = if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
        append(&mut tar, kind, name.as_bytes(), content);
    }
    tar.into_inner().unwrap()
}

fn check(tar: &[u8]) -> Result<Facts> {
    read(Input::new(tar), &mut |_| ())
}

#[track_caller]
fn damaged(tar: &[u8], expected: &str) {
    let error = check(tar).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
    assert!(error.offset <= tar.len() as u64, "{error}");
}

#[track_caller]
fn unsupported(tar: &[u8], expected: &str) {
    let error = check(tar).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn facts_ignore_order_and_folder_of_files() {
    let first = check(&pack(&directory())).unwrap();
    assert_eq!((first.format, first.tables.len(), first.large_objects.count), (Format::Directory, 2, 2));
    assert_eq!((first.tables[0].rows, first.tables[1].rows, first.large_objects.bytes), (Some(2), None, 5));
    for turn in 0..directory().len() {
        for folder in ["", "./", "dump/", "./a/b/"] {
            let mut members = directory();
            members.rotate_left(turn);
            members.iter_mut().for_each(|(name, _)| name.insert_str(0, folder));
            if !folder.is_empty() {
                members.insert(0, (folder.to_owned(), Vec::new()));
            }
            let tar = pack(&members);
            let bytes = tar.len() as u64;
            assert_eq!(check(&tar).unwrap(), Facts { bytes, ..first.clone() }, "{turn} {folder}");
        }
    }
}

#[test]
fn facts_ignore_compression() {
    let plain = check(&pack(&directory())).unwrap();
    for algorithm in 1..=3 {
        let facts = check(&pack(&compressed(algorithm))).unwrap();
        assert_eq!((facts.tables, facts.large_objects), (plain.tables.clone(), plain.large_objects.clone()));
    }
    let facts = check(&pack(&tar_format())).unwrap();
    assert_eq!((facts.format, facts.tables, facts.large_objects), (Format::Tar, plain.tables, plain.large_objects));
}

#[test]
fn reads_files_compressed_after_dump() {
    let mut members = compressed(3);
    members[0].1 = toc(0, "blobs_5.toc");
    assert!(check(&pack(&members)).is_ok());
    members[0].1 = toc(1, "blobs_5.toc");
    damaged(&pack(&members), "\".dat.gz\" was expected");
    members.rotate_left(1);
    damaged(&pack(&members), "\".dat.gz\" was expected");
}

#[test]
fn reads_files_uncompressed_after_dump() {
    for algorithm in 1..=3 {
        let mut members = directory();
        members[0].1 = toc(algorithm, "blobs_5.toc");
        assert!(check(&pack(&members)).is_ok(), "{algorithm}");
    }
}

#[test]
fn detects_truncation_at_every_byte() {
    let mut last = directory();
    last.rotate_left(1);
    for members in [directory(), last, tar_format(), compressed(1), compressed(2), compressed(3)] {
        let tar = pack(&members);
        check(&tar).unwrap();
        for length in 0..tar.len() {
            let error = check(&tar[..length]).unwrap_err();
            // If the first file is not toc.dat, its name alone does not identify a tar.
            let is_known = tar[..length].contains(&0) || b"toc.dat".starts_with(&tar[..length]);
            let expected = if is_known { (ErrorKind::Damaged, length as u64) } else { (ErrorKind::Unsupported, 0) };
            assert_eq!((error.kind, error.offset), expected, "{length}: {error}");
        }
    }
}

#[test]
fn detects_damage_to_any_file() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("half", |content| content.truncate(content.len() / 2)),
        ("last byte", |content| content.truncate(content.len().saturating_sub(1))),
        ("emptied", Vec::clear),
        ("twice", |content| content.extend_from_within(..)),
        ("more", |content| content.push(b'x')),
    ];
    for (format, members) in
        [directory(), tar_format(), compressed(1), compressed(2), compressed(3)].into_iter().enumerate()
    {
        for place in 0..members.len() {
            let name = members[place].0.clone();
            for turn in [0, 1] {
                for (damage, act) in damages {
                    let mut members = members.clone();
                    act(&mut members[place].1);
                    // The end of an uncompressed large object is not marked, nor is surplus SQL
                    // detectable.
                    let hidden = (name.starts_with("blob_") && name.ends_with(".dat"))
                        || (name.starts_with("blob_") && damage == "emptied" && format != 2)
                        || (name == "restore.sql" && damage == "twice");
                    members.rotate_left(turn);
                    if !hidden {
                        let error = check(&pack(&members)).unwrap_err();
                        assert_eq!(error.kind, ErrorKind::Damaged, "{name} {damage}: {error}");
                    }
                }
                let mut missing = members.clone();
                missing.remove(place);
                missing.rotate_left(turn);
                damaged(&pack(&missing), "");
                let mut surplus = members.clone();
                surplus.push(members[place].clone());
                surplus.rotate_left(turn);
                damaged(&pack(&surplus), "twice");
            }
        }
    }
}

#[test]
fn rejects_unlisted_file() {
    for (name, content, expected) in [
        ("9.dat", ROWS, "does not list it"),
        ("5.dat", ROWS, "does not list it"),
        ("blob_9.dat", b"nine", "in no list"),
        ("blobs_9.toc", b"9 blob_9.dat\n", "not list"),
        ("blobs.toc", b"", "not list"),
    ] {
        for turn in 0..=1 {
            let mut members = directory();
            members.push((name.to_owned(), content.to_vec()));
            members.rotate_right(turn);
            damaged(&pack(&members), expected);
        }
    }
}

#[test]
fn checks_table_data_before_toc() {
    for (content, expected) in [
        (&b"1\n2\n\\.\n\n\n"[..], "1 columns, where 2 were expected"),
        (b"1\t\xff\n\\.\n\n\n", "not UTF-8"),
        (STATEMENTS, "without the end mark"),
        (b"1\t\0\n\\.\n\n\n", "zero byte"),
    ] {
        let mut members = directory();
        members[1].1 = content.to_vec();
        members.rotate_left(1);
        damaged(&pack(&members), expected);
    }
    let mut members = directory();
    members[1].1 = b"\\.\n\n\n".to_vec();
    members.rotate_left(1);
    assert_eq!(check(&pack(&members)).unwrap().tables[0].rows, Some(0));
}

#[test]
fn rejects_false_tar_headers() {
    let tar = pack(&directory());
    let patched = |size: &[u8], right: bool| {
        let mut tar = tar.clone();
        tar[124..124 + size.len()].copy_from_slice(size);
        if right {
            let mut header = Header::from_byte_slice(&tar[..512]).clone();
            header.set_cksum();
            tar[..512].copy_from_slice(header.as_bytes());
        }
        tar
    };
    // 8 EB, and the maximum of 64 bits.
    damaged(&patched(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", true), "");
    damaged(&patched(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", true), "");
    damaged(&patched(b"00000000000\0", true), "it is cut");
    damaged(&patched(b"zzzzzzzzzzz\0", true), "size is not a number");
    damaged(&patched(b"00000000001\0", false), "checksum");
}

#[test]
fn rejects_data_between_and_after_members() {
    let tar = pack(&directory());
    let toc = toc(0, "blobs_5.toc").len();
    let mut between = tar.clone();
    between[512 + toc] = b'x';
    damaged(&between, "its end is followed by data");
    for behind in [&b"x"[..], &[1; 512]] {
        damaged(&[&tar, behind].concat(), "where only zero bytes");
    }
    damaged(&[tar.as_slice(), &tar].concat(), "where only zero bytes");
    damaged(&[tar.as_slice(), &[0; 100]].concat(), "within a block");
    damaged(&tar[..tar.len() - 1024], "without its end blocks");
    damaged(&tar[..tar.len() - 512], "second of its two end blocks");
    let padded = [tar.as_slice(), &[0; 8192]].concat();
    assert_eq!(check(&padded).unwrap().bytes, padded.len() as u64);
    damaged(&[0; 1024], "toc.dat is missing");
}

#[test]
fn other_bytes_are_unsupported_not_damaged() {
    let error = check(&[b'x'; 4096]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[test]
fn errors_name_file_table_and_byte() {
    let mut members = directory();
    members[1].1.extend_from_slice(b"x");
    let error: Error = check(&pack(&members)).unwrap_err();
    assert_eq!(error.place, "file 2.dat (data of table public.t)");
    members = directory();
    members[0].1.truncate(400);
    let error = check(&pack(&members)).unwrap_err();
    assert!(error.place.starts_with("file toc.dat, TOC entry "), "{error}");
    assert_eq!(error.offset, 512 + 400);
}

#[test]
fn reports_progress_for_every_table() {
    let progress_of = |members: &Members| {
        let mut reported = Vec::new();
        let tar = pack(members);
        read(Input::new(&tar[..]), &mut |part| reported.push((part.name.clone(), part.done, part.total))).unwrap();
        reported
    };
    let part = |name: &str, done, total| (name.to_owned(), done, total);
    let total = Some(3);
    assert_eq!(
        progress_of(&directory()),
        [part("public.t", 0, total), part("public.u", 1, total), part("large objects", 2, total)]
    );
    let mut members = directory();
    members.rotate_left(1);
    assert_eq!(
        progress_of(&members),
        [part("file 2.dat", 0, None), part("file 3.dat", 1, None), part("large objects", 2, None)]
    );
}

proptest! {
    #[test]
    fn overwritten_bytes_never_panic(at in 0_usize..20_000, length in 0_usize..64, byte: u8, algorithm in 0_u8..4, turn in 0_usize..6) {
        let mut members = if algorithm == 0 { tar_format() } else { compressed(algorithm) };
        members.rotate_left(turn);
        let mut tar = pack(&members);
        let from = at % tar.len();
        let to = (from + length).min(tar.len());
        tar[from..to].fill(byte);
        drop(check(&tar));
    }

    #[test]
    fn arbitrary_file_never_panics(content: Vec<u8>, which in 0_usize..6, algorithm in 1_u8..4) {
        let mut members = compressed(algorithm);
        members[which].1 = content;
        drop(check(&pack(&members)));
    }
}
