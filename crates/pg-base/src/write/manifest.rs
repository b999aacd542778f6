//! The text of `backup_manifest`, in the form of `src/backend/backup/backup_manifest.c`. Its size
//! must be known before its first byte, so it is rendered twice instead of kept.

use bytes::Bytes;
use chrono::DateTime;
use sha2::{Digest, Sha256};

use crate::manifest::WalRange;

/// The size of pieces.
const PIECE_BYTES: usize = 64 << 10;

/// The length of the last line, the checksum.
const LAST_LINE_BYTES: usize = r#""Manifest-Checksum": ""#.len() + 64 + "\"}\n".len();

/// The origin of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The system identifier of the cluster, for the manifests of PostgreSQL 17 and later.
    pub system_identifier: Option<u64>,
}

/// A file in the manifest.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) path: Box<[u8]>,
    pub(super) size_bytes: u64,
    /// The time of the last change, in seconds since 1970.
    pub(super) modified: i64,
    pub(super) crc32c: u32,
}

/// A manifest whose pieces are rendered one after another.
#[derive(Debug)]
pub(super) struct Document {
    head: String,
    files: Vec<Listed>,
    tail: String,
    /// The number of files in the pieces so far.
    rendered: usize,
    state: State,
    sha256: Sha256,
}

/// The next piece of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Files,
    Tail,
    Ended,
}

impl Document {
    pub(super) fn new(files: Vec<Listed>, origin: Origin, ranges: &[WalRange]) -> Self {
        let head = match origin.system_identifier {
            Some(identifier) => format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {identifier},\n\"Files\": ["
            ),
            None => "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned(),
        };
        let ranges: Vec<String> = ranges
            .iter()
            .map(|WalRange { timeline, start, end }| {
                format!("{{ \"Timeline\": {timeline}, \"Start-LSN\": \"{start}\", \"End-LSN\": \"{end}\" }}")
            })
            .collect();
        let tail = format!("\n],\n\"WAL-Ranges\": [\n{}\n],\n", ranges.join(",\n"));
        Self { head, files, tail, rendered: 0, state: State::Head, sha256: Sha256::new() }
    }

    /// Returns the size of the text.
    pub(super) fn bytes(&self) -> u64 {
        let mut line = String::new();
        let mut bytes = (self.head.len() + self.tail.len() + LAST_LINE_BYTES) as u64;
        for (index, file) in self.files.iter().enumerate() {
            line.clear();
            push_entry(&mut line, index, file);
            bytes += line.len() as u64;
        }
        bytes
    }

    /// Returns the next piece; none after the last one.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        let mut piece = String::new();
        match self.state {
            State::Head => {
                piece.push_str(&self.head);
                self.state = State::Files;
            }
            State::Files => {
                while let Some(file) = self.files.get(self.rendered).filter(|_| piece.len() < PIECE_BYTES) {
                    push_entry(&mut piece, self.rendered, file);
                    self.rendered += 1;
                }
                if self.rendered == self.files.len() {
                    self.state = State::Tail;
                }
            }
            State::Tail => {
                self.sha256.update(&self.tail);
                let digest = std::mem::take(&mut self.sha256).finalize();
                let digits = hex(&digest);
                self.state = State::Ended;
                return Some(format!("{}\"Manifest-Checksum\": \"{digits}\"}}\n", self.tail).into());
            }
            State::Ended => return None,
        }
        self.sha256.update(&piece);
        Some(piece.into())
    }
}

/// Adds the entry of a file.
fn push_entry(text: &mut String, index: usize, file: &Listed) {
    let before = if index == 0 { "\n" } else { ",\n" };
    let path = match std::str::from_utf8(&file.path) {
        Ok(path) => format!("\"Path\": {}", serde_json::Value::from(path)),
        Err(_) => format!("\"Encoded-Path\": \"{}\"", hex(&file.path)),
    };
    let modified = DateTime::from_timestamp(file.modified, 0).unwrap_or_default().format("%Y-%m-%d %H:%M:%S GMT");
    let crc32c = hex(&file.crc32c.to_le_bytes());
    text.push_str(&format!(
        "{before}{{ {path}, \"Size\": {}, \"Last-Modified\": \"{modified}\", \"Checksum-Algorithm\": \"CRC32C\", \
         \"Checksum\": \"{crc32c}\" }}",
        file.size_bytes
    ));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
