//! The layout of an archive: an independent parser of intact archives.

use std::ops::Range;

/// The offsets in an archive of the custom format, version 1.14 or later.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The offset of the compression in the header.
    pub(crate) compression_at: usize,
    /// The offset of the year of the dump, counted from 1900.
    pub(crate) year_at: usize,
    pub(crate) server_version: Range<usize>,
    /// The offset of the number of entries.
    pub(crate) count_at: usize,
    pub(crate) entries: Vec<Entry>,
    /// The end of the TOC.
    pub(crate) toc_end: usize,
    pub(crate) blocks: Vec<Block>,
}

/// The offsets in an entry of the TOC. Ranges of strings exclude their lengths.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) all: Range<usize>,
    pub(crate) id: i32,
    pub(crate) has_data_at: usize,
    pub(crate) name: Range<usize>,
    pub(crate) description: Range<usize>,
    pub(crate) section_at: usize,
    pub(crate) definition: Range<usize>,
    pub(crate) copy: Range<usize>,
    pub(crate) owner: Range<usize>,
    pub(crate) state_at: usize,
}

/// The offsets in the data of one table, or of a group of large objects.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) all: Range<usize>,
    pub(crate) id: i32,
    pub(crate) items: Vec<Item>,
}

/// The offsets in the data of one table or large object. A large object begins with its OID.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) all: Range<usize>,
    pub(crate) chunks: Vec<Chunk>,
}

/// The offsets in a chunk.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) all: Range<usize>,
    pub(crate) payload: Range<usize>,
}

/// The length of a number in bytes.
pub(crate) const INT: usize = 5;

impl Layout {
    /// Finds all offsets.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let minor = bytes[6];
        assert!(bytes.starts_with(b"PGDMP\x01") && (14..=16).contains(&minor) && bytes[8..11] == [4, 8, 1]);
        let mut cursor = Cursor { bytes, at: 11 };
        let compression_at = cursor.skip(if minor < 15 { INT } else { 1 });
        let year_at = cursor.skip(7 * INT) + 5 * INT;
        cursor.text();
        let server_version = cursor.text();
        cursor.text();
        let count_at = cursor.at;
        let count = cursor.int();
        let entries = (0..count).map(|_| cursor.entry(minor)).collect();
        let toc_end = cursor.at;
        let mut blocks = Vec::new();
        while cursor.at < bytes.len() {
            blocks.push(cursor.block());
        }
        Self { compression_at, year_at, server_version, count_at, entries, toc_end, blocks }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, length: usize) -> usize {
        self.at += length;
        self.at - length
    }

    fn int(&mut self) -> i32 {
        let at = self.skip(INT);
        let magnitude = u32::from_le_bytes(self.bytes[at + 1..at + INT].try_into().unwrap()).cast_signed();
        if self.bytes[at] == 0 { magnitude } else { magnitude.wrapping_neg() }
    }

    fn text(&mut self) -> Range<usize> {
        let length = usize::try_from(self.int()).unwrap_or(0);
        let at = self.skip(length);
        at..at + length
    }

    fn entry(&mut self, minor: u8) -> Entry {
        let start = self.at;
        let id = self.int();
        let has_data_at = self.skip(INT);
        self.text();
        self.text();
        let [name, description] = [(); 2].map(|()| self.text());
        let section_at = self.skip(INT);
        let [definition, _drop, copy, _schema, _tablespace, _access_method] = [(); 6].map(|()| self.text());
        if minor >= 16 {
            self.skip(INT);
        }
        let [owner, _with_oids] = [(); 2].map(|()| self.text());
        while self.bytes[self.at] == 0 {
            self.text();
        }
        self.skip(INT);
        let state_at = self.skip(9);
        let all = start..self.at;
        Entry { all, id, has_data_at, name, description, section_at, definition, copy, owner, state_at }
    }

    fn block(&mut self) -> Block {
        let start = self.skip(1);
        let id = self.int();
        let mut items = Vec::new();
        if self.bytes[start] == 1 {
            items.push(self.item(self.at));
        } else {
            loop {
                let at = self.at;
                if self.int() == 0 {
                    break;
                }
                items.push(self.item(at));
            }
        }
        Block { all: start..self.at, id, items }
    }

    fn item(&mut self, start: usize) -> Item {
        let mut chunks = Vec::new();
        loop {
            let at = self.at;
            let length = usize::try_from(self.int()).unwrap();
            if length == 0 {
                return Item { all: start..self.at, chunks };
            }
            let payload = self.skip(length);
            chunks.push(Chunk { all: at..self.at, payload: payload..self.at });
        }
    }
}
