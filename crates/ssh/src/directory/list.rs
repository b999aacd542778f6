//! The keys and the temporary files in a directory.

use chrono::DateTime;
use longshore_core::Result;
use longshore_core::draft::is_draft;
use longshore_core::key::Key;
use longshore_core::stage::{Entry, Leftover};

use super::errand::Script;
use super::{Directory, Kind};

/// A file in a host's list.
pub(super) struct Found {
    bytes: u64,
    /// The modification time, in seconds.
    time: f64,
    name: String,
}

impl Found {
    /// Returns the file as an entry, if its name is a key.
    pub(super) fn entry(self) -> Option<Entry> {
        Some(Entry { key: Key::parse(&self.name).ok()?, bytes: self.bytes })
    }

    /// Returns the file as a leftover, if its name is that of a temporary file.
    pub(super) fn leftover(self) -> Option<Leftover> {
        let since = DateTime::from_timestamp(self.time as i64, 0)?;
        is_draft(&self.name).then_some(Leftover { name: self.name, bytes: Some(self.bytes), since })
    }
}

/// Reads the host's list of files. `what` is `keys` or `drafts`.
pub(super) async fn read(directory: &Directory, what: &str) -> Result<Vec<Found>> {
    let told = directory.run(Script::List, &[what]).await?;
    let mut all = Vec::new();
    for record in told.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let record = String::from_utf8_lossy(record);
        let mut fields = record.splitn(3, '\t');
        let found = (|| {
            let (bytes, time, name) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Found { bytes: bytes.parse().ok()?, time: time.parse().ok()?, name: name.to_owned() })
        })();
        let odd = || directory.error(Kind::Failed, &format!("cannot parse a line of the host's list: {record:?}"));
        all.push(found.ok_or_else(odd)?);
    }
    Ok(all)
}
