//! The headers of tar members, as servers write them.
//!
//! The format is that of `tarCreateHeader` (`src/port/tar.c`): ustar, names of at most 99 bytes,
//! sizes in octal or, from 8 GiB on, in base 256. Directories and links end in a slash.

use crate::manifest::path;

/// The size of headers, and the unit of data in an archive.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A header or a block of data.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// The facts of a header that passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The path below the archive's root, without `./` before it and without a slash at its end.
    pub(crate) path: Vec<u8>,
    /// The kind of the member.
    pub(crate) kind: Kind,
    /// The size of the data; 0 unless the member is a file.
    pub(crate) size_bytes: u64,
}

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// The reason why a header is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The header is damaged.
    Damaged(String),
    /// The header is intact, but no server writes such a one.
    Unsupported(String),
}

impl Member {
    /// Parses a header.
    pub(crate) fn parse(block: &Block) -> Result<Self, Fault> {
        let header = tar::Header::from_byte_slice(block);
        if stored_checksum(block) != Some(checksum(block)) {
            return Err(Fault::Damaged("header with a wrong checksum".to_owned()));
        }
        if header.as_ustar().is_none() {
            return Err(Fault::Unsupported("header of another format than ustar".to_owned()));
        }
        let path = header.path_bytes();
        let of_member = |fault: &str| format!("member `{}`: {fault}", String::from_utf8_lossy(&path));
        let kind = match header.entry_type().as_byte() {
            b'0' | 0 => Kind::File,
            b'5' => Kind::Directory,
            b'2' => Kind::Link,
            other => {
                let letter = char::from(other).escape_default();
                let fault = format!("type `{letter}`, neither a file, nor a directory, nor a symbolic link");
                return Err(Fault::Unsupported(of_member(&fault)));
            }
        };
        let named = path.strip_prefix(b"./").unwrap_or(&path);
        let named = if kind == Kind::File { named } else { named.strip_suffix(b"/").unwrap_or(named) };
        if let Some(fault) = path::fault(named) {
            return Err(Fault::Damaged(of_member(fault)));
        }
        let size_bytes = header.entry_size().map_err(|_| Fault::Damaged(of_member("the size is no number")))?;
        if kind != Kind::File && size_bytes != 0 {
            return Err(Fault::Damaged(of_member(&format!("{size_bytes} bytes, but not a file"))));
        }
        Ok(Self { path: named.to_owned(), kind, size_bytes })
    }

    /// Returns the size of the data and the zeros after it, up to a whole number of blocks. Returns
    /// `None` beyond 2^64 bytes.
    pub(crate) fn padded_bytes(&self) -> Option<u64> {
        self.size_bytes.checked_next_multiple_of(BLOCK_BYTES as u64)
    }
}

/// The attributes of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The permissions.
    pub mode: u32,
    /// The number of the owner.
    pub uid: u64,
    /// The number of the owner's group.
    pub gid: u64,
    /// The time of the last change, in seconds since 1970.
    pub modified: i64,
}

/// The most bytes of a name, and of the prefix before it, in a ustar header.
pub(crate) const NAME_BYTES: usize = 100;
pub(crate) const PREFIX_BYTES: usize = 155;

/// The owner and the group that servers write.
const OWNER: &str = "postgres";

/// Returns the header of a member. Returns `None` if the path does not fit.
pub(crate) fn encode(path: &[u8], kind: Kind, size_bytes: u64, attributes: Attributes) -> Option<Block> {
    let mut header = tar::Header::new_ustar();
    let path = if kind == Kind::Directory { [path, b"/"].concat() } else { path.to_vec() };
    let (prefix, name) = split(&path)?;
    write_name(&mut header, prefix, name);
    header.set_entry_type(match kind {
        Kind::File => tar::EntryType::Regular,
        Kind::Directory => tar::EntryType::Directory,
        Kind::Link => tar::EntryType::Symlink,
    });
    header.set_mode(attributes.mode);
    header.set_uid(attributes.uid);
    header.set_gid(attributes.gid);
    header.set_mtime(attributes.modified.try_into().unwrap_or_default());
    header.set_size(size_bytes);
    header.set_username(OWNER).ok()?;
    header.set_groupname(OWNER).ok()?;
    header.set_cksum();
    Some(*header.as_bytes())
}

/// Splits a path into a prefix and a name that fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME_BYTES {
        return Some((b"", path));
    }
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes
        .filter_map(|at| Some((path.get(..at)?, path.get(at + 1..)?)))
        .find(|(prefix, name)| prefix.len() <= PREFIX_BYTES && (1..=NAME_BYTES).contains(&name.len()))
}

/// Writes a name and a prefix that fit.
pub(crate) fn write_name(header: &mut tar::Header, prefix: &[u8], name: &[u8]) {
    fill(&mut header.as_old_mut().name, name);
    if let Some(ustar) = header.as_ustar_mut() {
        fill(&mut ustar.prefix, prefix);
    }
}

/// Writes `value`, and zeros after it.
fn fill(field: &mut [u8], value: &[u8]) {
    let padded = value.iter().copied().chain(std::iter::repeat(0));
    field.iter_mut().zip(padded).for_each(|(to, from)| *to = from);
}

/// Returns the sum of a header's bytes, with the checksum itself as blanks.
fn checksum(block: &Block) -> u32 {
    let summand = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
    block.iter().enumerate().map(summand).sum()
}

/// Parses the checksum: octal digits, then only blanks and zero bytes.
fn stored_checksum(block: &Block) -> Option<u32> {
    let field = block.get(148..156)?;
    let end = field.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(field.len());
    let (digits, rest) = field.split_at_checked(end)?;
    let number = digits.iter().fold(0, |number, digit| number << 3 | u32::from(digit - b'0'));
    (digits.len() >= 6 && rest.iter().all(|byte| matches!(byte, b' ' | 0))).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(path: &str, kind: u8, size: u64) -> Block {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(size);
        header.set_mode(0o600);
        header.set_cksum();
        *header.as_bytes()
    }

    fn fault(block: &Block) -> String {
        match Member::parse(block).unwrap_err() {
            Fault::Damaged(message) => format!("damaged: {message}"),
            Fault::Unsupported(message) => format!("unsupported: {message}"),
        }
    }

    #[test]
    fn parse_accepts_what_servers_write() {
        for (path, kind, size_bytes, expected) in [
            ("base/", b'5', 0, ("base", Kind::Directory)),
            ("./pg_wal/archive_status/", b'5', 0, ("pg_wal/archive_status", Kind::Directory)),
            ("base/1/1259", b'0', 1 << 30, ("base/1/1259", Kind::File)),
            ("base/1/1260", b'0', 9 << 30, ("base/1/1260", Kind::File)),
            ("pg_tblspc/16398/", b'2', 0, ("pg_tblspc/16398", Kind::Link)),
        ] {
            let member = Member::parse(&block(path, kind, size_bytes)).unwrap();
            assert_eq!((member.path.as_slice(), member.kind), (expected.0.as_bytes(), expected.1));
            assert_eq!(member.size_bytes, size_bytes);
        }
    }

    #[test]
    fn parse_refuses_paths_outside_the_directory() {
        for path in ["/etc/passwd", "../x", "base/../../x", "base//1", "././x", ".", "", "base/1/"] {
            assert!(fault(&block(path, b'0', 0)).starts_with("damaged: member"), "{path}");
        }
    }

    #[test]
    fn parse_refuses_other_kinds_and_formats() {
        for kind in [b'1', b'3', b'4', b'6', b'7', b'x', b'g', b'L', b'K', b'S'] {
            assert!(fault(&block("base/1", kind, 0)).starts_with("unsupported: member `base/1`: type"));
        }
        for kind in [b'2', b'5'] {
            assert!(fault(&block("base/1", kind, 1)).contains("1 bytes, but not a file"));
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_cksum();
        assert!(fault(header.as_bytes()).contains("another format than ustar"));
    }

    #[test]
    fn parse_finds_every_flipped_bit() {
        let good = block("base/1/1259", b'0', 8192);
        for place in 0..BLOCK_BYTES {
            for bit in 0..8 {
                let mut block = good;
                block[place] ^= 1 << bit;
                // A blank and a zero byte after the checksum mean the same.
                let same = Member::parse(&block).is_ok();
                assert_eq!(
                    same,
                    (154..156).contains(&place) && matches!(block[place], 0 | b' '),
                    "bit {bit} of {place}"
                );
            }
        }
    }

    #[test]
    fn padded_size_is_checked() {
        let member = |size_bytes| Member { path: Vec::new(), kind: Kind::File, size_bytes };
        assert_eq!([0, 1, 512, 513].map(|size| member(size).padded_bytes()), [0, 512, 512, 1024].map(Some));
        assert_eq!(member(u64::MAX).padded_bytes(), None);
    }
}
