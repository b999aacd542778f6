//! The signature of a file: the digests of all its whole blocks.
//!
//! ```text
//! LSBLOCKS            8 bytes
//! block size          4 bytes, little-endian
//! rolling, strong     4 and 12 bytes for each block
//! ```
//! The bytes after the last whole block have no digest. A keyed digest of the whole signature is
//! kept elsewhere, so that a changed, truncated or exchanged signature is detected before its use.

use std::io::{self, Read, Write};

use crate::block::{BlockHasher, ENTRY_BYTES, Entry, Key};
use crate::index::Index;

const MAGIC: [u8; 8] = *b"LSBLOCKS";
const HEADER_BYTES: usize = MAGIC.len() + 4;

/// The number of entries that are read at a time.
const PIECE_ENTRIES: usize = 4096;

/// The maximum number of landmarks.
const MAX_LANDMARKS: usize = 1 << 16;

/// The smallest block in bytes.
pub const MIN_BLOCK_BYTES: u32 = 128;
/// The largest block in bytes.
pub const MAX_BLOCK_BYTES: u32 = 64 << 10;

/// The facts of a signature, to be kept apart from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The number of blocks.
    pub blocks: u64,
    /// The keyed BLAKE3 of the signature.
    pub digest: [u8; 32],
}

fn digest_of_signature(key: &Key) -> blake3::Hasher {
    blake3::Hasher::new_keyed(&blake3::derive_key("longshore rdiff 2026 signature", &key.0))
}

/// Writes the signature of a file while the file passes.
pub struct SignatureWriter<W> {
    hasher: BlockHasher,
    digest: blake3::Hasher,
    out: W,
    /// The beginning of a block.
    partial: Vec<u8>,
    /// Entries that were not written yet.
    entries: Vec<u8>,
    blocks: u64,
}

impl<W: Write> SignatureWriter<W> {
    /// Begins a signature.
    pub fn new(key: &Key, block_bytes: u32, out: W) -> Self {
        let mut entries = Vec::with_capacity(PIECE_ENTRIES * ENTRY_BYTES);
        entries.extend_from_slice(&MAGIC);
        entries.extend_from_slice(&block_bytes.to_le_bytes());
        Self {
            hasher: BlockHasher::new(key, block_bytes as usize),
            digest: digest_of_signature(key),
            out,
            partial: Vec::new(),
            entries,
            blocks: 0,
        }
    }

    /// Adds the next bytes of the file.
    pub fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let size = self.hasher.block_bytes();
        if !self.partial.is_empty() {
            let missing = bytes.len().min(size - self.partial.len());
            self.partial.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.partial.len() < size {
                return Ok(());
            }
            let entry = self.hasher.entry(&self.partial);
            self.partial.clear();
            self.add(entry)?;
        }
        let blocks = bytes.chunks_exact(size);
        self.partial.extend_from_slice(blocks.remainder());
        for block in blocks {
            self.add(self.hasher.entry(block))?;
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry) -> io::Result<()> {
        self.entries.extend_from_slice(&entry.to_bytes());
        self.blocks += 1;
        if self.entries.len() + ENTRY_BYTES > PIECE_ENTRIES * ENTRY_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.digest.update(&self.entries);
        self.out.write_all(&self.entries)?;
        self.entries.clear();
        Ok(())
    }

    /// Completes the signature. Returns its output and its facts.
    pub fn finish(mut self) -> io::Result<(W, Summary)> {
        self.flush()?;
        self.out.flush()?;
        Ok((self.out, Summary { blocks: self.blocks, digest: *self.digest.finalize().as_bytes() }))
    }
}

/// A place with the bytes of a signature, read in any order.
pub trait Positioned {
    /// Fills `into` with the bytes from `offset` on. Fails at the end of the place.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Positioned for std::fs::File {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }
}

impl Positioned for Vec<u8> {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(into.len());
        let found = end.and_then(|end| self.get(start..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }
}

/// The signature of an old file, checked against its facts.
pub struct Signature<P> {
    place: P,
    hasher: BlockHasher,
    blocks: u64,
    /// Blocks at equal distances in the whole file.
    pub(crate) landmarks: Index,
}

impl<P: Positioned> Signature<P> {
    /// Reads a signature to its end and compares it with its facts.
    ///
    /// # Errors
    ///
    /// Fails with [`InvalidData`](io::ErrorKind::InvalidData) if the signature is another one, or
    /// is damaged or truncated.
    pub fn open(place: P, key: &Key, block_bytes: u32, expected: &Summary) -> io::Result<Self> {
        if !(MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&block_bytes) {
            return Err(invalid("the block size is out of range"));
        }
        let hasher = BlockHasher::new(key, block_bytes as usize);
        let mut digest = digest_of_signature(key);
        let mut header = [0; HEADER_BYTES];
        place.read_exact_at(&mut header, 0).map_err(truncated)?;
        let (magic, size) = header.split_at(MAGIC.len());
        if magic != MAGIC || size != block_bytes.to_le_bytes() {
            return Err(invalid("not a signature of this block size"));
        }
        digest.update(&header);
        let (mut landmarks, mut stride) = (Vec::with_capacity(MAX_LANDMARKS), 1);
        let mut number = 0;
        let mut piece = vec![0; PIECE_ENTRIES * ENTRY_BYTES];
        while number < expected.blocks {
            let wanted = (expected.blocks - number).min(PIECE_ENTRIES as u64) as usize * ENTRY_BYTES;
            place.read_exact_at(&mut piece[..wanted], offset_of(number)).map_err(truncated)?;
            digest.update(&piece[..wanted]);
            for bytes in piece[..wanted].as_chunks::<ENTRY_BYTES>().0 {
                if number % stride == 0 {
                    if landmarks.len() == MAX_LANDMARKS {
                        stride *= 2;
                        landmarks.retain(|(_, number)| number % stride == 0);
                    }
                    if number % stride == 0 {
                        landmarks.push((Entry::from_bytes(bytes).rolling, number));
                    }
                }
                number += 1;
            }
        }
        // Comparing hashes in constant time costs nothing here.
        if digest.finalize() != blake3::Hash::from_bytes(expected.digest) {
            return Err(invalid("the signature differs from its digest"));
        }
        if place.read_exact_at(&mut [0], offset_of(number)).is_ok() {
            return Err(invalid("the signature has trailing bytes"));
        }
        let mut index = Index::default();
        index.fill(landmarks.into_iter());
        Ok(Self { place, hasher, blocks: expected.blocks, landmarks: index })
    }

    /// Returns the number of blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns the size of a block in bytes.
    pub fn block_bytes(&self) -> u32 {
        // Checked when the signature was opened.
        u32::try_from(self.hasher.block_bytes()).unwrap_or(MAX_BLOCK_BYTES)
    }

    /// Returns the hasher of the blocks.
    pub(crate) fn hasher(&self) -> &BlockHasher {
        &self.hasher
    }

    /// Replaces `into` by the entries from `first` on, at most `maximum`.
    pub(crate) fn read(&self, first: u64, maximum: usize, into: &mut Vec<Entry>) -> io::Result<()> {
        let count = self.blocks.saturating_sub(first).min(maximum as u64) as usize;
        let mut bytes = vec![0; count * ENTRY_BYTES];
        self.place.read_exact_at(&mut bytes, offset_of(first))?;
        into.clear();
        into.extend(bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(Entry::from_bytes));
        Ok(())
    }
}

/// Returns the size of a signature of this many blocks, in bytes.
pub fn signature_bytes(blocks: u64) -> u64 {
    offset_of(blocks)
}

fn offset_of(block: u64) -> u64 {
    HEADER_BYTES as u64 + block * ENTRY_BYTES as u64
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn truncated(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("the signature is truncated"),
        _ => error,
    }
}

/// Writes the signature of a whole reader.
pub fn sign(mut reader: impl Read, key: &Key, block_bytes: u32) -> io::Result<(Vec<u8>, Summary)> {
    let mut writer = SignatureWriter::new(key, block_bytes, Vec::new());
    let mut piece = vec![0; 64 << 10];
    loop {
        match reader.read(&mut piece)? {
            0 => return writer.finish(),
            read => writer.push(&piece[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([3; 32]);

    fn refusal(place: Vec<u8>, key: &Key, block_bytes: u32, summary: &Summary) -> String {
        let error = Signature::open(place, key, block_bytes, summary).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        error.to_string()
    }

    #[test]
    fn changed_signatures_are_refused() {
        let content: Vec<u8> = (0..100_000_u32).map(|number| (number / 7) as u8).collect();
        let (place, summary) = sign(&content[..], &KEY, 512).unwrap();
        assert_eq!(summary.blocks, 195);
        assert_eq!(Signature::open(place.clone(), &KEY, 512, &summary).unwrap().blocks(), 195);
        let truncated = place[..place.len() - 1].to_vec();
        assert!(refusal(truncated, &KEY, 512, &summary).contains("truncated"));
        assert!(refusal(Vec::new(), &KEY, 512, &summary).contains("truncated"));
        let longer = [&place[..], b"x"].concat();
        assert!(refusal(longer, &KEY, 512, &summary).contains("trailing"));
        let mut forged = place.clone();
        forged[3000] ^= 1;
        assert!(refusal(forged, &KEY, 512, &summary).contains("differs"));
        assert!(refusal(place.clone(), &Key([4; 32]), 512, &summary).contains("differs"));
        assert!(refusal(place.clone(), &KEY, 1024, &summary).contains("block size"));
        assert!(refusal(place.clone(), &KEY, 1, &summary).contains("range"));
        let (other, other_summary) = sign(&content[1..], &KEY, 512).unwrap();
        assert!(refusal(other, &KEY, 512, &summary).contains("differs"));
        assert!(refusal(place, &KEY, 512, &other_summary).contains("differs"));
    }

    #[test]
    fn pieces_of_any_size_give_the_same_signature() {
        let content: Vec<u8> = (0..20_000_u32).map(|number| (number * number / 3) as u8).collect();
        let whole = sign(&content[..], &KEY, 512).unwrap();
        for size in [1, 511, 512, 513, 3000] {
            let mut writer = SignatureWriter::new(&KEY, 512, Vec::new());
            content.chunks(size).for_each(|piece| writer.push(piece).unwrap());
            assert_eq!(writer.finish().unwrap(), whole, "{size}");
        }
    }
}
