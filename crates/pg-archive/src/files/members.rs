//! A tar as its members, one after another, with nothing between and behind them that a tar does not have.
//!
//! The tar crate takes its headers apart. It does not walk through them: to its reader, a tar that is cut before a header has ended.

mod ahead;

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header};

use crate::decode::{Chunks, Form, Sink, Stop, decode, read_at_hand};
use crate::error::{Error, Result, Trouble};
use crate::files::members::ahead::{About, Ahead};
use crate::input::Input;

/// A tar is made of blocks of this size.
const BLOCK_BYTES: usize = 512;
/// The kind of member that is the name of the tar: `tar --label` writes it.
const LABEL: u8 = b'V';

/// Where in a header it says what kind of tar it is, and the words that pg_restore knows: POSIX, GNU, and pg_dump before 9.3.
const MAGIC_AT: usize = 257;
const MAGICS: [&[u8]; 3] = [b"ustar\x0000", b"ustar  \0", b"ustar00\0"];

const PLACE: &str = "tar header";
pub(super) const PACK_ANEW: &str = "pack it with: tar --format=gnu -C FOLDER -cf FILE .";

/// What begins with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// Another name of something that is elsewhere.
    Link,
    /// A device, a fifo, or what is not known here.
    Other,
}

/// Walks through a tar. As a reader, it has the content of the member that was begun last.
pub(crate) struct Members<R> {
    input: Input<R>,
    /// What the content is to whoever reads an error.
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

    /// How many bytes were read.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Whether the first header says what kind of tar this is, in the words that pg_restore knows.
    pub(crate) fn has_magic(&self) -> bool {
        self.has_magic
    }

    /// Whether a header of its own says more of the member that was begun.
    pub(crate) fn is_extended(&self) -> bool {
        self.is_extended
    }

    /// How many bytes of the content come yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// What errors call the content.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Says what errors are to call it.
    pub(crate) fn set_place(&mut self, place: String) {
        self.place = place;
    }

    /// Damage of the content, here.
    pub(crate) fn damaged(&self, message: impl Into<String>) -> Error {
        Error::damaged(self.offset(), self.place.clone(), message)
    }

    /// Decodes the content to its end, which the content itself shows.
    pub(crate) fn decode(&mut self, form: Form, sink: &mut Sink<'_>) -> Result<()> {
        self.one_frame = false;
        self.decode_frames(form, sink)
    }

    /// Decodes content without an end of its own: pg_dump writes one frame, and what follows that is damage.
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

    /// Begins the next member: what it is, and its path. Nothing at the end, behind which only zero bytes are.
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

    /// What the member is that was begun.
    fn kind(&self, kind: EntryType, path: &[u8]) -> Result<Kind> {
        match kind {
            // In the oldest tars, nothing but its name tells a folder.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Ok(Kind::Folder),
            EntryType::Regular | EntryType::Continuous => Ok(Kind::File),
            EntryType::Directory if self.left == 0 => Ok(Kind::Folder),
            EntryType::Directory => Err(self.damaged("is a folder, and has content")),
            EntryType::Link | EntryType::Symlink => Ok(Kind::Link),
            EntryType::GNUSparse => Err(self.unsupported(format!("has gaps, which are not known here; {PACK_ANEW}"))),
            _ => Ok(Kind::Other),
        }
    }

    /// Goes past the content.
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

    /// Something of the content that is not known here.
    pub(crate) fn unsupported(&self, message: impl Into<String>) -> Error {
        Error::unsupported(self.offset(), self.place.clone(), message)
    }

    /// Reads what fills the last block of a member.
    fn end_member(&mut self) -> Result<()> {
        if self.left > 0 {
            return Err(self.damaged(format!("{} bytes come after its end", self.left)));
        }
        let mut block = [0; BLOCK_BYTES];
        let padding = &mut block[..std::mem::take(&mut self.padding)];
        self.input.exact(padding, &self.place, "the end of its last block")?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("there is something behind its end, where only zero bytes were expected"));
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
            // A tar that is cut here begins with a name and zero bytes; what has none of either is something else.
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
            return Err(Error::damaged(at, PLACE, "its checksum is not that of its bytes"));
        }
        if at == 0 {
            self.has_magic = MAGICS.contains(&&bytes[MAGIC_AT..MAGIC_AT + 8]);
        }
        self.place = format!("file \"{}\"", header.path_bytes().escape_ascii());
        // A label has no content, and says no size.
        let size = if header.entry_type().as_byte() == LABEL { Ok(0) } else { header.entry_size() };
        let Ok(size) = size else {
            return Err(Error::damaged(at, self.place.clone(), "its size is no number"));
        };
        self.sized(size);
        Ok(Some(header))
    }

    fn sized(&mut self, bytes: u64) {
        self.left = bytes;
        self.padding = (BLOCK_BYTES - bytes as usize % BLOCK_BYTES) % BLOCK_BYTES;
    }

    /// Reads the second end block, and what pads the tar behind it.
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
            let message = "there is something behind the first end block, where only zero bytes were expected";
            return Err(Error::damaged(self.offset(), PLACE, message));
        }
        if !self.offset().is_multiple_of(BLOCK_BYTES as u64) {
            return Err(Error::damaged(self.offset(), PLACE, "the tar ends within a block: it is cut"));
        }
        Ok(())
    }
}

/// The sum of a header's bytes, where those of the checksum itself are blanks.
fn checksum(header: &[u8; BLOCK_BYTES]) -> u32 {
    let own = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(header) - sum(&header[own.clone()]) + u32::from(b' ') * own.len() as u32
}

/// The error of what is no dump.
fn unknown() -> Error {
    let message = "neither an archive of PostgreSQL's nor a script of pg_dump or pg_dumpall nor a tar of one";
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
    /// A file is no list of chunks: pg_restore reads all the frames in it, wherever they end.
    fn is_at_chunk_end(&self) -> bool {
        true
    }

    fn has_one_frame(&self) -> bool {
        self.one_frame
    }
}
