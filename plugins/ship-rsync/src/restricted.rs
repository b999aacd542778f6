//! An account that `rrsync` limits to rsync: what that can do, and no more.
//!
//! There is no command that publishes a file: rsync itself keeps what is under way in a hidden folder, and gives it its name when it is whole.
//! It skips what is there, but of two that send the same name at once the later wins. What has arrived is held against what was sent by a
//! second call, which compares digests and sends nothing.

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

/// The hidden folder that what is under way lies in, beside where it goes.
const PARTIAL: &str = "--partial-dir=.longshore-parts";

impl Destination {
    /// Ships to an account that rrsync limits.
    pub(crate) async fn ship_restricted(&self, key: &Key, body: ByteStream) -> Result<()> {
        let spooled = self.spool.take(body).await?;
        // rrsync lets a folder be named where a file is to be written or compared; a file that is there already, it does not.
        let (_folder, from) = self.spool.named(&spooled, key.file_name())?;
        let to = self.transfer.place(&folder(key));
        let call = async |options: &[&str]| {
            let words = options.iter().map(OsStr::new).chain([OsStr::new("--"), from.as_os_str(), &to]);
            self.transfer.run(key.as_str(), &words.collect::<Vec<_>>()).await
        };
        let sent =
            call(&["--ignore-existing", "--out-format=%n", "--mkpath", "--fsync", "--no-whole-file", PARTIAL]).await?;
        let skipped = sent.told.trim().is_empty();
        let taken = || {
            let error = self.transfer.error(Kind::AlreadyExists, "already exists, and nothing is ever overwritten");
            error
                .about(self.subject(key))
                .hint("another run used the same time, or another host ships to the same directory")
        };
        if skipped && sent.tries == 1 {
            return Err(taken());
        }
        let differs = call(&["--dry-run", "--checksum", "--out-format=%n"]).await?;
        match (differs.told.trim().is_empty(), skipped) {
            (true, _) => Ok(()),
            (false, true) => Err(taken()),
            (false, false) => {
                let error = self
                    .transfer
                    .error(Kind::Corrupt, "did not arrive as it was sent, and this account cannot remove it");
                Err(error
                    .about(self.subject(key))
                    .hint("remove it there by hand, and look at that host's disk and memory"))
            }
        }
    }

    /// Lists by rsync itself.
    pub(crate) async fn list_restricted(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        let from = self.transfer.place("");
        let words = [
            OsStr::new("--recursive"),
            OsStr::new("--list-only"),
            OsStr::new("--no-human-readable"),
            OsStr::new("--"),
            &from,
        ];
        let told = self.transfer.run("", &words).await?.told;
        let mut entries: Vec<_> = told.lines().filter_map(entry).collect();
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    /// Fetches a file to the spool, and reads it from there.
    pub(crate) async fn fetch_restricted(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let (mut file, path) = self.spool.file()?.into_parts();
        let from = self.transfer.place(key.as_str());
        let options = ["--inplace", "--ignore-times", "--out-format=%n", "--"].map(OsStr::new);
        let words: Vec<_> = options.into_iter().chain([from.as_os_str(), path.as_os_str()]).collect();
        let done = self.transfer.run(key.as_str(), &words).await?;
        // What is no file is skipped, which is no failure to rsync.
        if !done.told.lines().any(|name| name == key.file_name()) {
            let nothing = Error::new(Stage::Ship, Kind::NotFound, self.subject(key), "nothing there");
            return Err(nothing.hint("`longshore list` shows what is there"));
        }
        let unread = |error| Error::io(Stage::Ship, self.spool.name(), "cannot read a spooled file", error);
        let size = file.metadata().map_err(unread)?.len();
        let Range { start, end } = range.unwrap_or(0..size);
        if start > end || end > size {
            let error =
                self.transfer.error(Kind::Corrupt, &format!("has {size} bytes, but {start} to {end} were asked for"));
            return Err(error
                .about(self.subject(key))
                .hint("the file was cut: `longshore verify` tells which backups are whole"));
        }
        file.seek(SeekFrom::Start(start)).map_err(unread)?;
        let (spool, mut left) = (self.spool.name(), end - start);
        let bytes = async_stream::try_stream! {
            let _until_read = path;
            while left > 0 {
                let mut chunk = vec![0; left.min(CHUNK_BYTES as u64) as usize];
                let unread = |error| Error::io(Stage::Ship, spool.clone(), "cannot read a spooled file", error);
                file.read_exact(&mut chunk).map_err(unread)?;
                left -= chunk.len() as u64;
                yield Bytes::from(chunk);
            }
        };
        Ok(bytes.boxed())
    }

    /// Removes a file by making its folder like one that has everything but this file.
    pub(crate) async fn remove_restricted(&self, key: &Key) -> Result<()> {
        let nothing = tempfile::tempdir()
            .map_err(|error| Error::io(Stage::Ship, self.transfer.name(), "cannot make a folder", error))?;
        let (mut from, to) = (nothing.path().as_os_str().to_owned(), self.transfer.place(&folder(key)));
        from.push("/");
        let only = format!("--include=/{}", key.file_name());
        let words = ["--dirs", "--delete", &only, "--exclude=*", "--"].map(OsStr::new);
        let words: Vec<_> = words.into_iter().chain([from.as_os_str(), &to]).collect();
        match self.transfer.run(key.as_str(), &words).await {
            // Not even its folder is there, nor the one above, or rsync would have made it.
            Err(error) if error.chain().contains("mkdir") && error.chain().contains("No such file") => Ok(()),
            done => done.map(drop),
        }
    }

    fn subject(&self, key: &Key) -> String {
        format!("{}/{key}", self.transfer.name().trim_end_matches('/'))
    }
}

/// The folder of a key, as rsync takes a folder: with a slash, unless it is the uppermost.
fn folder(key: &Key) -> String {
    if key.folder().is_empty() { String::new() } else { format!("{}/", key.folder()) }
}

/// A line of rsync's list: mode, size, date, time, name.
fn entry(line: &str) -> Option<Entry> {
    let mut rest = line.strip_prefix('-')?;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_mode, bytes, _date, _time) = (field()?, field()?, field()?, field()?);
    Some(Entry { bytes: bytes.parse().ok()?, key: Key::parse(rest).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_whose_names_are_keys_are_entries() {
        let found = entry("-rw-------      3000000 2026/11/21 08:38:23 main/appdb/x.dump").unwrap();
        assert_eq!((found.key.as_str(), found.bytes), ("main/appdb/x.dump", 3_000_000));
        for other in [
            "drwx------         4096 2026/11/21 08:38:23 main",
            "lrwxrwxrwx            7 2026/11/21 08:38:23 main/link -> nowhere",
            "-rw-------            1 2026/11/21 08:38:23 main/with space",
            "-rw-------            1 2026/11/21 08:38:23 main/.longshore-parts/x.dump",
            "-rw-------            1 2026/11/21 08:38:23 main/\\#377",
        ] {
            assert!(entry(other).is_none(), "{other}");
        }
    }
}
