//! Recognition of files that are not dumps by their first bytes, with a command that unpacks them.

use longshore_core::{Error, Kind, Stage};

/// Returns the error for a file that begins with `head`, if another program packed it.
pub(crate) fn foreign_format_error(head: &[u8], name: &str) -> Option<Error> {
    let refused =
        |message: String, hint: String| Some(Error::new(Stage::Verify, Kind::Usage, name, message).hint(hint));
    if let [b'P', b'G', b'D', b'M', b'P', _, _, _, _, _, 3, ..] = head {
        let message = "a toc.dat: the table of contents of a directory dump, without the data files";
        return refused(message.to_owned(), "give the folder that contains it".to_owned());
    }
    let Some((format, command)) = unpack_command(head) else {
        let bytes = preceding_bytes(head)?;
        let message = format!("{bytes} bytes precede the dump, such as a warning written into the file");
        return refused(message, format!("remove them: tail -c +{} FILE | longshore inspect -", bytes + 1));
    };
    refused(
        format!("{format}, which inspect does not unpack"),
        format!("unpack it first: {command} | longshore inspect -"),
    )
}

/// Returns the number of bytes that precede an archive or a script, if any.
fn preceding_bytes(head: &[u8]) -> Option<usize> {
    const BEGINNINGS: [&[u8]; 3] =
        [b"PGDMP\x01", b"--\n-- PostgreSQL database dump\n", b"--\n-- PostgreSQL database cluster dump\n"];
    // Another error reports a byte order mark.
    if head.starts_with(&[0xef, 0xbb, 0xbf]) {
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
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("compressed with xz", "xz -dc FILE"),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => ("compressed with bzip2", "bzip2 -dc FILE"),
        [0x89, b'L', b'Z', b'O', 0, ..] => ("compressed with lzop", "lzop -dc FILE"),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("compressed with LZ4, in its old format", "lz4 -dc FILE"),
        [b'P', b'K', 3, 4, ..] => ("a zip archive", "unzip -p FILE"),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => ("a 7z archive", "7z x -so FILE"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_formats_are_named_with_unpack_command() {
        for (head, format, hint) in [
            (&b"\xfd7zXZ\0\0\x04"[..], "xz", "xz -dc FILE | longshore inspect -"),
            (b"BZh91AY&SY", "bzip2", "bzip2 -dc"),
            (b"\x89LZO\0\r\n\x1a\n", "lzop", "lzop -dc"),
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
            let error = foreign_format_error(head, "x").unwrap();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(format) && error.remedy().unwrap().contains(hint), "{error}");
        }
    }

    #[test]
    fn counts_bytes_before_a_dump() {
        for (head, bytes) in [
            (&b"pg_dump: warning: x\n--\n-- PostgreSQL database dump\n--\n"[..], 20),
            (b"Unable to use a TTY\r\nPGDMP\x01\x0e", 21),
        ] {
            let error = foreign_format_error(head, "x").unwrap();
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
            b"\xef\xbb\xbf--\n-- PostgreSQL database dump\n",
            "Ä.sql".as_bytes(),
        ] {
            assert!(foreign_format_error(head, "x").is_none(), "{head:?}");
        }
    }
}
