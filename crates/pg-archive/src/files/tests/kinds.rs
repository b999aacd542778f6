//! Members that are not files, and extended headers.

use super::*;

pub(super) fn pax(record: &str) -> String {
    let length = record.len() + 2;
    let digits = (length + (length + 2).to_string().len()).to_string();
    format!("{digits} {record}\n")
}

#[test]
fn members_that_hold_no_file_are_refused() {
    let with = |kind: EntryType, content: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, kind, b"2.dat", content);
        judged(&tar.into_inner().unwrap()).unwrap_err()
    };
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block, EntryType::new(b'D')] {
        assert_eq!(with(kind, b"").trouble, Trouble::Damaged, "{kind:?}");
    }
    for kind in [EntryType::Symlink, EntryType::Link] {
        let error = with(kind, b"");
        assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
        assert!(error.message.contains("tar --dereference"), "{error}");
    }
    assert_eq!(with(EntryType::GNUSparse, b"x").trouble, Trouble::Unsupported);
    assert_eq!(with(EntryType::Directory, b"x").trouble, Trouble::Damaged);
    let error = with(EntryType::XHeader, pax("GNU.sparse.major=1").as_bytes());
    assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
    for record in ["size=123456789012", "path=2.dat"] {
        let error = with(EntryType::XGlobalHeader, pax(record).as_bytes());
        assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
    }
    let error = with(EntryType::XHeader, &vec![b'x'; 70_000]);
    assert!(error.message.contains("more than any pax header"), "{error}");
    for content in [&b"no header"[..], pax("size=-1").as_bytes()] {
        assert_eq!(with(EntryType::XHeader, content).trouble, Trouble::Damaged);
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
fn what_is_said_ahead_of_a_member_is_heard() {
    let whole = judged(&pack(&directory())).unwrap();
    type Said = fn(&str, &[u8]) -> (EntryType, String);
    type Belied = fn(&mut Header);
    let cases: [(Said, Belied); 3] = [
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
    for (number, (said, belied)) in cases.into_iter().enumerate() {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, EntryType::new(b'V'), b"a label", b"");
        // GNU tar's form.
        patch(tar.get_mut(), |header| header.as_gnu_mut().unwrap().size.fill(0));
        for (name, content) in directory() {
            let (kind, said) = said(&name, &content);
            append(&mut tar, kind, b"ahead", said.as_bytes());
            let at = tar.get_ref().len();
            append(&mut tar, EntryType::Regular, name.as_bytes(), &content);
            patch(&mut tar.get_mut()[at..at + 512], belied);
        }
        let tar = tar.into_inner().unwrap();
        assert_eq!(judged(&tar).unwrap(), Facts { bytes: tar.len() as u64, ..whole.clone() }, "{number}");
    }
}

#[test]
fn pax_headers_that_change_nothing_are_skipped() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in directory() {
        append(&mut tar, EntryType::XHeader, b"./PaxHeaders/x", pax("mtime=1790000000.123").as_bytes());
        append(&mut tar, EntryType::Regular, name.as_bytes(), &content);
    }
    assert_eq!(judged(&tar.into_inner().unwrap()).unwrap().tables.len(), 2);
}
