//! A tar as its members, one after another, with nothing between and behind them that a tar does not have.
//!
//! The tar crate takes its headers apart. It does not walk through them: to its reader, a tar that is cut before a header has ended.

use std::io::{self, BufRead, Read};

use tar::{EntryType, Header, PaxExtensions};

use crate::decode::{Chunks, Form, Sink, Stop, decode, read_at_hand};
use crate::error::{Error, Result, Trouble};
use crate::input::Input;

/// A tar is made of blocks of this size.
const BLOCK_BYTES: usize = 512;
/// The longest pax header that is read: it says times and owners, which are short.
const MAX_PAX_BYTES: u64 = 64 * 1024;

const PLACE: &str = "tar header";
const PACK_ANEW: &str = "pack it with: tar --format=gnu -C FOLDER -cf FILE .";

/// What begins with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
}

/// Walks through a tar. As a reader, it has the content of the member that was begun last.
pub(crate) struct Members<R> {
    input: Input<R>,
    /// What the content is to whoever reads an error.
    place: String,
    left: u64,
    padding: usize,
    one_frame: bool,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(input: Input<R>) -> Self {
        Self { input, place: PLACE.to_owned(), left: 0, padding: 0, one_frame: false }
    }

    /// How many bytes were read.
    pub(crate) fn offset(&self) -> u64 {
        self.input.offset()
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

    /// Begins the next member: its path, and what it is. Nothing at the end, behind which only zero bytes are.
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, Kind)>> {
        loop {
            self.end_member()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let path = header.path_bytes().into_owned();
            match header.entry_type() {
                EntryType::Regular | EntryType::Continuous => return Ok(Some((path, Kind::File))),
                EntryType::Directory if self.left == 0 => return Ok(Some((path, Kind::Folder))),
                EntryType::Directory => return Err(self.damaged("is a folder, and has content")),
                EntryType::XHeader | EntryType::XGlobalHeader => self.pax()?,
                EntryType::GNULongName | EntryType::GNULongLink | EntryType::GNUSparse => {
                    let message = format!("is of a kind that is not known here (a long name, or gaps); {PACK_ANEW}");
                    return Err(self.unsupported(message));
                }
                _ => return Err(self.damaged("is neither a file nor a folder")),
            }
        }
    }

    fn unsupported(&self, message: impl Into<String>) -> Error {
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
        self.place = format!("file \"{}\"", header.path_bytes().escape_ascii());
        let Ok(size) = header.entry_size() else {
            return Err(Error::damaged(at, self.place.clone(), "its size is no number"));
        };
        self.left = size;
        self.padding = (BLOCK_BYTES - size as usize % BLOCK_BYTES) % BLOCK_BYTES;
        Ok(Some(header))
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

    /// Reads a header that says more of the next member, or of all; what changes how that is read is not known here.
    fn pax(&mut self) -> Result<()> {
        if self.left > MAX_PAX_BYTES {
            return Err(self.damaged(format!("{} bytes, more than any pax header has", self.left)));
        }
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(|error| self.unread(error))?;
        for extension in PaxExtensions::new(&content) {
            let Ok(extension) = extension else { return Err(self.damaged("is no pax header")) };
            let key = extension.key_bytes();
            if matches!(key, b"size" | b"path") || key.starts_with(b"GNU.sparse.") {
                let message =
                    format!("says the {} of the next file, which is not known here; {PACK_ANEW}", key.escape_ascii());
                return Err(self.unsupported(message));
            }
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
