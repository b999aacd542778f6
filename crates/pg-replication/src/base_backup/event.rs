//! The parts of a base backup, as the server sends them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use bytes::{Buf, Bytes};

use crate::error::{Error, Result};

/// A part of a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A tar archive begins. The data that follow belong to it. Archives of tablespaces come first,
    /// `base.tar` comes last.
    Archive {
        /// The name, `base.tar` or `<oid of the tablespace>.tar`.
        name: String,
        /// The directory of the tablespace on the server, or `None` for `base.tar`.
        tablespace: Option<PathBuf>,
    },
    /// The manifest begins. The data that follow belong to it.
    Manifest,
    /// Data of the current archive or of the manifest, at most 1 MiB.
    Data(Bytes),
    /// The number of bytes of archives that the server has sent.
    Progress(u64),
}

/// Decodes a CopyData message.
pub(super) fn decode(mut message: Bytes) -> Result<Event> {
    match message.first().copied() {
        Some(b'd') => {
            message.advance(1);
            Ok(Event::Data(message))
        }
        Some(b'n') => archive(message.get(1..).unwrap_or_default()),
        Some(b'm') if message.len() == 1 => Ok(Event::Manifest),
        Some(b'p') => match <[u8; 8]>::try_from(message.get(1..).unwrap_or_default()) {
            Ok(bytes) => Ok(Event::Progress(u64::from_be_bytes(bytes))),
            Err(_) => Err(malformed("progress report")),
        },
        _ => Err(malformed("part of a backup")),
    }
}

/// Decodes a name and a path, each with a zero byte at the end.
fn archive(content: &[u8]) -> Result<Event> {
    let mut parts = content.split(|&byte| byte == 0);
    let (Some(name), Some(path), Some([]), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("beginning of an archive"));
    };
    let name = String::from_utf8(name.to_vec()).map_err(|_| malformed("name of an archive"))?;
    let tablespace = (!path.is_empty()).then(|| PathBuf::from(OsString::from_vec(path.to_vec())));
    Ok(Event::Archive { name, tablespace })
}

fn malformed(part: &str) -> Error {
    Error::protocol(super::SUBJECT, format!("a {part} cannot be decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded() {
        let decode = |message: &'static [u8]| decode(Bytes::from_static(message)).unwrap();
        assert_eq!(decode(b"nbase.tar\0\0"), Event::Archive { name: "base.tar".to_owned(), tablespace: None });
        let tablespace = Some(PathBuf::from("/srv/a"));
        assert_eq!(decode(b"n16385.tar\0/srv/a\0"), Event::Archive { name: "16385.tar".to_owned(), tablespace });
        assert_eq!(decode(b"m"), Event::Manifest);
        assert_eq!(decode(b"dabc"), Event::Data(Bytes::from_static(b"abc")));
        assert_eq!(decode(b"p\0\0\0\0\0\0\x01\0"), Event::Progress(256));
    }

    #[test]
    fn malformed_parts_are_rejected() {
        for message in
            [b"".as_slice(), b"x", b"n", b"nbase.tar", b"nbase.tar\0", b"na\0b\0c", b"n\xff\0\0", b"p\0", b"mx"]
        {
            assert!(decode(Bytes::from_static(message)).is_err(), "{message:?}");
        }
    }

    #[test]
    fn data_are_not_copied() {
        let message = Bytes::from(b"dabc".to_vec());
        let start = message.as_ptr();
        let Event::Data(data) = decode(message).unwrap() else { panic!("no data") };
        assert_eq!(data.as_ptr(), start.wrapping_add(1));
    }
}
