//! Repacked tars of pg_dump. The results of pg_restore for each order were tested with PostgreSQL
//! 15 to 18.

use super::*;

/// Returns the members of a tar of pg_dump in this order.
fn in_order(names: &[&str]) -> Members {
    let members = tar_format();
    let find = |name: &&str| members.iter().find(|(result, _)| result == name).unwrap().clone();
    names.iter().map(find).collect()
}

#[test]
fn accepts_order_that_pg_restore_reads() {
    for names in [
        ["toc.dat", "2.dat", "3.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc", "restore.sql"],
        // Alphabetical order.
        ["toc.dat", "2.dat", "3.dat", "blobs_5.toc", "blob_7.dat", "blob_8.dat", "restore.sql"],
        ["toc.dat", "2.dat", "3.dat", "restore.sql", "blob_8.dat", "blob_7.dat", "blobs_5.toc"],
        ["toc.dat", "restore.sql", "2.dat", "3.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc"],
    ] {
        let facts = check(&pack(&in_order(&names))).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        assert_eq!(facts.format, Format::Tar);
    }
}

#[test]
fn rejects_order_that_pg_restore_cannot_read() {
    for (names, expected) in [
        (
            ["2.dat", "3.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc", "restore.sql", "toc.dat"],
            "toc.dat is not the first member",
        ),
        (
            ["toc.dat", "3.dat", "2.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc", "restore.sql"],
            "3.dat precedes 2.dat",
        ),
        (
            ["restore.sql", "toc.dat", "2.dat", "3.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc"],
            "toc.dat is not the first member",
        ),
        // pg_restore succeeds with these, but without restoring large objects.
        (
            ["toc.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc", "2.dat", "3.dat", "restore.sql"],
            "large objects precede 2.dat",
        ),
        (
            ["toc.dat", "2.dat", "blob_7.dat", "blob_8.dat", "blobs_5.toc", "3.dat", "restore.sql"],
            "large objects precede 3.dat",
        ),
        (
            ["toc.dat", "2.dat", "3.dat", "blob_7.dat", "restore.sql", "blob_8.dat", "blobs_5.toc"],
            "another file is among the large objects",
        ),
    ] {
        let error = check(&pack(&in_order(&names))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{names:?}: {error}");
        assert!(error.message.contains(expected), "{names:?}: {error}");
        let way_out = "toc.dat 2.dat 3.dat blob_*.dat blobs*.toc restore.sql";
        assert!(error.remedy.as_ref().unwrap().contains(way_out), "{error:?}");
    }
}

#[test]
fn rejects_tar_format_in_folder() {
    for folder in ["./", "dump/"] {
        let mut members = tar_format();
        members.iter_mut().for_each(|(name, _)| name.insert_str(0, folder));
        unsupported(&pack(&members), "the files are in a folder");
    }
}

/// pg_restore takes pax headers for members that end the large objects, and succeeds after
/// restoring only the first large object.
#[test]
fn rejects_pax_headers_among_large_objects() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in tar_format() {
        if name == "blob_8.dat" {
            append(&mut tar, EntryType::XHeader, b"PaxHeaders/blob_8.dat", member_kinds::pax("mtime=1.5").as_bytes());
        }
        append(&mut tar, EntryType::Regular, name.as_bytes(), &content);
    }
    unsupported(&tar.into_inner().unwrap(), "another file is among the large objects");
}

#[test]
fn rejects_tar_without_magic() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in tar_format() {
        let mut header = Header::new_old();
        header.set_path(&name).unwrap();
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, &content[..]).unwrap();
    }
    unsupported(&tar.into_inner().unwrap(), "headers are those of the oldest tars");
}

/// A folder is packed in any order, and unpacked before it is restored.
#[test]
fn accepts_directory_in_any_order() {
    let mut members = directory();
    members.reverse();
    assert_eq!(check(&pack(&members)).unwrap().format, Format::Directory);
}
