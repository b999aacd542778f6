use bytes::BytesMut;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

use super::*;
use crate::error::ErrorKind;
use crate::tar_header::{Block, Kind, Member};

/// A header as a server writes it.
fn header(name: &str, kind: u8, size: u64) -> Block {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(if kind == b'5' { 0o750 } else { 0o640 });
    header.set_uid(109);
    header.set_gid(117);
    header.set_mtime(1_700_000_000);
    header.set_size(size);
    header.set_username("postgres").unwrap();
    header.set_cksum();
    *header.as_bytes()
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = match name.ends_with('/') {
        true => header(name, b'5', 0).to_vec(),
        false => header(name, b'0', content.len() as u64).to_vec(),
    };
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(|(name, content)| member(name, content)).collect();
    bytes.extend_from_slice(&[0; 2 * BLOCK_BYTES]);
    bytes
}

const MANIFEST_CONTENT: &[u8] = b"{ \"PostgreSQL-Backup-Manifest-Version\": 2 }";

/// Merges archives that come in pieces of the given sizes, again and again.
fn merge(archives: &[(Option<u32>, Vec<u8>)], sizes: &[usize]) -> Result<Vec<u8>> {
    let mut merge = Merge::new();
    let mut tar = BytesMut::new();
    let mut sizes = sizes.iter().cycle();
    let mut push = |merge: &mut Merge, tar: &mut BytesMut, content: &[u8]| -> Result<()> {
        let mut content = Bytes::copy_from_slice(content);
        while !content.is_empty() {
            let piece = content.split_to(content.len().min(*sizes.next().unwrap()));
            merge.push(piece)?.iter().for_each(|piece| tar.extend_from_slice(piece));
        }
        Ok(())
    };
    for (tablespace, content) in archives {
        merge.begin_archive(*tablespace)?;
        push(&mut merge, &mut tar, content)?;
        merge.end_archive()?;
    }
    tar.extend_from_slice(&merge.manifest_header(MANIFEST_CONTENT.len() as u64)?);
    push(&mut merge, &mut tar, MANIFEST_CONTENT)?;
    tar.extend_from_slice(&merge.finish()?);
    Ok(tar.to_vec())
}

/// Reads a tar with the library: paths as they are, modes, contents.
fn members(tar: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (109, 117));
        assert_eq!((header.mtime().unwrap(), header.username().unwrap()), (1_700_000_000, Some("postgres")));
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), header.mode().unwrap(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

const LONG: &str =
    "PG_15_202209061/5/a-file-of-a-person-with-a-name-that-is-as-long-as-a-server-sends-it-at-most.bbbbb";

fn example() -> Vec<(Option<u32>, Vec<u8>)> {
    vec![
        (Some(16398), archive(&[("PG_15_202209061/", b""), ("PG_15_202209061/5/16399", &[7; 8192]), (LONG, b"long")])),
        (Some(16400), archive(&[])),
        (
            None,
            archive(&[
                ("backup_label", b"START"),
                ("./pg_wal/archive_status/", b""),
                ("pg_tblspc/", b""),
                ("base/1/empty", b""),
                ("base/1/1259", &[9; 20_000]),
                ("global/pg_control", &[1; 512]),
            ]),
        ),
    ]
}

#[test]
fn merged_tar_has_all_members_in_order() {
    assert_eq!(LONG.len(), 99);
    let tar = merge(&example(), &[32 << 10]).unwrap();
    let found = members(&tar);
    let found: Vec<_> = found.iter().map(|(path, mode, content)| (path.as_str(), *mode, content.len())).collect();
    let long = format!("pg_tblspc/16398/{LONG}");
    let expected = [
        ("pg_tblspc/16398/", 0o700, 0),
        ("pg_tblspc/16398/PG_15_202209061/", 0o750, 0),
        ("pg_tblspc/16398/PG_15_202209061/5/16399", 0o640, 8192),
        (&long, 0o640, 4),
        ("pg_tblspc/16400/", 0o700, 0),
        ("backup_label", 0o640, 5),
        ("./pg_wal/archive_status/", 0o750, 0),
        ("pg_tblspc/", 0o750, 0),
        ("base/1/empty", 0o640, 0),
        ("base/1/1259", 0o640, 20_000),
        ("global/pg_control", 0o640, 512),
        ("backup_manifest", 0o600, MANIFEST_CONTENT.len()),
    ];
    assert_eq!(found, expected);
    assert!(tar.ends_with(&[0; 2 * BLOCK_BYTES]) && tar.len().is_multiple_of(BLOCK_BYTES));
    let blocks = tar.as_chunks::<BLOCK_BYTES>().0;
    assert!(blocks.iter().any(|block| Member::parse(block).is_ok_and(|member| member.path == long.as_bytes())));
}

#[test]
fn members_of_the_data_directory_pass_unchanged() {
    let data = archive(&[("backup_label", b"START"), ("base/1/1259", &[9; 20_000])]);
    let tar = merge(&[(None, data.clone())], &[32 << 10]).unwrap();
    assert!(tar.starts_with(&data[..data.len() - 2 * BLOCK_BYTES]));
}

#[test]
fn pieces_are_slices_of_the_input() {
    let data = Bytes::from(archive(&[("backup_label", b"START"), ("base/1/1259", &[9; 20_000])]));
    let mut merge = Merge::new();
    merge.begin_archive(None).unwrap();
    let pieces = merge.push(data.clone()).unwrap();
    assert_eq!(pieces.len(), 1);
    assert_eq!((pieces[0].as_ptr(), pieces[0].len()), (data.as_ptr(), data.len() - 2 * BLOCK_BYTES));
}

#[test]
fn a_byte_at_a_time_yields_the_same_tar() {
    let whole = merge(&example(), &[usize::MAX]).unwrap();
    for size in [1, 2, 511, 512, 513, 8192] {
        assert!(merge(&example(), &[size]).unwrap() == whole, "{size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn pieces_of_any_sizes_yield_the_same_tar(
        sizes in proptest::collection::vec(1usize..5000, 1..20),
        files in proptest::collection::vec(0usize..3000, 0..8),
        oid in any::<u32>(),
    ) {
        let names: Vec<String> = (0..files.len()).map(|number| format!("base/5/{number}")).collect();
        let content = vec![0x5A; 3000];
        let list: Vec<(&str, &[u8])> =
            names.iter().zip(&files).map(|(name, size)| (name.as_str(), &content[..*size])).collect();
        let archives = [(Some(oid), archive(&list)), (None, archive(&[("backup_label", b"START")]))];
        let whole = merge(&archives, &[usize::MAX]).unwrap();
        prop_assert_eq!(members(&whole).len(), files.len() + 3);
        prop_assert_eq!(merge(&archives, &sizes).unwrap(), whole);
    }
}

fn refusal(archives: &[(Option<u32>, Vec<u8>)]) -> Error {
    let error = merge(archives, &[usize::MAX]).unwrap_err();
    assert_eq!(merge(archives, &[1]).unwrap_err().to_string(), error.to_string());
    error
}

#[test]
fn truncated_archives_are_refused() {
    let [(_, tablespace), _, (_, data)] = <[_; 3]>::try_from(example()).unwrap();
    for end in 0..data.len() {
        let error = merge(&[(None, data[..end].to_vec())], &[usize::MAX]).unwrap_err();
        assert_eq!((error.kind, error.place.as_str()), (ErrorKind::Damaged, "base.tar"), "{end}");
    }
    let error = refusal(&[(Some(16398), tablespace[..5000].to_vec())]);
    assert_eq!(error.place, "16398.tar");
}

#[test]
fn damaged_headers_are_refused() {
    let data = archive(&[("backup_label", b"START"), ("base/1/1259", &[9; 600])]);
    let mut flipped = data.clone();
    flipped[1024 + 3] ^= 1;
    let error = refusal(&[(None, flipped)]);
    assert_eq!(error.to_string(), "base.tar at byte 1024: header with a wrong checksum");
    let mut after = data.clone();
    after.push(1);
    assert!(refusal(&[(None, after)]).message.contains("data after the end"));
    let mut one = data[..data.len() - BLOCK_BYTES].to_vec();
    one.extend_from_slice(&data);
    assert!(refusal(&[(None, one)]).message.contains("one block of zeros between members"));
    let mut padded = data;
    padded.extend_from_slice(&[0; 9000]);
    merge(&[(None, padded)], &[700]).unwrap();
}

#[test]
fn members_outside_of_their_directory_are_refused() {
    for name in ["/etc/passwd", "../x", "base/../../x", "base//1", ".", ""] {
        let content = archive(&[(name, b"x")]);
        for archives in [vec![(None, content.clone())], vec![(Some(16398), content.clone())]] {
            assert_eq!(refusal(&archives).kind, ErrorKind::Damaged, "{name}");
        }
    }
    for kind in [b'1', b'3', b'x', b'L', b'g', b'S'] {
        let content = [&header("base/1", kind, 0)[..], &[0; 2 * BLOCK_BYTES]].concat();
        assert_eq!(refusal(&[(None, content)]).kind, ErrorKind::Unsupported);
    }
}

#[test]
fn links_keep_their_targets() {
    let mut link = tar::Header::new_ustar();
    link.as_mut_bytes().copy_from_slice(&header("pg_tblspc/16401/", b'2', 0));
    link.set_link_name_literal("/srv/elsewhere").unwrap();
    link.set_cksum();
    let content = [&link.as_bytes()[..], &archive(&[("x", b"")])].concat();
    let tar = merge(&[(None, content)], &[usize::MAX]).unwrap();
    assert_eq!(&tar[..BLOCK_BYTES], link.as_bytes());
    assert_eq!(Member::parse(tar.first_chunk().unwrap()).unwrap().kind, Kind::Link);
}

#[test]
fn second_members_of_one_name_are_refused() {
    let tablespace = (Some(16398), archive(&[("PG_15_202209061/", b"")]));
    for name in ["pg_tblspc/16398/", "pg_tblspc/16398/x", "./pg_tblspc/16398/PG_15_202209061/"] {
        let error = refusal(&[tablespace.clone(), (None, archive(&[(name, b"")]))]);
        assert!(error.message.contains("a second one"), "{error}");
    }
    merge(&[tablespace.clone(), (None, archive(&[("pg_tblspc/16399/", b"")]))], &[99]).unwrap();
    let error = refusal(&[(None, archive(&[("backup_manifest", b"x")]))]);
    assert!(error.message.contains("beside the manifest"), "{error}");
    assert!(refusal(&[tablespace.clone(), tablespace]).message.contains("a second archive of tablespace 16398"));
}

#[test]
fn archives_out_of_order_are_refused() {
    let data = || (None, archive(&[("x", b"")]));
    let message = |archives: &[_]| refusal(archives).message;
    assert!(message(&[data(), data()]).contains("an archive after that of the data directory"));
    assert!(message(&[data(), (Some(1), archive(&[]))]).contains("an archive after that of the data directory"));
    assert!(message(&[(Some(1), archive(&[]))]).contains("before the archive of the data directory"));
    assert!(message(&[(None, archive(&[]))]).contains("archives without members"));
    let mut merge = Merge::new();
    assert!(merge.push(Bytes::from_static(b"x")).unwrap_err().message.contains("outside of an archive"));
    assert!(merge.end_archive().is_err());
    merge.begin_archive(None).unwrap();
    assert!(merge.begin_archive(None).unwrap_err().message.contains("another archive begins"));
    assert!(merge.manifest_header(1).unwrap_err().message.contains("the manifest begins before"));
    assert!(merge.finish().unwrap_err().message.contains("the backup ends before the archive"));
    assert!(Merge::new().finish().unwrap_err().message.contains("no manifest"));
}

#[test]
fn manifest_has_the_size_of_its_header() {
    let begin = || {
        let mut merge = Merge::new();
        merge.begin_archive(None).unwrap();
        merge.push(Bytes::from(archive(&[("x", b"")]))).unwrap();
        merge.end_archive().unwrap();
        merge
    };
    for (bytes, padding) in [(0, 0), (1, 511), (512, 0), (513, 511)] {
        let mut merge = begin();
        let header = merge.manifest_header(bytes).unwrap();
        assert_eq!(Member::parse(header.as_ref().try_into().unwrap()).unwrap().size_bytes, bytes);
        assert!(merge.manifest_header(bytes).unwrap_err().message.contains("a second manifest"));
        let content = Bytes::from(vec![b' '; bytes as usize]);
        assert_eq!(merge.push(content.clone()).unwrap().concat(), content);
        assert!(merge.push(Bytes::from_static(b"x")).unwrap_err().message.contains("longer than"));
        assert_eq!(merge.finish().unwrap(), vec![0; padding + 2 * BLOCK_BYTES]);
    }
    let mut merge = begin();
    merge.manifest_header(9 << 30).unwrap();
    assert!(merge.finish().unwrap_err().message.contains("the manifest ends here"));
}
