//! The members of a tar, without surplus bytes between or after them.
//!
//! The tar crate parses the headers but does not read the members: its reader would treat a tar
//! that is cut before a header as complete.

mod extended_header;

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header};

use crate::decode::{Chunks, Codec, DecodeError, Sink, decode, read_buffered};
use crate::error::{Error, ErrorKind, Result};
use crate::files::tar_reader::extended_header::{ExtendedHeader, PaxScope};
use crate::input::Input;

/// The size of a tar's blocks.
const BLOCK_BYTES: usize = 512;
/// The type of the member with the tar's label, which `tar --label` writes.
const LABEL: u8 = b'V';

/// The offset of the magic in a header, and the values that pg_restore accepts: POSIX, GNU, and
/// pg_dump before 9.3.
const MAGIC_AT: usize = 257;
const MAGICS: [&[u8]; 3] = [b"ustar\x0000", b"ustar  \0", b"ustar00\0"];

const PLACE: &str = "tar header";
pub(super) const REPACK_HINT: &str = "pack it with: tar --format=gnu -C FOLDER -cf FILE .";

/// The type of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Folder,
    /// A link to another member.
    Link,
    /// A device, a fifo, or an unsupported type.
    Other,
}

/// A reader of a tar. Its [`Read`] yields the content of the current member.
pub(crate) struct TarReader<R> {
    input: Input<R>,
    /// The name of the content in errors.
    place: String,
    remaining: u64,
    padding: usize,
    extended_header: ExtendedHeader,
    single_frame: bool,
    has_magic: bool,
    has_extended_header: bool,
}

impl<R: BufRead> TarReader<R> {
    pub(crate) fn new(input: Input<R>) -> Self {
        Self {
            input,
            place: PLACE.to_owned(),
            remaining: 0,
            padding: 0,
            extended_header: ExtendedHeader::default(),
            single_frame: false,
            has_magic: false,
            has_extended_header: false,
        }
    }

    /// Returns the number of bytes read.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Returns true if the first header has a magic that pg_restore accepts.
    pub(crate) fn has_magic(&self) -> bool {
        self.has_magic
    }

    /// Returns true if the current member has an additional header.
    pub(crate) fn has_extended_header(&self) -> bool {
        self.has_extended_header
    }

    /// Returns the number of unread bytes of the content.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Returns the name of the content in errors.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Sets the name of the content in errors.
    pub(crate) fn set_place(&mut self, place: String) {
        self.place = place;
    }

    /// Returns an error of damage to the content at the current offset.
    pub(crate) fn damaged(&self, message: impl Into<String>) -> Error {
        Error::damaged(self.offset(), self.place.clone(), message)
    }

    /// Decodes the content to its end, which the content itself marks.
    pub(crate) fn decode(&mut self, codec: Codec, sink: &mut Sink<'_>) -> Result<()> {
        self.single_frame = false;
        self.decode_frames(codec, sink)
    }

    /// Decodes content that does not mark its end. pg_dump writes one frame, and any byte after it
    /// is damage.
    pub(crate) fn decode_endless(&mut self, codec: Codec, sink: &mut Sink<'_>) -> Result<()> {
        self.single_frame = true;
        self.decode_frames(codec, sink)
    }

    fn decode_frames(&mut self, codec: Codec, sink: &mut Sink<'_>) -> Result<()> {
        decode(codec, self, sink).map_err(|stop| match stop {
            DecodeError::Flaw(flaw) => self.damaged(flaw),
            DecodeError::Io(error) => self.read_failed(error),
        })
    }

    fn read_failed(&self, error: io::Error) -> Error {
        Error::read_failed(self.offset(), &self.place, error)
    }

    /// Begins the next member, and returns its type and path. Returns `None` at the end, which only
    /// zero bytes may follow.
    pub(crate) fn next(&mut self) -> Result<Option<(MemberKind, Vec<u8>)>> {
        self.has_extended_header = false;
        loop {
            self.end_member()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            self.has_extended_header |= kind.as_byte() == LABEL
                || matches!(
                    kind,
                    EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
                );
            match kind {
                EntryType::XHeader => self.pax(PaxScope::Next)?,
                EntryType::XGlobalHeader => self.pax(PaxScope::Global)?,
                EntryType::GNULongName => self.long_name()?,
                EntryType::GNULongLink => self.skip()?,
                kind if kind.as_byte() == LABEL => {}
                kind => {
                    let path = self.path(&header);
                    return Ok(Some((self.kind(kind, &path)?, path)));
                }
            }
        }
    }

    /// Returns the type of the current member.
    fn kind(&self, kind: EntryType, path: &[u8]) -> Result<MemberKind> {
        match kind {
            // In the oldest tars, only the name distinguishes a folder.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Ok(MemberKind::Folder),
            EntryType::Regular | EntryType::Continuous => Ok(MemberKind::File),
            EntryType::Directory if self.remaining == 0 => Ok(MemberKind::Folder),
            EntryType::Directory => Err(self.damaged("is a folder, and has content")),
            EntryType::Link | EntryType::Symlink => Ok(MemberKind::Link),
            EntryType::GNUSparse => {
                Err(self.unsupported(format!("is a sparse file, which is not supported; {REPACK_HINT}")))
            }
            _ => Ok(MemberKind::Other),
        }
    }

    /// Skips the content.
    pub(crate) fn skip(&mut self) -> Result<()> {
        while self.remaining > 0 {
            let length = match self.fill_buf() {
                Ok(piece) => piece.len(),
                Err(error) => return Err(self.read_failed(error)),
            };
            self.consume(length);
        }
        Ok(())
    }

    /// Returns an error of unsupported content.
    pub(crate) fn unsupported(&self, message: impl Into<String>) -> Error {
        Error::unsupported(self.offset(), self.place.clone(), message)
    }

    /// Reads the padding of a member's last block.
    fn end_member(&mut self) -> Result<()> {
        if self.remaining > 0 {
            return Err(self.damaged(format!("{} bytes follow its end", self.remaining)));
        }
        let mut block = [0; BLOCK_BYTES];
        let padding = &mut block[..std::mem::take(&mut self.padding)];
        self.input.exact(padding, &self.place, "the end of its last block")?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("its end is followed by data, where only zero bytes were expected"));
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let at = self.offset();
        if self.input.is_at_end()? {
            let message = "the tar ends without its end blocks: it is cut";
            return Err(Error::damaged(at, "end of the tar", message));
        }
        let mut header = Header::new_old();
        let read = self.input.exact(header.as_mut_bytes(), PLACE, "a header of 512 bytes");
        let bytes = header.as_bytes();
        if let Err(error) = read {
            let head = &bytes[..(self.offset() - at) as usize];
            // A tar that is cut here begins with a name and zero bytes. Anything else is not a tar.
            let is_text = !head.contains(&0) && !b"toc.dat".starts_with(head);
            return Err(if at == 0 && is_text && error.kind == ErrorKind::Damaged { not_a_dump() } else { error });
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        if header.cksum().ok() != Some(checksum(bytes)) {
            if at == 0 && header.as_ustar().is_none() && header.as_gnu().is_none() {
                return Err(not_a_dump());
            }
            return Err(Error::damaged(at, PLACE, "its checksum does not match its bytes"));
        }
        if at == 0 {
            self.has_magic = MAGICS.contains(&&bytes[MAGIC_AT..MAGIC_AT + 8]);
        }
        self.place = format!("file \"{}\"", header.path_bytes().escape_ascii());
        // A label has no content and no size.
        let size = if header.entry_type().as_byte() == LABEL { Ok(0) } else { header.entry_size() };
        let Ok(size) = size else {
            return Err(Error::damaged(at, self.place.clone(), "its size is not a number"));
        };
        self.set_size(size);
        Ok(Some(header))
    }

    fn set_size(&mut self, bytes: u64) {
        self.remaining = bytes;
        self.padding = (BLOCK_BYTES - bytes as usize % BLOCK_BYTES) % BLOCK_BYTES;
    }

    /// Reads the second end block and the padding after it.
    fn end(&mut self) -> Result<()> {
        const PLACE: &str = "end of the tar";
        let mut block = [0; BLOCK_BYTES];
        self.input.exact(&mut block, PLACE, "the second of its two end blocks")?;
        let mut zeros = block.iter().all(|byte| *byte == 0);
        while zeros && !self.input.is_at_end()? {
            let piece = self.input.fill(PLACE)?;
            let length = piece.len();
            zeros = piece.iter().all(|byte| *byte == 0);
            self.input.consume(length);
        }
        if !zeros {
            let message = "the first end block is followed by data, where only zero bytes were expected";
            return Err(Error::damaged(self.offset(), PLACE, message));
        }
        if !self.offset().is_multiple_of(BLOCK_BYTES as u64) {
            return Err(Error::damaged(self.offset(), PLACE, "the tar ends within a block: it is cut"));
        }
        Ok(())
    }
}

/// Returns the sum of a header's bytes, with the checksum's own bytes counted as spaces.
fn checksum(header: &[u8; BLOCK_BYTES]) -> u32 {
    let checksum_field = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(header) - sum(&header[checksum_field.clone()]) + u32::from(b' ') * checksum_field.len() as u32
}

/// Returns the error of input that is not a dump.
fn not_a_dump() -> Error {
    let message = "neither a PostgreSQL archive nor a script of pg_dump or pg_dumpall nor a tar of one";
    Error::unsupported(0, "beginning of the archive", message)
}

impl<R: BufRead> BufRead for TarReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        if self.input.fill(&self.place)?.is_empty() {
            return Err(self
                .input
                .truncated(&self.place, &format!("the rest of it, {} bytes,", self.remaining))
                .into());
        }
        let piece = self.input.fill(&self.place)?;
        Ok(&piece[..piece.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, bytes: usize) {
        self.remaining -= bytes as u64;
        self.input.consume(bytes);
    }
}

impl<R: BufRead> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

impl<R: BufRead> Chunks for TarReader<R> {
    /// Always true, since a file has no list of chunks: pg_restore reads all frames of a file.
    fn is_at_chunk_end(&self) -> bool {
        true
    }

    fn has_one_frame(&self) -> bool {
        self.single_frame
    }
}
