//! A restored file, written from its beginning to its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use longshore_core::plugin::ExistingFiles;

/// A writer of one file.
pub(crate) struct FileWriter {
    file: File,
    /// The number of bytes so far.
    bytes: u64,
    /// A buffer for existing content, with which the new content is compared.
    existing: Option<Vec<u8>>,
}

impl FileWriter {
    /// Returns a writer. If existing files are replaced, `file` may have content, and must be
    /// readable.
    pub(crate) fn new(file: File, existing: ExistingFiles) -> Self {
        Self { file, bytes: 0, existing: (existing == ExistingFiles::Replaced).then(Vec::new) }
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the next piece, unless the file has it.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if !self.has(piece)? {
            self.file.write_all_at(piece, self.bytes)?;
        }
        self.bytes += piece.len() as u64;
        Ok(())
    }

    fn has(&mut self, piece: &[u8]) -> io::Result<bool> {
        let Some(existing) = &mut self.existing else { return Ok(false) };
        existing.resize(piece.len(), 0);
        match self.file.read_exact_at(existing, self.bytes) {
            Ok(()) => Ok(existing == piece),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends the file after the last piece.
    pub(crate) fn finish(self) -> io::Result<()> {
        if self.existing.is_some() && self.file.metadata()?.len() != self.bytes {
            self.file.set_len(self.bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_content_is_replaced() {
        for before in ["", "abc", "abcdef", "abXdef", "abcdefghi", "XXXXXXXXX"] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(before.as_bytes(), 0).unwrap();
            let mut writer = FileWriter::new(file.try_clone().unwrap(), ExistingFiles::Replaced);
            for piece in ["ab", "cde", "f"] {
                writer.write(piece.as_bytes()).unwrap();
            }
            writer.finish().unwrap();
            let mut after = vec![0; file.metadata().unwrap().len() as usize];
            file.read_exact_at(&mut after, 0).unwrap();
            assert_eq!(after, b"abcdef", "{before}");
        }
    }

    #[test]
    fn equal_content_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        // A file that is open for reading only cannot be written.
        let write = |content: &str| {
            let mut writer = FileWriter::new(File::open(&path).unwrap(), ExistingFiles::Replaced);
            writer.write(content.as_bytes())?;
            writer.finish()
        };
        write("abc").unwrap();
        for other in ["abd", "ab", "abcd"] {
            write(other).unwrap_err();
        }
    }
}
