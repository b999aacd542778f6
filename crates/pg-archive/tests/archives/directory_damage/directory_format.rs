//! The directory format: a file for each table.

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::directory_damage::files::{Damage, Files, damaged, packed, read, write};
use crate::support::pg_restore::{Exit, PgRestore};
use crate::support::scope::Scope;
use crate::support::table::{Expected, Restore, Row};
use crate::support::{self, TestServer};

/// Returns the rows for the damages of a scope to directories with these compressions.
pub(crate) fn rows(server: &TestServer, compressions: &[&str], scope: Scope) -> Vec<Row> {
    let pg_restore = PgRestore::of(server.installation());
    let directories: Vec<_> = compressions.iter().map(|compression| Directory::dump(server, compression)).collect();
    let damages = directories.iter().map(|directory| damages(&directory.files, directory.compression)).collect();
    let damages = scope.select(damages, |damage| (damage.what, damage.place));
    directories.iter().zip(&damages).flat_map(|(directory, damages)| directory.rows(&pg_restore, damages)).collect()
}

/// An intact directory.
struct Directory<'a> {
    name: String,
    compression: &'a str,
    /// The folder of the directory and its damaged copies.
    parent: TempDir,
    files: Files,
}

impl<'a> Directory<'a> {
    fn dump(server: &TestServer, compression: &'a str) -> Self {
        assert!(server.compressions().contains(&compression), "{compression}");
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("intact");
        server.dump("directory", compression, Some(&folder));
        let name = format!("{} {compression} dir", server.installation().major);
        Self { name, compression, files: read(&folder), parent }
    }

    fn rows(&self, pg_restore: &PgRestore, damages: &[Damage]) -> Vec<Row> {
        let (archive, files) = (&self.name, &self.files);
        let folder = self.parent.path().join("intact");
        let intact = pg_restore.decode(&folder);
        assert_eq!(intact.exit, Exit::Success, "{archive}");
        let bytes = packed(files, &folder);
        support::read(&bytes).unwrap_or_else(|error| panic!("{archive} is intact: {error}"));
        let digest = Sha256::digest(bytes);
        let row = |(number, damage): (usize, &Damage)| {
            let folder = self.parent.path().join(number.to_string());
            write(&damage.files, &folder);
            let bytes = packed(&damage.files, &folder);
            Row {
                what: damage.what,
                place: damage.place,
                expected: damage.expected,
                archive: archive.clone(),
                is_after_toc: damage.files.get("toc.dat") == files.get("toc.dat"),
                list: pg_restore.list(&folder),
                restore: Restore::of(&pg_restore.decode(&folder), &intact),
                found: support::read(&bytes).err().map(|error| error.to_string()),
                digest_differs: Sha256::digest(&bytes) != digest,
            }
        };
        damages.iter().enumerate().map(row).collect()
    }
}

/// A change of any file.
type Change = (&'static str, fn(&[u8]) -> Option<Vec<u8>>);

const CHANGES: [Change; 9] = [
    ("truncated to 50 %", |bytes| Some(bytes[..bytes.len() / 2].to_vec())),
    ("truncated by the last byte", |bytes| Some(bytes[..bytes.len() - 1].to_vec())),
    ("truncated by ten bytes", |bytes| Some(bytes[..bytes.len() - 10].to_vec())),
    ("emptied", |_| Some(Vec::new())),
    ("doubled", |bytes| Some(bytes.repeat(2))),
    ("4 K of zeros", |bytes| Some(overwritten(bytes, &[0; 4096]))),
    ("512 bytes of garbage", |bytes| Some(overwritten(bytes, &[0xa5; 512]))),
    ("a bit in the middle", |bytes| Some(overwritten(bytes, &[bytes[bytes.len() / 2] ^ 1]))),
    ("missing", |_| None),
];

fn overwritten(bytes: &[u8], with: &[u8]) -> Vec<u8> {
    let at = bytes.len() / 2;
    let length = with.len().min(bytes.len() - at);
    [&bytes[..at], &with[..length], &bytes[at + length..]].concat()
}

fn damages(files: &Files, compression: &str) -> Vec<Damage> {
    let largest = |is: &dyn Fn(&str) -> bool| {
        let (name, _) = files.iter().filter(|(name, _)| is(name)).max_by_key(|(_, bytes)| bytes.len()).unwrap();
        name.clone()
    };
    let table = largest(&|name| name.starts_with(|first: char| first.is_ascii_digit()));
    let object = largest(&|name| name.starts_with("blob_"));
    let list = largest(&|name| name.starts_with("blobs"));
    let has_checksum = compression == "gzip";
    let mut damages = Vec::new();
    for (place, name) in [
        ("table", &table),
        ("large object", &object),
        ("list of large objects", &list),
        ("toc.dat", &"toc.dat".to_owned()),
    ] {
        for (what, change) in CHANGES {
            let expected = match (what, place) {
                // Letters are interchangeable, and a large object may contain zeros and garbage.
                ("a bit in the middle", "table") if !has_checksum => Expected::OnlyDigestDetects,
                ("a bit in the middle", "toc.dat") => Expected::OnlyDigestDetects,
                ("a bit in the middle" | "4 K of zeros" | "512 bytes of garbage", "large object") if !has_checksum => {
                    Expected::OnlyDigestDetects
                }
                // Any bits are valid codes of a Huffman code.
                ("512 bytes of garbage", "table") if compression == "zstd" => Expected::OnlyDigestDetects,
                // An uncompressed large object has no length and no end mark.
                (what, "large object") if compression == "none" && what != "missing" => Expected::OnlyDigestDetects,
                // lz4 and zstd compress empty content to an empty file.
                ("emptied", "large object") if !has_checksum => Expected::OnlyDigestDetects,
                // A second stream, or file, continues the first.
                ("doubled", "large object") => Expected::OnlyDigestDetects,
                // A list whose last line has no line feed is complete.
                ("truncated by the last byte", "list of large objects") => Expected::DetectedUnlessHarmless,
                _ => Expected::Detected,
            };
            damages.push(Damage { what, place, expected, files: damaged(files, name, change) });
        }
    }
    damages.extend(renamed_and_extra_files(files, &table));
    damages
}

/// Returns directories with renamed or surplus files.
fn renamed_and_extra_files(files: &Files, table: &str) -> Vec<Damage> {
    let found = |what, place, files| Damage { what, place, expected: Expected::Detected, files };
    let with = |name: &str, bytes: &[u8]| {
        let mut files = files.clone();
        files.insert(name.to_owned(), bytes.to_vec());
        files
    };
    let mut renamed = files.clone();
    let bytes = renamed.remove(table).unwrap();
    let (id, ending) = table.split_once(".dat").unwrap();
    renamed.insert(format!("{id}0.dat{ending}"), bytes.clone());
    vec![
        found("renamed to an unused id", "table", renamed),
        found("a file with an unused id", "directory", with(&format!("99999.dat{ending}"), &bytes)),
        found("a large object that is not listed", "directory", with(&format!("blob_99999.dat{ending}"), &bytes)),
        Damage {
            what: "a file that pg_dump does not write",
            place: "directory",
            expected: Expected::DetectedUnlessHarmless,
            files: with("lost+found", b"x"),
        },
        found("a second file with another compression", "table", {
            with(&format!("{id}.dat{}", if ending.is_empty() { ".gz" } else { "" }), &bytes)
        }),
    ]
}
