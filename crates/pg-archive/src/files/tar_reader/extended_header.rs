//! Extended headers before a member's own header: GNU tar's long names, and pax headers.

use std::io::{BufRead, Read};

use tar::{Header, PaxExtensions};

use crate::error::Result;
use crate::files::tar_reader::{REPACK_HINT, TarReader};

/// The maximum size of an extended header. It contains names, times and owners, which are short.
const MAX_BYTES: u64 = 64 * 1024;

/// The fields of the next member from extended headers.
#[derive(Default)]
pub(super) struct ExtendedHeader {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

/// The members that a pax header applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PaxScope {
    Next,
    Global,
}

impl<R: BufRead> TarReader<R> {
    /// Reads the name of the next member, which ends with a zero byte.
    pub(super) fn long_name(&mut self) -> Result<()> {
        let mut path = self.read_content("long name")?;
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        self.extended_header.path = Some(path);
        Ok(())
    }

    /// Reads a pax header. Times, owners and comments are ignored.
    pub(super) fn pax(&mut self, scope: PaxScope) -> Result<()> {
        let content = self.read_content("pax header")?;
        for extension in PaxExtensions::new(&content) {
            let Ok(extension) = extension else { return Err(self.damaged("is not a pax header")) };
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            match key {
                b"path" if scope == PaxScope::Next => self.extended_header.path = Some(value.to_vec()),
                b"size" if scope == PaxScope::Next => match std::str::from_utf8(value).map(str::parse) {
                    Ok(Ok(size)) => self.extended_header.size = Some(size),
                    _ => return Err(self.damaged("contains a size that is not a number")),
                },
                b"path" | b"size" => return Err(self.unsupported_key(key)),
                _ if key.starts_with(b"GNU.sparse.") => return Err(self.unsupported_key(key)),
                _ => {}
            }
        }
        Ok(())
    }

    fn unsupported_key(&self, key: &[u8]) -> crate::Error {
        self.unsupported(format!("contains {}, which is not supported; {REPACK_HINT}", key.escape_ascii()))
    }

    /// Reads all of the content.
    fn read_content(&mut self, kind: &str) -> Result<Vec<u8>> {
        if self.remaining > MAX_BYTES {
            return Err(self.unsupported(format!("{} bytes, more than any {kind} has", self.remaining)));
        }
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(|error| self.read_failed(error))?;
        Ok(content)
    }

    /// Returns the path of the member that begins with `header`, after all extended headers were
    /// read.
    pub(super) fn path(&mut self, header: &Header) -> Vec<u8> {
        let ExtendedHeader { path, size } = std::mem::take(&mut self.extended_header);
        if let Some(size) = size {
            self.set_size(size);
        }
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        self.place = format!("file \"{}\"", path.escape_ascii());
        path
    }
}
