//! The tars of base backups, read once from the beginning to the end.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Read};

use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::ioctl_ficlone;

use crate::member::Member;

/// The size of the blocks of a tar.
const BLOCK_BYTES: usize = 512;

/// The size of pieces in which files are copied.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// Reads a tar, and calls `visit` with each member and its content. Fails if anything but zeros
/// follows the tar.
pub(crate) fn read(reader: &mut impl Read, mut visit: impl FnMut(&Member, Content<'_>) -> Result<()>) -> Result<()> {
    let mut tars = Tars::new(reader);
    tars.read_next(&mut visit)?;
    tars.finish()
}

/// A function that is called with each member and its content.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&Member, Content<'_>) -> Result<()>;

/// The members of one backup, or of several that follow each other.
pub(crate) trait Members {
    /// The files that complete a backup: without one of them, no server could start the copy
    /// correctly, or no program could check it.
    const REQUIRED: &'static [&'static str];

    /// Reads the next backup.
    fn read_next(&mut self, visit: Visit<'_>) -> Result<()>;

    /// Fails unless all backups were read.
    fn finish(self) -> Result<()>;
}

/// Tars that follow each other without a separator.
pub(crate) struct Tars<'a, R> {
    reader: &'a mut R,
    buffer: Vec<u8>,
    /// The first block of the next tar, if it was read to skip zeros.
    next: Option<[u8; BLOCK_BYTES]>,
}

impl<'a, R: Read> Tars<'a, R> {
    /// Returns the tars of a reader.
    pub(crate) fn new(reader: &'a mut R) -> Self {
        Self { reader, buffer: vec![0; PIECE_BYTES], next: None }
    }

    /// Reads zeros up to the next tar.
    fn skip_zeros(&mut self) -> Result<()> {
        let mut block = [0; BLOCK_BYTES];
        while self.next.is_none() {
            let mut filled = 0;
            while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.reader.read(rest).map_err(|error| read_error("tar", error))? {
                    0 => break,
                    read => filled += read,
                }
            }
            if filled == 0 {
                return Ok(());
            }
            let part = block.get_mut(filled..).unwrap_or_default();
            part.fill(0);
            self.next = (block != [0; BLOCK_BYTES]).then_some(block);
        }
        Ok(())
    }
}

impl<R: Read> Members for Tars<'_, R> {
    const REQUIRED: &'static [&'static str] = &["backup_label", "backup_manifest"];

    fn read_next(&mut self, visit: Visit<'_>) -> Result<()> {
        let start = self.next.take();
        let mut reader = start.as_ref().map_or(&[][..], |block| &block[..]).chain(&mut *self.reader);
        let mut archive = tar::Archive::new(&mut reader);
        // Raw entries: servers write no extensions such as long names.
        let entries = archive.entries().map_err(|error| read_error("tar", error))?.raw(true);
        for entry in entries {
            let mut entry = entry.map_err(|error| read_error("tar", error))?;
            let member = Member::parse(entry.header())?;
            visit(&member, Content::new(&member, &mut entry, &mut self.buffer))?;
        }
        self.skip_zeros()
    }

    fn finish(self) -> Result<()> {
        match self.next {
            None => Ok(()),
            Some(_) => Err(Error::new(Stage::Restore, Kind::Corrupt, "tar", "data after the end of the tar")),
        }
    }
}

/// The content of a member.
pub(crate) struct Content<'a> {
    member: &'a Member,
    reader: &'a mut dyn Read,
    buffer: &'a mut [u8],
    /// The file that has the content, and nothing else.
    file: Option<&'a File>,
}

impl<'a> Content<'a> {
    /// Returns the content of a member. Pieces are read into `buffer`.
    pub(crate) fn new(member: &'a Member, reader: &'a mut dyn Read, buffer: &'a mut [u8]) -> Self {
        Self { member, reader, buffer, file: None }
    }

    /// Returns the content with the file that has it.
    pub(crate) fn of_file(self, file: &'a File) -> Self {
        Self { file: Some(file), ..self }
    }

    /// Lets an empty file share the blocks of the file that has the content. Returns false if the
    /// file system cannot, or if no file has the content.
    pub(crate) fn share_blocks(&self, target: &File) -> bool {
        self.file.is_some_and(|file| ioctl_ficlone(target, file).is_ok())
    }

    /// Passes the content to `write` in pieces. Fails if the tar ends before the content.
    pub(crate) fn copy(self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let subject = || self.member.path.display().to_string();
        let mut missing_bytes = self.member.bytes;
        loop {
            let read = self.reader.read(self.buffer).map_err(|error| read_error(&subject(), error))?;
            let Some(piece) = self.buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            write(piece)?;
            missing_bytes = missing_bytes.saturating_sub(piece.len() as u64);
        }
        if missing_bytes > 0 {
            let message = format!("truncated: the last {missing_bytes} of {} bytes are missing", self.member.bytes);
            return Err(Error::new(Stage::Restore, Kind::Corrupt, subject(), message));
        }
        Ok(())
    }

    /// Returns the content of a small file.
    pub(crate) fn collect(self, most_bytes: u64) -> Result<Vec<u8>> {
        if self.member.bytes > most_bytes {
            let message = format!("{} bytes, but such a file has at most {most_bytes}", self.member.bytes);
            return Err(Error::new(Stage::Restore, Kind::Corrupt, self.member.path.display().to_string(), message));
        }
        let mut content = Vec::new();
        self.copy(|piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }
}

/// Returns the input's own error, or the error of an invalid tar.
fn read_error(subject: &str, error: io::Error) -> Error {
    if let Some(input) = Error::carried_by(&error) {
        return input.clone();
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(input) = cause.downcast_ref::<io::Error>().and_then(Error::carried_by) {
            return input.clone();
        }
        source = cause.source();
    }
    Error::new(Stage::Restore, Kind::Corrupt, subject, "not a whole tar of a base backup").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Tar, two_files};

    fn paths(mut bytes: &[u8]) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        read(&mut bytes, |member, content| {
            paths.push(member.path.display().to_string());
            content.copy(|_| Ok(()))
        })?;
        Ok(paths)
    }

    #[test]
    fn truncated_tars_are_corrupt() {
        let whole = two_files();
        assert_eq!(paths(&whole).unwrap(), ["PG_VERSION", "base/1"]);
        // Within the first header, the first content, its padding, and the second header.
        for length in [100, 513, 600, 1100] {
            assert_eq!(paths(&whole[..length]).unwrap_err().kind(), Kind::Corrupt, "{length}");
        }
    }

    #[test]
    fn data_after_the_tar_is_corrupt() {
        let mut bytes = two_files();
        bytes.extend([0; 5000]);
        paths(&bytes).unwrap();
        bytes.extend(b"x");
        assert!(paths(&bytes).unwrap_err().to_string().contains("data after the end"));
    }

    #[test]
    fn tars_may_follow_each_other() {
        let mut bytes = two_files();
        bytes.extend([0; 5000 / BLOCK_BYTES * BLOCK_BYTES]);
        bytes.extend(Tar::new().file("global/1", &[3; 5]).finish());
        let (mut reader, mut paths) = (&bytes[..], Vec::new());
        let mut tars = Tars::new(&mut reader);
        for count in [2, 3] {
            tars.read_next(&mut |member: &Member, content: Content<'_>| {
                paths.push(member.path.display().to_string());
                content.copy(|_| Ok(()))
            })
            .unwrap();
            assert_eq!(paths.len(), count);
        }
        tars.finish().unwrap();
        assert_eq!(paths, ["PG_VERSION", "base/1", "global/1"]);
    }

    #[test]
    fn small_files_have_a_limit() {
        let bytes = Tar::new().file("global/pg_control", &[7; 9]).finish();
        for (most_bytes, is_ok) in [(9, true), (8, false)] {
            let result = read(&mut &bytes[..], |_, content| content.collect(most_bytes).map(drop));
            assert_eq!(result.is_ok(), is_ok);
        }
    }

    #[test]
    fn error_of_the_input_is_kept() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::new(Stage::Decrypt, Kind::Denied, "x", "no identity").into())
            }
        }
        let whole = two_files();
        for length in [0, 100, 513, 600, whole.len()] {
            let error = read(&mut whole[..length].chain(Failing), |_, content| content.copy(|_| Ok(()))).unwrap_err();
            assert_eq!((error.stage(), error.kind()), (Stage::Decrypt, Kind::Denied), "{length}");
        }
    }
}
