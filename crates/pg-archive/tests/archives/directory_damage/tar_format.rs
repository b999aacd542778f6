//! The tar format: the files of a directory as members of one file.

use std::fs;

use sha2::{Digest, Sha256};

use crate::support::pg_restore::{Exit, PgRestore};
use crate::support::table::{Expected, Restore, Row};
use crate::support::{self, TestServer};

/// The size of a tar block.
const BLOCK: usize = 512;

/// A damage: its kind, its place, the expected result, and the archive.
type Damage = (&'static str, &'static str, Expected, Vec<u8>);

/// Returns the rows for all damages of an installation's tar.
pub(crate) fn rows(server: &TestServer) -> Vec<Row> {
    let pg_restore = PgRestore::of(server.installation());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("archive");
    let intact = server.dump("tar", "none", None);
    fs::write(&file, &intact).unwrap();
    let restored = pg_restore.decode(&file);
    let archive = format!("{} tar", server.installation().major);
    assert_eq!(restored.exit, Exit::Success, "{archive}");
    support::read(&intact).unwrap_or_else(|error| panic!("{archive} is intact: {error}"));
    let toc = Member::all(&intact)[0].end;
    let row = |(what, place, expected, bytes): Damage| {
        fs::write(&file, &bytes).unwrap();
        Row {
            what,
            place,
            expected,
            archive: archive.clone(),
            is_after_toc: bytes.get(..toc) == intact.get(..toc),
            list: pg_restore.list(&file),
            restore: Restore::of(&pg_restore.decode(&file), &restored),
            found: support::read(&bytes).err().map(|error| error.to_string()),
            digest_differs: Sha256::digest(&bytes) != Sha256::digest(&intact),
        }
    };
    damages(&intact).into_iter().map(row).collect()
}

/// The offsets of a member, from its header to the next.
struct Member {
    start: usize,
    length: usize,
    end: usize,
    name: String,
}

impl Member {
    fn all(bytes: &[u8]) -> Vec<Self> {
        let (mut members, mut start) = (Vec::new(), 0);
        let text = |range: &[u8]| String::from_utf8(range.to_vec()).unwrap().trim_end_matches(['\0', ' ']).to_owned();
        while bytes[start] != 0 {
            let name = text(&bytes[start..start + 100]);
            let length = usize::from_str_radix(&text(&bytes[start + 124..start + 136]), 8).unwrap();
            let end = start + BLOCK + length.next_multiple_of(BLOCK);
            members.push(Self { start, length, end, name });
            start = end;
        }
        members
    }

    fn content(&self) -> usize {
        self.start + BLOCK
    }
}

fn damages(intact: &[u8]) -> Vec<Damage> {
    use Expected::{Detected, DetectedUnlessHarmless, OnlyDigestDetects};
    let members = Member::all(intact);
    let is_table = |member: &&Member| member.name.starts_with(|first: char| first.is_ascii_digit());
    let table = members.iter().filter(is_table).max_by_key(|member| member.length).unwrap();
    let is_object = |member: &&Member| member.name.starts_with("blob_");
    let object = members.iter().filter(is_object).max_by_key(|member| member.length).unwrap();
    let end = members.last().unwrap().end;
    let to = |length: usize| intact[..length].to_vec();
    let with = |at: usize, bytes: &[u8]| [&intact[..at], bytes, &intact[at + bytes.len()..]].concat();
    let flip = |at: usize| with(at, &[intact[at] ^ 1]);
    let without = |member: &Member| [&intact[..member.start], &intact[member.end..]].concat();
    let twice = |member: &Member| [&intact[..member.end], &intact[member.start..]].concat();
    let middle = table.content() + table.length / 2;
    vec![
        ("truncated to 20 %", "tar", Detected, to(intact.len() / 5)),
        ("truncated to 50 %", "tar", Detected, to(intact.len() / 2)),
        ("truncated to 90 %", "tar", Detected, to(intact.len() / 10 * 9)),
        ("truncated to 99 %", "tar", Detected, to(intact.len() / 100 * 99)),
        ("truncated before a member", "table", Detected, to(table.start)),
        ("truncated after a header", "table", Detected, to(table.content())),
        ("truncated inside of a member", "table", Detected, to(middle)),
        ("without the blocks that end it", "end", DetectedUnlessHarmless, to(end)),
        ("without the last of these blocks", "end", DetectedUnlessHarmless, to(end + BLOCK)),
        ("garbage", "after the end", DetectedUnlessHarmless, [intact, &[0xa5; 4096]].concat()),
        ("zeros", "after the end", DetectedUnlessHarmless, [intact, &[0; 4096]].concat()),
        ("the archive again", "after the end", DetectedUnlessHarmless, intact.repeat(2)),
        ("a bit of the data", "table", OnlyDigestDetects, flip(middle)),
        ("a bit of the data", "large object", OnlyDigestDetects, flip(object.content() + 10)),
        ("4 K of zeros", "table", Detected, with(middle / BLOCK * BLOCK, &[0; 4096])),
        ("a header of zeros", "table", Detected, with(table.start, &[0; BLOCK])),
        ("a letter of the name", "table", Detected, flip(table.start)),
        ("a digit of the size", "table", Detected, flip(table.start + 130)),
        ("a digit of the checksum", "table", Detected, flip(table.start + 150)),
        ("missing", "table", Detected, without(table)),
        ("duplicated", "table", Detected, twice(table)),
        ("missing", "large object", Detected, without(object)),
        ("duplicated", "large object", Detected, twice(object)),
        ("missing", "toc.dat", Detected, without(&members[0])),
        ("512 bytes removed", "table", Detected, [&intact[..middle], &intact[middle + BLOCK..]].concat()),
        ("1 byte removed", "table", Detected, [&intact[..middle], &intact[middle + 1..]].concat()),
    ]
}
