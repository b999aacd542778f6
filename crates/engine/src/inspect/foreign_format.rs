//! Recognition of files that are not dumps by their first bytes, with a command that unpacks them.

use longshore_core::manifest::Format;
use longshore_core::{Error, Kind, Stage};

/// The command that reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `inspect`, which reads any file.
    Inspect,
    /// `adopt take`, which reads the files that an adopt claims.
    Take,
}

impl Reader {
    fn verb(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Take => "adopt take",
        }
    }

    /// Returns the end of a command line whose output the reader reads.
    fn pipeline_end(self) -> &'static str {
        match self {
            Self::Inspect => " | longshore inspect -",
            Self::Take => " > NEW, a file beside it whose name an adopt claims",
        }
    }
}

/// Returns the error for a file that begins with `head`, if another program packed it.
pub(crate) fn foreign_format_error(head: &[u8], name: &str, reader: Reader) -> Option<Error> {
    let refused =
        |message: String, hint: String| Some(Error::new(Stage::Verify, Kind::Usage, name, message).hint(hint));
    let end = reader.pipeline_end();
    if let [b'P', b'G', b'D', b'M', b'P', _, _, _, _, _, 3, ..] = head {
        let message = "a toc.dat: the table of contents of a directory dump, without the data files";
        return refused(message.to_owned(), "give the folder that contains it".to_owned());
    }
    let Some((format, command)) = unpack_command(head) else {
        let bytes = preceding_bytes(head)?;
        let message = format!("{bytes} bytes precede the dump, such as a warning written into the file");
        return refused(message, format!("remove them: tail -c +{} FILE{end}", bytes + 1));
    };
    refused(format!("{format}, which {} does not unpack", reader.verb()), format!("unpack it first: {command}{end}"))
}

/// Returns the error of `adopt take` for a file that begins with `head` and that is not a dump, or
/// the error itself if it has another reason.
pub(crate) fn explain_no_dump(error: Error, head: &[u8]) -> Error {
    let is_unknown = error.stage() == Stage::Verify && error.kind() == Kind::Usage;
    match head {
        [] => error.hint("remove the empty file by hand, or leave it to the policy of the adopt"),
        // An archive of a newer version of PostgreSQL has another hint.
        [b'P', b'G', b'D', b'M', b'P', ..] => error,
        _ if is_unknown => error.hint(
            "only dumps of pg_dump and pg_dumpall become backups: leave the file to the policy of the adopt, or remove it by hand",
        ),
        _ => error,
    }
}

/// Returns the number of bytes that precede an archive or a script, if any.
fn preceding_bytes(head: &[u8]) -> Option<usize> {
    const BEGINNINGS: [&[u8]; 3] =
        [b"PGDMP\x01", b"--\n-- PostgreSQL database dump\n", b"--\n-- PostgreSQL database cluster dump\n"];
    // Another error reports a byte order mark. In a tar, the header of toc.dat precedes an archive.
    if head.starts_with(&[0xef, 0xbb, 0xbf]) || matches!(Format::detect(head), Format::Tar | Format::Directory) {
        return None;
    }
    let find = |beginning: &[u8]| head.windows(beginning.len()).position(|window| window == beginning);
    BEGINNINGS.into_iter().filter_map(find).min().filter(|bytes| *bytes > 0)
}

/// Returns true if a terminal changed the archive: every line feed follows a carriage return.
pub(super) fn is_changed_by_terminal(head: &[u8]) -> bool {
    let is_changed = |at: usize| at > 0 && head[at - 1] == b'\r';
    let mut feeds = head.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).peekable();
    head.starts_with(b"PGDMP") && feeds.peek().is_some() && feeds.all(is_changed)
}

/// The remedy for an archive that a terminal changed.
pub(super) const TERMINAL_HINT: &str = "a terminal inserted a carriage return before each line feed, which destroys an archive: \
                                   dump again without a terminal (`docker exec` without -t), or with `pg_dump --file`";

/// Returns the format of a foreign file, and the command that unpacks it.
fn unpack_command(head: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match head {
        [0x89, b'L', b'Z', b'O', 0, ..] => ("compressed with lzop", "lzop -dc FILE"),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("compressed with LZ4, in its old format", "lz4 -dc FILE"),
        [b'P', b'K', 3, 4, ..] => ("a zip archive", "unzip -p FILE"),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => ("a 7z archive", "7z x -so FILE"),
        _ if is_enveloped(head) => {
            ("encrypted with S/MIME", "openssl smime -decrypt -binary -inform DER -inkey KEY -in FILE")
        }
        _ if is_pgp(head) => ("encrypted with OpenPGP", "gpg --decrypt FILE"),
        _ => return None,
    })
}

/// Returns true if an OpenPGP message begins, in ASCII armor or with a session key packet: for a
/// recipient, of version 3, or for a passphrase, of version 4 or later.
fn is_pgp(head: &[u8]) -> bool {
    head.starts_with(b"-----BEGIN PGP MESSAGE-----")
        || matches!(head, [0x84 | 0xc1, _, 3, ..] | [0x85, _, _, 3, ..] | [0xc1, 0xc0..=0xdf, _, 3, ..])
        || matches!(head, [0x8c | 0xc3, _, 4..=6, ..])
}

/// Returns true if a CMS message with enveloped data begins, as `openssl smime -encrypt` writes it.
fn is_enveloped(head: &[u8]) -> bool {
    const ENVELOPED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
    // The length of the sequence before the type has at most five bytes.
    matches!(head, [0x30, 0x80..=0x84, ..]) && (2..=6).any(|at| head[at.min(head.len())..].starts_with(ENVELOPED_DATA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_formats_are_named_with_unpack_command() {
        for (head, format, hint) in [
            (&b"\x89LZO\0\r\n\x1a\n"[..], "lzop", "lzop -dc FILE | longshore inspect -"),
            (b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0", "S/MIME", "openssl smime"),
            (b"\x30\x82\x01\x02\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "S/MIME", "openssl smime"),
            (b"\x02\x21\x4c\x18", "LZ4", "lz4 -dc"),
            (b"PK\x03\x04\x14", "zip", "unzip -p"),
            (b"PK\x03\x04\x14 stored as it is: PGDMP\x01", "zip", "unzip -p"),
            (b"7z\xbc\xaf\x27\x1c\0", "7z", "7z x -so"),
            (b"-----BEGIN PGP MESSAGE-----\n", "OpenPGP", "gpg --decrypt"),
            (b"\x85\x01\x0c\x03", "OpenPGP", "gpg --decrypt"),
            (b"\x84\x5e\x03", "OpenPGP", "gpg --decrypt"),
            (b"\xc1\xc1\x4c\x03", "OpenPGP", "gpg --decrypt"),
            (b"\x8c\x0d\x04\x09", "OpenPGP", "gpg --decrypt"),
            (b"PGDMP\x01\x0e\0\x04\x08\x03", "toc.dat", "give the folder"),
        ] {
            let error = foreign_format_error(head, "x", Reader::Inspect).unwrap();
            assert_eq!(error.kind(), Kind::Usage);
            let taken = foreign_format_error(head, "x", Reader::Take).unwrap();
            assert!(!format!("{taken} {:?}", taken.remedy()).contains("inspect"), "{taken:?}");
            assert!(error.to_string().contains(format) && error.remedy().unwrap().contains(hint), "{error}");
        }
    }

    #[test]
    fn counts_bytes_before_a_dump() {
        for (head, bytes) in [
            (&b"pg_dump: warning: x\n--\n-- PostgreSQL database dump\n--\n"[..], 20),
            (b"Unable to use a TTY\r\nPGDMP\x01\x0e", 21),
        ] {
            let error = foreign_format_error(head, "x", Reader::Inspect).unwrap();
            assert!(error.to_string().contains(&format!("{bytes} bytes precede the dump")), "{error}");
            assert!(error.remedy().unwrap().contains(&format!("tail -c +{} FILE", bytes + 1)));
        }
    }

    #[test]
    fn recognizes_archive_changed_by_terminal() {
        assert!(is_changed_by_terminal(b"PGDMP\x01\x0eSET client_encoding = 'UTF8';\r\n"));
        for head in [&b"PGDMP\x01\x0e"[..], b"PGDMP;\n", b"PGDMP;\r\n;\n", b"--\r\n"] {
            assert!(!is_changed_by_terminal(head), "{head:?}");
        }
    }

    #[test]
    fn possible_dumps_are_not_rejected() {
        for head in [
            &b""[..],
            b"PGDMP\x01\x0e\0\x04\x08\x01",
            b"PGDMP",
            b"--\n-- PostgreSQL database dump\n",
            b"toc.dat\0",
            b"BZh/toc.dat\0",
            b"PK/toc.dat\0",
            b"0\x80",
            b"\xef\xbb\xbf--\n-- PostgreSQL database dump\n",
            "Ä.sql".as_bytes(),
        ] {
            assert!(foreign_format_error(head, "x", Reader::Inspect).is_none(), "{head:?}");
        }
    }
}
