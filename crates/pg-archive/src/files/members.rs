//! The members of a tar, without surplus bytes between or after them.
//!
//! The tar crate parses the headers but does not read the members: its reader would treat a tar
//! that is cut before a header as complete.

mod ahead;

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header};

use crate::decode::{Chunks, Form, Sink, Stop, decode, read_at_hand};
use crate::error::{Error, Result, Trouble};
use crate::files::members::ahead::{About, Ahead};
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
pub(super) const PACK_ANEW: &str = "pack it with: tar --format=gnu -C FOLDER -cf FILE .";

/// The type of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A link to another member.
    Link,
    /// A device, a fifo, or an unsupported type.
    Other,
}

/// A reader of a tar. Its [`Read`] yields the content of the current member.
pub(crate) struct Members<R> {
    input: Input<R>,
    /// The name of the content in errors.
    place: String,
    left: u64,
    padding: usize,
    ahead: Ahead,
    one_frame: bool,
    has_magic: bool,
    is_extended: bool,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(input: Input<R>) -> Self {
        Self {
            input,
            place: PLACE.to_owned(),
            left: 0,
            padding: 0,
            ahead: Ahead::default(),
            one_frame: false,
            has_magic: false,
            is_extended: false,
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
    pub(crate) fn is_extended(&self) -> bool {
        self.is_extended
    }

    /// Returns the number of unread bytes of the content.
    pub(crate) fn left(&self) -> u64 {
        self.left
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
    pub(crate) fn decode(&mut self, form: Form, sink: &mut Sink<'_>) -> Result<()> {
        self.one_frame = false;
        self.decode_frames(form, sink)
    }

    /// Decodes content that does not mark its end. pg_dump writes one frame, and any byte after it
    /// is damage.
    pub(crate) fn decode_endless(&mut self, form: Form, sink: &mut Sink<'_>) -> Result<()> {
        self.one_frame = true;
        self.decode_frames(form, sink)
    }

    fn decode_frames(&mut self, form: Form, sink: &mut Sink<'_>) -> Result<()> {
        decode(form, self, sink).map_err(|stop| match stop {
            Stop::Flaw(flaw) => self.damaged(flaw),
            Stop::Io(error) => self.unread(error),
        })
    }

    fn unread(&self, error: io::Error) -> Error {
        Error::unread(self.offset(), &self.place, error)
    }

    /// Begins the next member, and returns its type and path. Returns `None` at the end, which only
    /// zero bytes may follow.
    pub(crate) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>> {
        self.is_extended = false;
        loop {
            self.end_member()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            self.is_extended |= kind.as_byte() == LABEL
                || matches!(
                    kind,
                    EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
                );
            match kind {
                EntryType::XHeader => self.pax(About::Next)?,
                EntryType::XGlobalHeader => self.pax(About::AllThatFollow)?,
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
    fn kind(&self, kind: EntryType, path: &[u8]) -> Result<Kind> {
        match kind {
            // In the oldest tars, only the name distinguishes a folder.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Ok(Kind::Folder),
            EntryType::Regular | EntryType::Continuous => Ok(Kind::File),
            EntryType::Directory if self.left == 0 => Ok(Kind::Folder),
            EntryType::Directory => Err(self.damaged("is a folder, and has content")),
            EntryType::Link | EntryType::Symlink => Ok(Kind::Link),
            EntryType::GNUSparse => {
                Err(self.unsupported(format!("is a sparse file, which is not supported; {PACK_ANEW}")))
            }
            _ => Ok(Kind::Other),
        }
    }

    /// Skips the content.
    pub(crate) fn skip(&mut self) -> Result<()> {
        while self.left > 0 {
            let length = match self.fill_buf() {
                Ok(piece) => piece.len(),
                Err(error) => return Err(self.unread(error)),
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
        if self.left > 0 {
            return Err(self.damaged(format!("{} bytes follow its end", self.left)));
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
            return Err(if at == 0 && is_text && error.trouble == Trouble::Damaged { unknown() } else { error });
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        if header.cksum().ok() != Some(checksum(bytes)) {
            if at == 0 && header.as_ustar().is_none() && header.as_gnu().is_none() {
                return Err(unknown());
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
        self.sized(size);
        Ok(Some(header))
    }

    fn sized(&mut self, bytes: u64) {
        self.left = bytes;
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
    let own = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(header) - sum(&header[own.clone()]) + u32::from(b' ') * own.len() as u32
}

/// Returns the error of input that is not a dump.
fn unknown() -> Error {
    let message = "neither a PostgreSQL archive nor a script of pg_dump or pg_dumpall nor a tar of one";
    Error::unsupported(0, "beginning of the archive", message)
}

impl<R: BufRead> BufRead for Members<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        if self.input.fill(&self.place)?.is_empty() {
            return Err(self.input.cut(&self.place, &format!("the rest of it, {} bytes,", self.left)).into());
        }
        let piece = self.input.fill(&self.place)?;
        Ok(&piece[..piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, bytes: usize) {
        self.left -= bytes as u64;
        self.input.consume(bytes);
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_at_hand(self, buffer)
    }
}

impl<R: BufRead> Chunks for Members<R> {
    /// Always true, since a file has no list of chunks: pg_restore reads all frames of a file.
    fn is_at_chunk_end(&self) -> bool {
        true
    }

    fn has_one_frame(&self) -> bool {
        self.one_frame
    }
}
