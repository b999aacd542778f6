//! The tar archive: its members in order, each header checked, and nothing after the end.

use std::io::{self, BufRead, ErrorKind, Read};

use crate::error::{Error, Result};
use crate::tar_header::{BLOCK_BYTES, Block, Fault, Kind, Member};

/// The most bytes that each check takes before the next check takes them.
const MOST_PIECE_BYTES: usize = 64 << 10;

/// The place of errors that belong to no member.
pub(super) const PLACE: &str = "archive of the base backup";

impl Member {
    /// Returns the path as text, for messages.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// A reader of an archive's members.
pub(super) struct Archive<R> {
    inner: R,
    offset: u64,
}

impl<R: BufRead> Archive<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, offset: 0 }
    }

    /// Returns the number of bytes that were read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the header of the next member, after the data of the last one was read. Returns `None`
    /// after the end of the archive, which is two blocks of zeros with nothing but zeros after
    /// them.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>> {
        let offset = self.offset;
        let mut block = [0; BLOCK_BYTES];
        self.read_whole(&mut block)?;
        if block == [0; BLOCK_BYTES] {
            self.read_end()?;
            return Ok(None);
        }
        member(&block, offset).map(Some)
    }

    /// Returns the data of a member, to be read next and finished by [`Data::finish`].
    pub(super) fn data<'a>(&'a mut self, member: &'a Member) -> Data<'a, R> {
        Data { archive: self, member, unread: member.size_bytes }
    }

    /// Fills `block`, or fails if the archive ends before.
    fn read_whole(&mut self, block: &mut [u8]) -> Result<()> {
        let mut unfilled = block;
        while !unfilled.is_empty() {
            let read = self.fill()?;
            if read.is_empty() {
                return Err(Error::damaged(PLACE, self.offset, "the archive ends here, without its end marker"));
            }
            let count = read.len().min(unfilled.len());
            let (now, rest) = unfilled.split_at_mut(count);
            now.iter_mut().zip(read).for_each(|(to, from)| *to = *from);
            unfilled = rest;
            self.consume(count);
        }
        Ok(())
    }

    fn read_end(&mut self) -> Result<()> {
        let offset = self.offset;
        let mut block = [0; BLOCK_BYTES];
        self.read_whole(&mut block)?;
        check_zeros(&block, offset)?;
        loop {
            let offset = self.offset;
            let rest = self.fill()?;
            check_zeros(rest, offset)?;
            match rest.len() {
                0 => return Ok(()),
                count => self.consume(count),
            }
        }
    }

    fn fill(&mut self) -> Result<&[u8]> {
        loop {
            match self.inner.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(PLACE, self.offset, error)),
            }
        }
        // The buffer is not empty, so that this call returns it. A loop cannot return a borrow.
        self.inner.fill_buf().map_err(|error| Error::io(PLACE, self.offset, error))
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.offset = self.offset.saturating_add(count as u64);
    }
}

fn check_zeros(bytes: &[u8], offset: u64) -> Result<()> {
    match bytes.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => Err(Error::damaged(PLACE, offset.saturating_add(at as u64), "data after the end of the archive")),
    }
}

/// The data of a member.
pub(super) struct Data<'a, R> {
    archive: &'a mut Archive<R>,
    member: &'a Member,
    unread: u64,
}

impl<R: BufRead> Data<'_, R> {
    /// Calls `tap` with all unread data, in pieces that fit the processor's cache.
    pub(super) fn for_each(&mut self, tap: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.unread > 0 {
            let piece = self.piece()?;
            let piece = piece.get(..MOST_PIECE_BYTES).unwrap_or(piece);
            let count = piece.len();
            tap(piece)?;
            self.consume(count);
        }
        Ok(())
    }

    /// Reads the padding, which must be zeros.
    pub(super) fn finish(self) -> Result<()> {
        debug_assert_eq!(self.unread, 0, "all data was read");
        let used = (self.member.size_bytes % BLOCK_BYTES as u64) as usize;
        let mut padding = [0; BLOCK_BYTES];
        let padding = padding.get_mut(used..).filter(|_| used > 0).unwrap_or_default();
        self.archive.read_whole(padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Error::damaged(self.member.name(), self.member.size_bytes, "padding other than zeros"));
        }
        Ok(())
    }

    /// Returns the next piece of data, which is not empty.
    fn piece(&mut self) -> Result<&[u8]> {
        let read_bytes = self.member.size_bytes.saturating_sub(self.unread);
        let unread = usize::try_from(self.unread).unwrap_or(usize::MAX);
        let read = self.archive.fill()?;
        if read.is_empty() {
            let message = format!("the archive ends within the file, which has {} bytes", self.member.size_bytes);
            return Err(Error::damaged(self.member.name(), read_bytes, message));
        }
        let count = read.len().min(unread);
        Ok(read.get(..count).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.archive.consume(count);
        self.unread = self.unread.saturating_sub(count as u64);
    }
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.unread == 0 || out.is_empty() {
            return Ok(0);
        }
        let piece = self.piece()?;
        let count = piece.len().min(out.len());
        out.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
        self.consume(count);
        Ok(count)
    }
}

/// Parses a header. Links are damage: with a `tablespace_map`, servers write none.
fn member(block: &Block, offset: u64) -> Result<Member> {
    let member = Member::parse(block).map_err(|fault| match fault {
        Fault::Damaged(message) => Error::damaged(PLACE, offset, message),
        Fault::Unsupported(message) => Error::unsupported(PLACE, offset, message),
    })?;
    match member.kind {
        Kind::File | Kind::Directory => Ok(member),
        Kind::Link => Err(Error::damaged(member.name(), 0, "a symbolic link: neither a file nor a directory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, kind: u8, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(size);
        header.set_mode(0o600);
        header.set_cksum();
        header
    }

    fn members(bytes: &[u8]) -> Result<Vec<Member>> {
        let mut archive = Archive::new(bytes);
        let mut members = Vec::new();
        while let Some(member) = archive.next_member()? {
            let mut data = archive.data(&member);
            data.for_each(&mut |_| Ok(()))?;
            data.finish()?;
            members.push(member);
        }
        Ok(members)
    }

    #[test]
    fn archive_yields_members_and_ends() {
        let mut bytes = header("base/", b'5', 0).as_bytes().to_vec();
        bytes.extend_from_slice(header("./base/1", b'0', 3).as_bytes());
        bytes.extend_from_slice(b"abc");
        bytes.resize(3 * 512, 0);
        bytes.resize(5 * 512, 0);
        let read = members(&bytes).unwrap();
        let summary: Vec<_> = read.iter().map(|member| (member.name(), member.kind, member.size_bytes)).collect();
        assert_eq!(summary, [("base".to_owned(), Kind::Directory, 0), ("base/1".to_owned(), Kind::File, 3)]);
        for end in 0..bytes.len() {
            assert_eq!(members(&bytes[..end]).unwrap_err().kind, crate::ErrorKind::Damaged, "cut at {end}");
        }
        bytes.resize(20 * 512, 0);
        assert_eq!(members(&bytes).unwrap().len(), 2);
        *bytes.last_mut().unwrap() = 1;
        assert!(members(&bytes).unwrap_err().message.contains("data after the end"));
    }

    #[test]
    fn archive_refuses_links_and_devices() {
        for kind in [b'1', b'2', b'3', b'4', b'6', b'7', b'x', b'g', b'L', b'K', b'S'] {
            let mut bytes = header("base/1", kind, 0).as_bytes().to_vec();
            bytes.resize(3 * 512, 0);
            let error = members(&bytes).unwrap_err();
            assert!(error.message.contains("neither a file"), "{error}");
        }
    }

    #[test]
    fn archive_refuses_paths_outside_the_directory() {
        for path in ["/etc/passwd", "../x", "base/../../x", "base//1", "././x", "."] {
            let mut bytes = header(path, b'0', 0).as_bytes().to_vec();
            bytes.resize(3 * 512, 0);
            assert!(members(&bytes).is_err(), "{path}");
        }
    }
}
