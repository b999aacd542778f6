//! An archive whose places are known.

use std::ops::Range;

use crate::layout::{Block, Chunk, Entry, INT, Item, Layout};
use crate::support::{Archive, Target};

/// What a file system and a disk write at once.
pub(crate) const PAGE: usize = 4096;

/// An archive to be damaged.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) archive: Archive,
    pub(crate) layout: Layout,
}

impl Specimen {
    pub(crate) fn new(archive: Archive) -> Self {
        Self { layout: Layout::of(&archive.bytes), archive }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.archive.bytes
    }

    pub(crate) fn copy_of(&self, range: &Range<usize>) -> Vec<u8> {
        self.archive.bytes[range.clone()].to_vec()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.archive.bytes[range.clone()]).unwrap()
    }

    /// Whether bits of data are guarded by nothing but what they mean.
    pub(crate) fn has_no_checksum(&self) -> bool {
        self.archive.compression != "gzip"
    }

    /// Whether data stands there as it is, row by row.
    pub(crate) fn is_plain(&self) -> bool {
        self.archive.compression == "none"
    }

    /// Whether the TOC does not say where the data is.
    pub(crate) fn has_no_offsets(&self) -> bool {
        self.archive.target == Target::Pipe
    }

    /// The TOC's entry of a kind and a name.
    pub(crate) fn entry(&self, description: &str, name: &str) -> &Entry {
        let is_it = |entry: &&Entry| self.text(&entry.description) == description && self.text(&entry.name) == name;
        self.layout.entries.iter().find(is_it).unwrap()
    }

    /// The TOC's entry of a table's data.
    pub(crate) fn data_entry(&self, table: &str) -> &Entry {
        self.entry("TABLE DATA", table)
    }

    /// The data of a table.
    pub(crate) fn table(&self, name: &str) -> &Block {
        let id = self.data_entry(name).id;
        self.layout.blocks.iter().find(|block| block.id == id).unwrap()
    }

    /// A table whose data is in many chunks, whatever compresses it.
    pub(crate) fn chunked(&self) -> &Block {
        let tables = ["account", "document"].map(|name| self.table(name));
        tables.into_iter().find(|table| table.items[0].chunks.len() > 2).unwrap()
    }

    /// The list of the largest large object, and it.
    pub(crate) fn large_object(&self) -> (&Block, &Item) {
        let lists = self.layout.blocks.iter().filter(|block| self.bytes()[block.all.start] == 3);
        let all = lists.flat_map(|list| list.items.iter().map(move |item| (list, item)));
        all.max_by_key(|(_, item)| item.all.len()).unwrap()
    }

    /// The first, a middle and the last block.
    pub(crate) fn blocks(&self) -> [(&'static str, &Block); 3] {
        let blocks = &self.layout.blocks;
        [("first", &blocks[0]), ("middle", &blocks[blocks.len() / 2]), ("last", &blocks[blocks.len() - 1])]
    }

    /// Whether a block has none behind it, whose offset would tell that this one has another length.
    pub(crate) fn is_last(&self, block: &Block) -> bool {
        block.all.end == self.bytes().len()
    }
}

impl Block {
    /// The number that says whose it is.
    pub(crate) fn id_range(&self) -> Range<usize> {
        self.all.start + 1..self.all.start + 1 + INT
    }

    /// What follows its head.
    pub(crate) fn content(&self) -> Range<usize> {
        self.all.start + 1 + INT..self.all.end
    }

    /// The first, a middle and the last chunk of a table's data.
    pub(crate) fn chunks(&self) -> [(&'static str, &Chunk); 3] {
        let chunks = &self.items[0].chunks;
        [("first", &chunks[0]), ("middle", &chunks[chunks.len() / 2]), ("last", &chunks[chunks.len() - 1])]
    }

    /// A chunk in the middle of a table's data.
    pub(crate) fn middle(&self) -> &Chunk {
        self.chunks()[1].1
    }
}

impl Item {
    /// The zero that ends it.
    pub(crate) fn terminator(&self) -> Range<usize> {
        self.all.end - INT..self.all.end
    }
}

/// The page that holds a place.
pub(crate) fn page_of(at: usize) -> Range<usize> {
    let start = at / PAGE * PAGE;
    start..start + PAGE
}

/// An Int as archives have it.
pub(crate) fn int(value: usize) -> [u8; INT] {
    let [a, b, c, d] = u32::try_from(value).unwrap().to_le_bytes();
    [0, a, b, c, d]
}

/// A chunk with its length before it.
pub(crate) fn chunk(payload: &[u8]) -> Vec<u8> {
    [&int(payload.len()), payload].concat()
}
