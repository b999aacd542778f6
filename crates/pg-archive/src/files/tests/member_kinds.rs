//! Members that are not files, and extended headers.

use super::*;

pub(super) fn pax(record: &str) -> String {
    let length = record.len() + 2;
    let digits = (length + (length + 2).to_string().len()).to_string();
    format!("{digits} {record}\n")
}

#[test]
fn rejects_members_that_are_not_files() {
    let with = |kind: EntryType, content: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, kind, b"2.dat", content);
        check(&tar.into_inner().unwrap()).unwrap_err()
    };
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block, EntryType::new(b'D')] {
        assert_eq!(with(kind, b"").kind, ErrorKind::Damaged, "{kind:?}");
    }
    for kind in [EntryType::Symlink, EntryType::Link] {
        let error = with(kind, b"");
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        assert!(error.message.contains("tar --dereference"), "{error}");
    }
    assert_eq!(with(EntryType::GNUSparse, b"x").kind, ErrorKind::Unsupported);
    assert_eq!(with(EntryType::Directory, b"x").kind, ErrorKind::Damaged);
    let error = with(EntryType::XHeader, pax("GNU.sparse.major=1").as_bytes());
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    for record in ["size=123456789012", "path=2.dat"] {
        let error = with(EntryType::XGlobalHeader, pax(record).as_bytes());
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    }
    let error = with(EntryType::XHeader, &vec![b'x'; 70_000]);
    assert!(error.message.contains("more than any pax header"), "{error}");
    for content in [&b"no header"[..], pax("size=-1").as_bytes()] {
        assert_eq!(with(EntryType::XHeader, content).kind, ErrorKind::Damaged);
    }
}

/// Changes a header and its checksum.
fn patch(bytes: &mut [u8], change: fn(&mut Header)) {
    let mut header = Header::from_byte_slice(bytes).clone();
    change(&mut header);
    header.set_cksum();
    bytes.copy_from_slice(header.as_bytes());
}

#[test]
fn applies_extended_headers() {
    let whole = check(&pack(&directory())).unwrap();
    type ExtendedHeader = fn(&str, &[u8]) -> (EntryType, String);
    type ChangeHeader = fn(&mut Header);
    let cases: [(ExtendedHeader, ChangeHeader); 3] = [
        (
            |name, _| (EntryType::XHeader, pax(&format!("path={}{name}", "a-folder-with-a-long-name/".repeat(5)))),
            |header| header.set_path("shortened").unwrap(),
        ),
        (
            |name, _| (EntryType::GNULongName, format!("{}{name}\0", "a-folder-with-a-long-name/".repeat(5))),
            |header| header.set_path("shortened").unwrap(),
        ),
        (|_, content| (EntryType::XHeader, pax(&format!("size={}", content.len()))), |header| header.set_size(0)),
    ];
    for (number, (extended_header, change_header)) in cases.into_iter().enumerate() {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, EntryType::new(b'V'), b"a label", b"");
        // GNU tar's form.
        patch(tar.get_mut(), |header| header.as_gnu_mut().unwrap().size.fill(0));
        for (name, content) in directory() {
            let (kind, extended_header) = extended_header(&name, &content);
            append(&mut tar, kind, b"ahead", extended_header.as_bytes());
            let at = tar.get_ref().len();
            append(&mut tar, EntryType::Regular, name.as_bytes(), &content);
            patch(&mut tar.get_mut()[at..at + 512], change_header);
        }
        let tar = tar.into_inner().unwrap();
        assert_eq!(check(&tar).unwrap(), Facts { bytes: tar.len() as u64, ..whole.clone() }, "{number}");
    }
}

#[test]
fn skips_irrelevant_pax_headers() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in directory() {
        append(&mut tar, EntryType::XHeader, b"./PaxHeaders/x", pax("mtime=1790000000.123").as_bytes());
        append(&mut tar, EntryType::Regular, name.as_bytes(), &content);
    }
    assert_eq!(check(&tar.into_inner().unwrap()).unwrap().tables.len(), 2);
}
