//! Conversions of a dump by an editor, a shell or a terminal that treats the dump as text.

use crate::error::Error;

/// The number of bytes that suffice to detect a conversion.
pub const HEAD_BYTES: usize = 8;

/// A conversion of a dump's bytes after pg_dump wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// UTF-16, as PowerShell's `>` writes it.
    Utf16,
    /// UTF-32.
    Utf32,
    /// A byte order mark of UTF-8 before the first byte.
    ByteOrderMark,
    /// A carriage return before each line feed, or in its place.
    CarriageReturns,
}

impl Conversion {
    /// Returns the conversion that the first bytes show.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(Self::Utf32),
            [b'-', 0, 0, 0, ..] | [0, 0, 0, b'-', ..] => Some(Self::Utf32),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(Self::Utf16),
            [b'-', 0, ..] | [0, b'-', ..] => Some(Self::Utf16),
            [b'P', 0, b'G', 0, ..] | [0, b'P', 0, b'G', ..] => Some(Self::Utf16),
            [0xef, 0xbb, 0xbf, ..] => Some(Self::ByteOrderMark),
            [b'-', b'-', b'\r', ..] | [b'\r', ..] => Some(Self::CarriageReturns),
            _ => None,
        }
    }

    /// Returns the description of the damage, as part of a sentence.
    pub fn message(self) -> &'static str {
        match self {
            Self::Utf16 => {
                "encoded as UTF-16, as PowerShell's > writes it, where a dump has the bytes that pg_dump wrote"
            }
            Self::Utf32 => "encoded as UTF-32, where a dump has the bytes that pg_dump wrote",
            Self::ByteOrderMark => "a byte order mark (BOM) precedes the dump, as some editors and shells put it there",
            Self::CarriageReturns => {
                "lines end with a carriage return (CRLF), as a terminal or Windows writes them, where pg_dump writes a \
                 line feed alone: function bodies and comments have changed, too"
            }
        }
    }

    /// Returns the remedy.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Utf16 => {
                "dump again with `pg_dump --file`; or convert a script back: \
                 iconv -f UTF-16 -t UTF-8 FILE | sed 's/\\r$//' > SCRIPT (an archive cannot be converted back)"
            }
            Self::Utf32 => {
                "dump again with `pg_dump --file`; or convert a script back: \
                 iconv -f UTF-32 -t UTF-8 FILE > SCRIPT (an archive cannot be converted back)"
            }
            Self::ByteOrderMark => "remove it: tail -c +4 FILE > SCRIPT",
            Self::CarriageReturns => {
                "dump again without a terminal (`docker exec` without -t) or with `pg_dump --file`; or convert the \
                 script back: sed 's/\\r$//' FILE > SCRIPT"
            }
        }
    }

    /// Returns the error of a dump whose bytes show this conversion at `offset`.
    pub(crate) fn error(self, offset: u64) -> Error {
        Error::unsupported(offset, "text of the dump", self.message()).remedy(self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use crate::ErrorKind;

    const SCRIPT: &str =
        "--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n\n--\n-- PostgreSQL database dump complete\n--\n\n";

    fn read(bytes: &[u8]) -> Error {
        // The result does not depend on the sizes of the pieces, down to single bytes.
        let error = crate::read(BufReader::with_capacity(1, bytes), &mut |_| ()).unwrap_err();
        let whole = crate::read(bytes, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), whole.to_string());
        error
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn error_names_conversion_and_remedy() {
        let windows = SCRIPT.replace('\n', "\r\n");
        for (bytes, conversion) in [
            (windows.clone().into_bytes(), Conversion::CarriageReturns),
            (SCRIPT.replace('\n', "\r").into_bytes(), Conversion::CarriageReturns),
            ([b"\xef\xbb\xbf", SCRIPT.as_bytes()].concat(), Conversion::ByteOrderMark),
            ([b"\xff\xfe".to_vec(), utf16(&windows, u16::to_le_bytes)].concat(), Conversion::Utf16),
            ([b"\xfe\xff".to_vec(), utf16(&windows, u16::to_be_bytes)].concat(), Conversion::Utf16),
            (utf16(SCRIPT, u16::to_le_bytes), Conversion::Utf16),
            (utf16(SCRIPT, u16::to_be_bytes), Conversion::Utf16),
            (utf16("PGDMP\u{1}\u{e}", u16::to_le_bytes), Conversion::Utf16),
            // Truncated within a character.
            (b"\xff\xfe-\0-".to_vec(), Conversion::Utf16),
            (b"\xff\xfe\0\0-\0\0\0".to_vec(), Conversion::Utf32),
        ] {
            let error = read(&bytes);
            assert_eq!(error.kind, ErrorKind::Unsupported, "{conversion:?}: {error}");
            assert_eq!(
                (error.message.as_str(), error.remedy.as_deref()),
                (conversion.message(), Some(conversion.remedy()))
            );
        }
    }

    #[test]
    fn accepts_unconverted_dump() {
        crate::read(SCRIPT.as_bytes(), &mut |_| ()).unwrap();
        for head in [&b""[..], b"-", b"--", b"--\n", b"PGDMP\x01", b"toc.dat\0", b"./\0\0\0", &[0; 8]] {
            assert_eq!(Conversion::of(head), None, "{head:?}");
        }
    }

    #[test]
    fn detects_single_changed_line_end() {
        for (from, to) in [
            ("--\n\nSELECT", "--\n\r\nSELECT"),
            ("--\n\nSELECT", "--\r\n\nSELECT"),
            ("SELECT 1;\n", "SELECT 1;\r\n"),
            ("complete\n", "complete\r\n"),
            ("complete\n--\n", "complete\n--\r\n"),
            ("SELECT 1;\n", "COPY t (a) FROM stdin;\r\n1\r\n\\.\r\n"),
            ("SELECT 1;\n", "COPY t (a) FROM stdin;\n1\r\n\\.\r\n"),
            ("SELECT 1;\n", "COPY t (a) FROM stdin;\n1\n\\.\r\n"),
        ] {
            let script = SCRIPT.replacen(from, to, 1);
            assert_ne!(script, SCRIPT, "{from}");
            let error = read(script.as_bytes());
            assert_eq!(error.message, Conversion::CarriageReturns.message(), "{to:?}: {error}");
            assert_eq!(script.as_bytes()[error.offset as usize], b'\r', "{to:?}: {error}");
        }
        // Within quotes, the line end is part of a value.
        let value = SCRIPT.replace("SELECT 1", "SELECT 'a\r\nb', $$\r\n$$");
        crate::read(value.as_bytes(), &mut |_| ()).unwrap();
    }
}
