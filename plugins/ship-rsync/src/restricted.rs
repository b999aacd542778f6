//! An account that `rrsync` restricts to rsync.
//!
//! No command publishes a file: rsync itself keeps partial files in a hidden folder, and renames a
//! complete one. rsync skips existing files, but if two hosts send the same name at once, the later
//! wins. A second call, which compares digests and transfers nothing, verifies the received file.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use longshore_core::key::Key;
use longshore_core::stage::Entry;
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result, Stage};

use crate::Destination;

/// The hidden folder of partial files, beside their destination.
const PARTIAL: &str = "--partial-dir=.longshore-parts";

impl Destination {
    /// Ships to a restricted account.
    pub(crate) async fn ship_restricted(&self, key: &Key, body: ByteStream) -> Result<()> {
        let spooled = self.spool.write(body).await?;
        // For writing and comparing, rrsync accepts the name of a folder, but not that of an
        // existing file.
        let (_folder, from) = self.spool.link_as(&spooled, key.file_name())?;
        let to = self.transfer.remote_path(&folder(key));
        let call = async |options: &[&str]| {
            let arguments = options.iter().map(OsStr::new).chain([OsStr::new("--"), from.as_os_str(), &to]);
            self.transfer.run(key.as_str(), &arguments.collect::<Vec<_>>()).await
        };
        let output =
            call(&["--ignore-existing", "--out-format=%n", "--mkpath", "--fsync", "--no-whole-file", PARTIAL]).await?;
        let skipped = output.stdout.trim().is_empty();
        let already_exists = || {
            let error = self.transfer.error(Kind::AlreadyExists, "already exists, and nothing is ever overwritten");
            error
                .about(self.subject(key))
                .hint("another run used the same time, or another host writes to the same directory: give each host its own path")
        };
        if skipped && output.attempts == 1 {
            return Err(already_exists());
        }
        let differs = call(&["--dry-run", "--checksum", "--out-format=%n"]).await?;
        match (differs.stdout.trim().is_empty(), skipped) {
            (true, _) => Ok(()),
            (false, true) => Err(already_exists()),
            (false, false) => {
                let error = self.transfer.error(
                    Kind::Corrupt,
                    "the received file differs from the sent one, and this account cannot remove it",
                );
                Err(error
                    .about(self.subject(key))
                    .hint("remove the file there manually, and check that host's disk and memory"))
            }
        }
    }

    /// Lists with rsync. A folder is chosen from the whole list, since rsync reports a missing
    /// folder as a failure.
    pub(crate) async fn list_restricted(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let from = self.transfer.remote_path("");
        let arguments = [
            OsStr::new("--recursive"),
            OsStr::new("--list-only"),
            OsStr::new("--no-human-readable"),
            OsStr::new("--"),
            &from,
        ];
        let stdout = self.transfer.run("", &arguments).await?.stdout;
        let is_under = |entry: &Entry| under.is_none_or(|folder| entry.key.is_below(folder));
        let mut entries: Vec<_> = stdout.lines().filter_map(entry).filter(is_under).collect();
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    /// Returns the size of a file, from a list of the file alone.
    pub(crate) async fn stat_restricted(&self, key: &Key) -> Result<Entry> {
        let file = self.transfer.remote_path(key.as_str());
        let arguments = ["--list-only", "--no-human-readable", "--"].map(OsStr::new);
        let arguments: Vec<_> = arguments.into_iter().chain([file.as_os_str()]).collect();
        let stdout = self.transfer.run(key.as_str(), &arguments).await?.stdout;
        // A folder of this name lists itself, and is not an entry.
        let bytes = stdout.lines().find_map(entry).map(|entry| entry.bytes).ok_or_else(|| self.not_found(key))?;
        Ok(Entry::new(key.clone(), bytes))
    }

    fn not_found(&self, key: &Key) -> Error {
        Error::new(Stage::Ship, Kind::NotFound, self.subject(key), "not found")
            .hint("run `longshore list` to see the backups")
    }

    /// Fetches a file to the spool, and reads it from there.
    pub(crate) async fn fetch_restricted(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let (mut file, path) = self.spool.create_file()?.into_parts();
        let from = self.transfer.remote_path(key.as_str());
        let options = ["--inplace", "--ignore-times", "--out-format=%n", "--"].map(OsStr::new);
        let arguments: Vec<_> = options.into_iter().chain([from.as_os_str(), path.as_os_str()]).collect();
        let output = self.transfer.run(key.as_str(), &arguments).await?;
        // rsync skips anything but a file without an error.
        if !output.stdout.lines().any(|name| name == key.file_name()) {
            return Err(self.not_found(key));
        }
        let read_error = |error| Error::io(Stage::Ship, self.spool.name(), "cannot read a spooled file", error);
        let size = file.metadata().map_err(read_error)?.len();
        let Range { start, end } = range.unwrap_or(0..size);
        if start > end || end > size {
            let error = self
                .transfer
                .error(Kind::Corrupt, &format!("has {size} bytes, but bytes {start} to {end} were requested"));
            return Err(error
                .about(self.subject(key))
                .hint("the file was truncated: run `longshore verify` to find damaged backups"));
        }
        file.seek(SeekFrom::Start(start)).map_err(read_error)?;
        let (spool, mut remaining_bytes) = (self.spool.name(), end - start);
        let bytes = async_stream::try_stream! {
            let _until_read = path;
            while remaining_bytes > 0 {
                let mut chunk = vec![0; remaining_bytes.min(CHUNK_BYTES as u64) as usize];
                let read_error = |error| Error::io(Stage::Ship, spool.clone(), "cannot read a spooled file", error);
                file.read_exact(&mut chunk).map_err(read_error)?;
                remaining_bytes -= chunk.len() as u64;
                yield Bytes::from(chunk);
            }
        };
        Ok(bytes.boxed())
    }

    /// Removes a file by syncing its folder with an empty one, restricted to this file.
    pub(crate) async fn remove_restricted(&self, key: &Key) -> Result<()> {
        let empty_folder = tempfile::tempdir().map_err(|error| {
            Error::io(Stage::Ship, self.transfer.name(), "cannot create a temporary directory", error)
        })?;
        let (mut from, to) = (empty_folder.path().as_os_str().to_owned(), self.transfer.remote_path(&folder(key)));
        from.push("/");
        let only = format!("--include=/{}", key.file_name());
        let arguments = ["--dirs", "--delete", &only, "--exclude=*", "--"].map(OsStr::new);
        let arguments: Vec<_> = arguments.into_iter().chain([from.as_os_str(), &to]).collect();
        match self.transfer.run(key.as_str(), &arguments).await {
            // The folder of the file and its parent are missing, or rsync would have created the
            // folder.
            Err(error) if error.chain().contains("mkdir") && error.chain().contains("No such file") => Ok(()),
            result => result.map(drop),
        }
    }

    fn subject(&self, key: &Key) -> String {
        format!("{}/{key}", self.transfer.name().trim_end_matches('/'))
    }
}

/// Returns the folder of a key in rsync's syntax: with a slash, unless it is the root.
fn folder(key: &Key) -> String {
    if key.folder().is_empty() { String::new() } else { format!("{}/", key.folder()) }
}

/// Parses a line of rsync's list: mode, size, date, time, name.
fn entry(line: &str) -> Option<Entry> {
    let mut rest = line.strip_prefix('-')?;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_mode, bytes, _date, _time) = (field()?, field()?, field()?, field()?);
    // rsync prints the time of its own time zone, without naming that.
    Some(Entry::new(Key::parse(rest).ok()?, bytes.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_only_files_named_by_keys() {
        let found = entry("-rw-------      3000000 2026/11/21 08:38:23 main/appdb/x.dump").unwrap();
        assert_eq!((found.key.as_str(), found.bytes), ("main/appdb/x.dump", 3_000_000));
        for other in [
            "drwx------         4096 2026/11/21 08:38:23 main",
            "lrwxrwxrwx            7 2026/11/21 08:38:23 main/link -> nowhere",
            "-rw-------            1 2026/11/21 08:38:23 main/with;semicolon",
            "-rw-------            1 2026/11/21 08:38:23 main/.longshore-parts/x.dump",
            "-rw-------            1 2026/11/21 08:38:23 main/\\#377",
        ] {
            assert!(entry(other).is_none(), "{other}");
        }
    }
}
