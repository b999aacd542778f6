//! An archive with known offsets.

use std::ops::Range;

use crate::damage::layout::{Block, Chunk, Entry, INT, Item, Layout};
use crate::support::{Archive, Target};

/// The size of the unit that file systems and disks write.
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

    /// Returns true if no checksum protects the data.
    pub(crate) fn has_no_checksum(&self) -> bool {
        self.archive.compression != "gzip"
    }

    /// Returns true if the data is uncompressed, row by row.
    pub(crate) fn is_plain(&self) -> bool {
        self.archive.compression == "none"
    }

    /// Returns true if the TOC does not contain the offsets of the data.
    pub(crate) fn has_no_offsets(&self) -> bool {
        self.archive.target == Target::Pipe
    }

    /// Returns the TOC entry of a kind and a name.
    pub(crate) fn entry(&self, description: &str, name: &str) -> &Entry {
        let is_it = |entry: &&Entry| self.text(&entry.description) == description && self.text(&entry.name) == name;
        self.layout.entries.iter().find(is_it).unwrap()
    }

    /// Returns the TOC entry of a table's data.
    pub(crate) fn data_entry(&self, table: &str) -> &Entry {
        self.entry("TABLE DATA", table)
    }

    /// Returns the data of a table.
    pub(crate) fn table(&self, name: &str) -> &Block {
        let id = self.data_entry(name).id;
        self.layout.blocks.iter().find(|block| block.id == id).unwrap()
    }

    /// Returns a table whose data is in many chunks with any compression.
    pub(crate) fn chunked(&self) -> &Block {
        let tables = ["account", "document"].map(|name| self.table(name));
        tables.into_iter().find(|table| table.items[0].chunks.len() > 2).unwrap()
    }

    /// Returns the largest large object, and its list.
    pub(crate) fn large_object(&self) -> (&Block, &Item) {
        let lists = self.layout.blocks.iter().filter(|block| self.bytes()[block.all.start] == 3);
        let all = lists.flat_map(|list| list.items.iter().map(move |item| (list, item)));
        all.max_by_key(|(_, item)| item.all.len()).unwrap()
    }

    /// Returns the first, a middle and the last block.
    pub(crate) fn blocks(&self) -> [(&'static str, &Block); 3] {
        let blocks = &self.layout.blocks;
        [("first", &blocks[0]), ("middle", &blocks[blocks.len() / 2]), ("last", &blocks[blocks.len() - 1])]
    }

    /// Returns true if no block follows, whose offset would reveal a changed length.
    pub(crate) fn is_last(&self, block: &Block) -> bool {
        block.all.end == self.bytes().len()
    }
}

impl Block {
    /// Returns the range of the block's id.
    pub(crate) fn id_range(&self) -> Range<usize> {
        self.all.start + 1..self.all.start + 1 + INT
    }

    /// Returns the range after the block's head.
    pub(crate) fn content(&self) -> Range<usize> {
        self.all.start + 1 + INT..self.all.end
    }

    /// Returns the first, a middle and the last chunk of a table's data.
    pub(crate) fn chunks(&self) -> [(&'static str, &Chunk); 3] {
        let chunks = &self.items[0].chunks;
        [("first", &chunks[0]), ("middle", &chunks[chunks.len() / 2]), ("last", &chunks[chunks.len() - 1])]
    }

    /// Returns a chunk in the middle of a table's data.
    pub(crate) fn middle(&self) -> &Chunk {
        self.chunks()[1].1
    }
}

impl Item {
    /// Returns the range of the zero that ends the item.
    pub(crate) fn terminator(&self) -> Range<usize> {
        self.all.end - INT..self.all.end
    }
}

/// Returns the page that contains an offset.
pub(crate) fn page_of(at: usize) -> Range<usize> {
    let start = at / PAGE * PAGE;
    start..start + PAGE
}

/// Returns an Int in the archive's format.
pub(crate) fn int(value: usize) -> [u8; INT] {
    let [a, b, c, d] = u32::try_from(value).unwrap().to_le_bytes();
    [0, a, b, c, d]
}

/// Returns a chunk, including its length.
pub(crate) fn chunk(payload: &[u8]) -> Vec<u8> {
    [&int(payload.len()), payload].concat()
}
