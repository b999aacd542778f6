//! The one tar of a backup, in chunks for the pipeline.

use std::mem;

use bytes::Bytes;
use longshore_core::stream::Chunks;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::merge::Merge;

use crate::failure;

/// The name of the archive of the data directory.
const DATA_DIRECTORY: &str = "base.tar";
/// The suffix of the names of all archives.
const SUFFIX: &str = ".tar";

/// A merge of a server's archives, with its output gathered into chunks: each file begins with a
/// header of its own, and the stages after this one work per chunk.
#[derive(Debug, Default)]
pub(crate) struct MergedTar {
    merge: Merge,
    subject: String,
    has_open_archive: bool,
    chunks: Chunks,
}

impl MergedTar {
    /// Creates an empty tar. Errors name `subject`.
    pub(crate) fn new(subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..Self::default() }
    }

    /// Begins an archive by its name, after the end of the previous one.
    pub(crate) fn begin_archive(&mut self, name: &str) -> Result<()> {
        self.end_archive()?;
        let tablespace = match name {
            DATA_DIRECTORY => None,
            name => Some(self.oid(name)?),
        };
        self.has_open_archive = true;
        self.merge.begin_archive(tablespace).map_err(|error| failure::of_merge(&self.subject, error))
    }

    /// Ends the archive, if one has begun.
    pub(crate) fn end_archive(&mut self) -> Result<()> {
        if !mem::take(&mut self.has_open_archive) {
            return Ok(());
        }
        self.merge.end_archive().map_err(|error| failure::of_merge(&self.subject, error))
    }

    /// Begins the manifest of `bytes` bytes.
    pub(crate) fn begin_manifest(&mut self, bytes: u64) -> Result<()> {
        let header = self.merge.manifest_header(bytes).map_err(|error| failure::of_merge(&self.subject, error))?;
        self.chunks.push(header);
        Ok(())
    }

    /// Adds data of the archive or the manifest.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<()> {
        let pieces = self.merge.push(data).map_err(|error| failure::of_merge(&self.subject, error))?;
        pieces.into_iter().for_each(|piece| self.chunks.push(piece));
        Ok(())
    }

    /// Ends the tar after the manifest.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let end = mem::take(&mut self.merge).finish().map_err(|error| failure::of_merge(&self.subject, error))?;
        self.chunks.push(end);
        self.chunks.flush();
        Ok(())
    }

    /// Returns the next chunk that is complete.
    pub(crate) fn chunk(&mut self) -> Option<Bytes> {
        self.chunks.pop()
    }

    /// Returns the OID in the name of a tablespace's archive.
    fn oid(&self, name: &str) -> Result<u32> {
        let oid = name.strip_suffix(SUFFIX).and_then(|oid| oid.parse().ok());
        oid.ok_or_else(|| {
            let message = format!("the server sent an archive of the unknown name {name:?}");
            Error::new(Stage::Dump, Kind::Corrupt, &self.subject, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::stream::CHUNK_BYTES;

    use super::*;

    /// Returns a header of a regular file, as the server writes it.
    fn header(path: &str, bytes: u64) -> Bytes {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, "0000600\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{bytes:011o}\0"));
        put(136, "00000000000\0");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        Bytes::copy_from_slice(&block)
    }

    /// Adds a file with its header and padding.
    fn push_file(tar: &mut MergedTar, path: &str, bytes: usize) {
        tar.push(header(path, bytes as u64)).unwrap();
        let mut data = vec![7; bytes];
        data.resize(bytes.next_multiple_of(512), 0);
        for piece in data.chunks(32 << 10) {
            tar.push(Bytes::copy_from_slice(piece)).unwrap();
        }
    }

    #[test]
    fn output_has_whole_chunks_and_the_manifest_last() {
        let mut tar = MergedTar::new("base");
        tar.begin_archive("16384.tar").unwrap();
        push_file(&mut tar, "PG_17_202406281/5/1", 10);
        tar.push(vec![0; 1024].into()).unwrap();
        tar.begin_archive("base.tar").unwrap();
        push_file(&mut tar, "base/1/2", 600_000);
        tar.push(vec![0; 1024].into()).unwrap();
        tar.end_archive().unwrap();
        tar.begin_manifest(5).unwrap();
        tar.push(Bytes::from_static(b"{..}\n")).unwrap();
        tar.finish().unwrap();
        let chunks: Vec<Bytes> = std::iter::from_fn(|| tar.chunk()).collect();
        // Each chunk but the last lacks less than one piece of the server.
        assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.len() > CHUNK_BYTES - (32 << 10)));
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        let all = chunks.concat();
        let names: Vec<&[u8]> = [&b"pg_tblspc/16384/\0"[..], b"pg_tblspc/16384/PG_17_202406281/5/1\0", b"base/1/2\0"]
            .into_iter()
            .filter(|name| all.windows(name.len()).any(|window| window == *name))
            .collect();
        assert_eq!(names.len(), 3);
        let end = all.len() - 4 * 512;
        assert!(all[end..].starts_with(b"backup_manifest\0") && all[end + 512..].starts_with(b"{..}\n"));
        assert!(all[all.len() - 1024..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn unknown_archives_and_cut_ones_are_errors() {
        for name in ["", "pg_wal.tar", "x.tar", "-1.tar", "4294967296.tar", "16384"] {
            let error = MergedTar::new("base").begin_archive(name).unwrap_err();
            assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Corrupt), "{name}");
        }
        let mut tar = MergedTar::new("base");
        tar.begin_archive("base.tar").unwrap();
        tar.push(header("base/1/2", 1000)).unwrap();
        assert_eq!(tar.end_archive().unwrap_err().kind(), Kind::Corrupt);
    }
}
