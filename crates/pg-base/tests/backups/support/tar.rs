//! Tar archives in the server's form.

/// A member of an archive: the path of a directory ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

impl Member {
    pub(crate) fn file(path: &str, content: &[u8]) -> Self {
        Self { path: path.to_owned(), content: content.to_owned() }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// Returns the header and the padded content.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let kind = if self.is_directory() { b'5' } else { b'0' };
        let mut bytes = header(&self.path, kind, self.content.len() as u64).to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// Returns a header as `tarCreateHeader` of `src/port/tar.c` writes it, with a prefix field for
/// paths in tablespaces.
pub(crate) fn header(path: &str, kind: u8, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut set = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    match path.strip_prefix("pg_tblspc/").and_then(|path| path.split_once('/')) {
        Some((oid, name)) if !name.is_empty() => {
            set(0, name.as_bytes());
            set(345, format!("pg_tblspc/{oid}").as_bytes());
        }
        _ => set(0, path.as_bytes()),
    }
    set(100, if kind == b'5' { b"0000700 " } else { b"0000600 " });
    set(108, b"0000145 0000145 ");
    set(124, format!("{size:011o} ").as_bytes());
    set(136, b"15112345670 ");
    set(156, &[kind]);
    set(257, b"ustar\x0000postgres");
    set(297, b"postgres");
    set(329, b"0000000 0000000 ");
    set(148, b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o} ").as_bytes());
    header
}

/// Returns an archive of members, with its end.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Reads an archive with the crate `tar`.
pub(crate) fn members(bytes: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        Member { path, content }
    });
    entries.collect()
}
