//! The keys and the temporary files in a directory.

use chrono::DateTime;
use longshore_core::Result;
use longshore_core::key::Key;
use longshore_core::stage::{Entry, Leftover};
use longshore_core::temp_name::is_temp_name;

use super::script::Script;
use super::{Directory, Kind};

/// A file in a host's list.
pub(super) struct ListedFile {
    bytes: u64,
    /// The modification time, in seconds.
    mtime: f64,
    name: String,
}

impl ListedFile {
    /// Returns the file as an entry, if its name is a key.
    pub(super) fn entry(self) -> Option<Entry> {
        let modified = DateTime::from_timestamp(self.mtime as i64, 0);
        Some(Entry { key: Key::parse(&self.name).ok()?, bytes: self.bytes, modified })
    }

    /// Returns the file as a leftover, if its name is that of a temporary file.
    pub(super) fn leftover(self) -> Option<Leftover> {
        let since = DateTime::from_timestamp(self.mtime as i64, 0)?;
        is_temp_name(&self.name).then_some(Leftover { name: self.name, bytes: Some(self.bytes), since })
    }
}

/// Reads the host's list of files, or of those below the folder `under`. `kind` is `keys` or
/// `drafts`.
pub(super) async fn read(directory: &Directory, kind: &str, under: Option<&Key>) -> Result<Vec<ListedFile>> {
    let output = directory.run(Script::List, &[kind, under.map_or("", Key::as_str)]).await?;
    let mut files = Vec::new();
    for record in output.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let record = String::from_utf8_lossy(record);
        let mut fields = record.splitn(3, '\t');
        let file = (|| {
            let (bytes, mtime, name) = (fields.next()?, fields.next()?, fields.next()?);
            let name = under.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
            Some(ListedFile { bytes: bytes.parse().ok()?, mtime: mtime.parse().ok()?, name })
        })();
        let invalid = || directory.error(Kind::Failed, &format!("cannot parse a line of the host's list: {record:?}"));
        files.push(file.ok_or_else(invalid)?);
    }
    Ok(files)
}
