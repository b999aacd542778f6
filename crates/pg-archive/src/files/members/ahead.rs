//! Extended headers before a member's own header: GNU tar's long names, and pax headers.

use std::io::{BufRead, Read};

use tar::{Header, PaxExtensions};

use crate::error::Result;
use crate::files::members::{Members, PACK_ANEW};

/// The maximum size of an extended header. It contains names, times and owners, which are short.
const MAX_BYTES: u64 = 64 * 1024;

/// The fields of the next member from extended headers.
#[derive(Default)]
pub(super) struct Ahead {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

/// The members that a pax header applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Next,
    AllThatFollow,
}

impl<R: BufRead> Members<R> {
    /// Reads the name of the next member, which ends with a zero byte.
    pub(super) fn long_name(&mut self) -> Result<()> {
        let mut path = self.short("long name")?;
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        self.ahead.path = Some(path);
        Ok(())
    }

    /// Reads a pax header. Times, owners and comments are ignored.
    pub(super) fn pax(&mut self, about: About) -> Result<()> {
        let content = self.short("pax header")?;
        for extension in PaxExtensions::new(&content) {
            let Ok(extension) = extension else { return Err(self.damaged("is not a pax header")) };
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            match key {
                b"path" if about == About::Next => self.ahead.path = Some(value.to_vec()),
                b"size" if about == About::Next => match std::str::from_utf8(value).map(str::parse) {
                    Ok(Ok(size)) => self.ahead.size = Some(size),
                    _ => return Err(self.damaged("contains a size that is not a number")),
                },
                b"path" | b"size" => return Err(self.not_known(key)),
                _ if key.starts_with(b"GNU.sparse.") => return Err(self.not_known(key)),
                _ => {}
            }
        }
        Ok(())
    }

    fn not_known(&self, key: &[u8]) -> crate::Error {
        self.unsupported(format!("contains {}, which is not supported; {PACK_ANEW}", key.escape_ascii()))
    }

    /// Reads all of the content.
    fn short(&mut self, what: &str) -> Result<Vec<u8>> {
        if self.left > MAX_BYTES {
            return Err(self.unsupported(format!("{} bytes, more than any {what} has", self.left)));
        }
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(|error| self.unread(error))?;
        Ok(content)
    }

    /// Returns the path of the member that begins with `header`, after all extended headers were
    /// read.
    pub(super) fn path(&mut self, header: &Header) -> Vec<u8> {
        let Ahead { path, size } = std::mem::take(&mut self.ahead);
        if let Some(size) = size {
            self.sized(size);
        }
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        self.place = format!("file \"{}\"", path.escape_ascii());
        path
    }
}
