//! Other members beside a dump, or in place of one.

use super::member_kinds::pax;
use super::*;

#[test]
fn skips_and_reports_extra_members() {
    let whole = check(&pack(&directory())).unwrap();
    for (name, content) in [
        ("README", &b"\0\xff"[..]),
        ("SHA256SUMS", b""),
        ("2.dat.old", ROWS),
        ("toc.dat.gz", b"x"),
        ("empty/", b""),
        ("more/notes", b"x"),
        ("restore.sql", SCRIPT),
        ("restore.sql", b"\0, all by hand"),
        (&"long".repeat(50), b"x"),
    ] {
        for turn in 0..=directory().len() {
            let mut members = directory();
            members.push((name.to_owned(), content.to_vec()));
            members.rotate_right(turn);
            let tar = pack(&members);
            let mut facts = check(&tar).unwrap();
            let extra_files = std::mem::take(&mut facts.extra_files);
            assert_eq!((extra_files.count, &*extra_files.names), (1, &[name.to_owned()][..]), "{turn}");
            assert_eq!(facts, Facts { bytes: tar.len() as u64, ..whole.clone() }, "{turn} {name}");
        }
    }
}

#[test]
fn names_only_first_extra_files() {
    let mut members = directory();
    members.extend((0..1000).map(|number| (format!("{number}.txt"), Vec::new())));
    let extra_files = check(&pack(&members)).unwrap().extra_files;
    assert_eq!((extra_files.count, extra_files.names.len(), &*extra_files.names[19]), (1000, 20, "19.txt"));
}

#[test]
fn checks_size_and_padding_of_extra_members() {
    let mut members = directory();
    members.push(("README".to_owned(), vec![b'x'; 700]));
    members.rotate_right(1);
    let tar = pack(&members);
    damaged(&tar[..1000], "it is cut");
    let mut padding = tar;
    padding[512 + 700] = b'x';
    damaged(&padding, "its end is followed by data");
}

#[test]
fn reports_renamed_file_as_missing() {
    for (name, renamed) in [("2.dat", "2.dat.bak"), ("3.dat", "03.dat"), ("blob_8.dat", "blob-8.dat")] {
        let mut members = directory();
        members.iter_mut().filter(|(known, _)| known == name).for_each(|(known, _)| *known = renamed.to_owned());
        damaged(&pack(&members), "is missing");
    }
}

#[test]
fn rejects_paths_outside_of_folder_with_hint() {
    for (name, expected) in [
        ("/2.dat", "is a path from the root; pack it with"),
        ("../2.dat", "leads out of its folder; pack it with"),
        ("/etc/passwd", "is a path from the root; pack it with"),
        ("../", "leads out of its folder; pack it with"),
        ("other/9.dat", "in the folder \"other\", where a dump's files before it are in \".\": unpack the tar"),
    ] {
        let mut members = directory();
        members.push((name.to_owned(), Vec::new()));
        unsupported(&pack(&members), expected);
    }
}

#[test]
fn rejects_tar_without_dump() {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, name) in [
        (EntryType::XGlobalHeader, "pax_global_header"),
        (EntryType::Directory, "src/"),
        (EntryType::Symlink, "src/latest"),
        (EntryType::Link, "src/same"),
        (EntryType::Fifo, "src/fifo"),
        (EntryType::Char, "src/tty"),
        (EntryType::new(b'D'), "src/incremental"),
        (EntryType::GNULongLink, "././@LongLink"),
        (EntryType::GNULongName, "././@LongLink"),
        (EntryType::Regular, "src/main.rs"),
        (EntryType::Regular, "src/restore.sql"),
    ] {
        let content = if kind == EntryType::XGlobalHeader { pax("comment=x") } else { "src/x".to_owned() };
        let content = if kind == EntryType::Directory { "" } else { &content };
        append(&mut tar, kind, name.as_bytes(), content.as_bytes());
    }
    unsupported(&tar.into_inner().unwrap(), "this tar is not a dump");
    let mut members = directory();
    members.remove(0);
    damaged(&pack(&members), "toc.dat is missing");
}
