//! The list of large objects in a directory or a tar: a line for each, with its OID and its file.

use roaring::RoaringBitmap;

use crate::copy_data::Flaw;
use crate::files::file_name::parse_number;

/// The length of the longest valid line: an OID, a space, and a file name with the OID.
const MAX_LINE_BYTES: usize = "4294967295 blob_4294967295.dat".len();

/// A checker of a list.
pub(crate) struct LargeObjectList<'a> {
    listed: &'a mut RoaringBitmap,
    line: Vec<u8>,
}

impl<'a> LargeObjectList<'a> {
    /// Creates a checker that adds to the large objects already `listed`.
    pub(crate) fn new(listed: &'a mut RoaringBitmap) -> Self {
        Self { listed, line: Vec::new() }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            // Only the part of an overlong line that an error shows is kept.
            let free = MAX_LINE_BYTES + 2 - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(free)]);
            let complete = self.line.strip_suffix(b"\n");
            if complete.is_none() && self.line.len() <= MAX_LINE_BYTES {
                continue;
            }
            let Some(oid) = complete.and_then(oid) else {
                let line = complete.unwrap_or(&self.line).escape_ascii();
                return Err(format!("the line \"{line}\" is not of an OID and the file blob_OID.dat"));
            };
            self.line.clear();
            if !self.listed.insert(oid) {
                return Err(format!("large object {oid} is listed twice"));
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Flaw> {
        if self.line.is_empty() { Ok(()) } else { Err("it ends within a line: it is cut".to_owned()) }
    }
}

fn oid(line: &[u8]) -> Option<u32> {
    let (digits, file) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let named = file.strip_prefix("blob_")?.strip_suffix(".dat")?;
    parse_number(digits).filter(|_| digits == named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pieces: &[&[u8]]) -> Result<Vec<u32>, Flaw> {
        let mut oids = RoaringBitmap::new();
        let mut list = LargeObjectList::new(&mut oids);
        pieces.iter().try_for_each(|piece| list.push(piece))?;
        list.finish()?;
        Ok(oids.into_iter().collect())
    }

    #[test]
    fn list_does_not_depend_on_piece_sizes() {
        let list = b"7 blob_7.dat\n4294967295 blob_4294967295.dat\n";
        for cut in 0..list.len() {
            assert_eq!(listed(&[&list[..cut], &list[cut..]]).unwrap(), [7, u32::MAX], "{cut}");
        }
        assert!(listed(&[]).unwrap().is_empty());
    }

    #[test]
    fn rejects_invalid_list() {
        for (list, flaw) in [
            (&b"7 blob_7.dat"[..], "cut"),
            (b"7 blob_8.dat\n", "\"7 blob_8.dat\""),
            (b"7 blob_7.dat.gz\n", "not of an OID"),
            (b"7 ../7\n", "not of an OID"),
            (b"07 blob_07.dat\n", "not of an OID"),
            (b"\n", "not of an OID"),
            (b"7 blob_7.dat\n7 blob_7.dat\n", "twice"),
            (&[b'7'; 100_000], "not of an OID"),
        ] {
            let found = listed(&[list]).unwrap_err();
            assert!(found.contains(flaw) && found.len() < 200, "{found}");
        }
    }
}
