//! Files read by several threads, and returned in order in bounded memory.
//!
//! A thread opens one file after another and divides it into blocks; others read the blocks, check
//! the pages and compute checksums. The order of the results is that of the blocks, so a slow block
//! delays the others instead of being overtaken.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{self as blocking, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use longshore_core::stream::{BufferPool, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_base::page::PAGE_BYTES;
use longshore_pg_base::relation_file::RelationFile;
use longshore_pg_base::write::{Attributes, Crc32c};
use longshore_pg_wal::Lsn;
use tokio::sync::{mpsc, oneshot};

use crate::listing::{Entry, attributes};
use crate::location::{Location, unreadable};
use crate::pages;

/// The blocks that may wait for each thread.
const BLOCKS_PER_THREAD: usize = 8;

/// The next part of the files.
#[derive(Debug)]
pub(crate) enum Part {
    /// A directory.
    Directory(Box<[u8]>, Attributes),
    /// A file begins.
    File { path: Box<[u8]>, size_bytes: u64, attributes: Attributes },
    /// The next data of the file.
    Data(Block),
    /// The file ends.
    FileEnd,
    /// The file was removed before it was opened.
    Missing(Box<[u8]>),
}

/// Data of a file.
#[derive(Debug)]
pub(crate) struct Block {
    /// The data.
    pub(crate) bytes: Bytes,
    /// The checksum of the data.
    pub(crate) crc32c: Crc32c,
    /// The numbers of the blocks whose checksums are wrong, and that nothing restores.
    pub(crate) damaged: Vec<u32>,
}

/// The choices for all files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    /// The number of threads.
    pub(crate) threads: NonZeroUsize,
    /// The start of the backup, if pages have checksums to check.
    pub(crate) check_pages_since: Option<Lsn>,
}

/// A part that is known, or is being read.
enum Slot {
    Known(Part),
    Pending(oneshot::Receiver<Result<Block>>),
    Failed(Error),
    End,
}

/// A block to read.
struct Task {
    file: Arc<File>,
    path: Arc<PathBuf>,
    /// The file of a relation, whose pages are checked.
    relation: Option<RelationFile>,
    offset: u64,
    bytes: usize,
    result: oneshot::Sender<Result<Block>>,
}

/// Files that are being read. Dropping it ends the threads after their current blocks.
pub(crate) struct Reader {
    slots: mpsc::Receiver<Slot>,
}

impl Reader {
    /// Begins to read the files of `entries`.
    pub(crate) fn start(location: Location, entries: Vec<Entry>, choices: Choices) -> io::Result<Self> {
        let capacity = choices.threads.get() * BLOCKS_PER_THREAD;
        let (slot_sender, slots) = mpsc::channel(capacity);
        let (task_sender, tasks) = blocking::sync_channel::<Task>(capacity);
        let tasks = Arc::new(Mutex::new(tasks));
        let pool = BufferPool::default();
        for _ in 0..choices.threads.get() {
            let (tasks, pool) = (Arc::clone(&tasks), pool.clone());
            let read = move || {
                loop {
                    // The lock is released before the block is read.
                    let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(task) = next else { return };
                    let block = read_block(&task, &pool, choices.check_pages_since);
                    // No reader of the results is left.
                    if task.result.send(block).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().name("read files".to_owned()).spawn(read)?;
        }
        let open = move || {
            let queue = Queue { slots: slot_sender, tasks: task_sender };
            queue.add_all(&location, entries, choices.check_pages_since.is_some())
        };
        // Its result only reports that no reader of the results is left.
        thread::Builder::new().name("open files".to_owned()).spawn(open)?;
        Ok(Self { slots })
    }

    /// Returns the next part, or `None` after the last one. Keeps its place if it is dropped before
    /// a file was opened.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>> {
        let stopped = || Error::new(Stage::Dump, Kind::Failed, "base", "a thread that reads files has stopped");
        match self.slots.recv().await.ok_or_else(stopped)? {
            Slot::Known(part) => Ok(Some(part)),
            Slot::Pending(block) => block.await.map_err(|_| stopped())?.map(|block| Some(Part::Data(block))),
            Slot::Failed(error) => Err(error),
            Slot::End => Ok(None),
        }
    }
}

/// No reader of the results is left.
struct Closed;

/// The queues of results and of blocks to read.
struct Queue {
    slots: mpsc::Sender<Slot>,
    tasks: SyncSender<Task>,
}

impl Queue {
    fn add_all(&self, location: &Location, entries: Vec<Entry>, checks_pages: bool) -> Result<(), Closed> {
        for entry in entries {
            match entry {
                Entry::Directory(path, attributes) => self.push(Slot::Known(Part::Directory(path, attributes)))?,
                Entry::File(path) => self.add_file(location, path, checks_pages)?,
            }
        }
        self.push(Slot::End)
    }

    fn add_file(&self, location: &Location, member: Box<[u8]>, checks_pages: bool) -> Result<(), Closed> {
        let path = location.resolve(&member);
        let opened = regular_file::open(&path, OpenOptions::new().read(true));
        let (file, metadata) = match opened.and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.push(Slot::Known(Part::Missing(member)));
            }
            Err(error) => return self.push(Slot::Failed(unreadable(&path, error))),
        };
        let size_bytes = metadata.len();
        // A file that ends within a page is not checked, as in `sendFile` of
        // `src/backend/backup/basebackup.c`.
        let has_pages = checks_pages && size_bytes.is_multiple_of(PAGE_BYTES as u64);
        let relation = RelationFile::parse(&member).filter(|_| has_pages);
        self.push(Slot::Known(Part::File { path: member, size_bytes, attributes: attributes(&metadata) }))?;
        let (file, path) = (Arc::new(file), Arc::new(path));
        let mut offset = 0;
        while offset < size_bytes {
            let bytes = CHUNK_BYTES.min(usize::try_from(size_bytes - offset).unwrap_or(CHUNK_BYTES));
            let (result, pending) = oneshot::channel();
            self.push(Slot::Pending(pending))?;
            let task = Task { file: Arc::clone(&file), path: Arc::clone(&path), relation, offset, bytes, result };
            self.tasks.send(task).map_err(|_| Closed)?;
            offset += bytes as u64;
        }
        self.push(Slot::Known(Part::FileEnd))
    }

    fn push(&self, slot: Slot) -> Result<(), Closed> {
        self.slots.blocking_send(slot).map_err(|_| Closed)
    }
}

/// Reads a block. The part of it that the file no longer has is zeros, as a server sends it.
fn read_block(task: &Task, pool: &BufferPool, check_pages_since: Option<Lsn>) -> Result<Block> {
    let mut buffer = pool.take();
    buffer.resize(task.bytes, 0);
    fill(&task.file, &mut buffer, task.offset).map_err(|error| unreadable(&task.path, error))?;
    let damaged = match (task.relation, check_pages_since) {
        (Some(relation), Some(start)) => {
            let reread = |page: &mut [u8], at: usize| fill(&task.file, page, task.offset + at as u64);
            let damaged = pages::check(&mut buffer, relation, task.offset, start, reread);
            damaged.map_err(|error| unreadable(&task.path, error))?
        }
        _ => Vec::new(),
    };
    let crc32c = Crc32c::of(&buffer);
    Ok(Block { bytes: pool.freeze(buffer), crc32c, damaged })
}

/// Reads until the buffer is full; the rest is zeros if the file ends before.
fn fill(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => {
                buffer.fill(0);
                return Ok(());
            }
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn files_arrive_in_order_with_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<(String, Vec<u8>)> =
            (0..40).map(|number| (format!("f{number:02}"), vec![number as u8; number * 50_000])).collect();
        files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
        let location = Location { data: folder.path().to_owned(), tablespaces: BTreeMap::new() };
        for threads in [1, 2, 7] {
            let mut entries: Vec<_> = files.iter().map(|(name, _)| Entry::File(name.as_bytes().into())).collect();
            entries.insert(3, Entry::File((*b"gone").into()));
            let threads = NonZeroUsize::new(threads).unwrap();
            let mut reader =
                Reader::start(location.clone(), entries, Choices { threads, check_pages_since: None }).unwrap();
            let (mut found, mut missing) = (Vec::<(String, Vec<u8>)>::new(), 0);
            while let Some(part) = reader.next().await.unwrap() {
                match part {
                    Part::File { path, .. } => found.push((String::from_utf8(path.into()).unwrap(), Vec::new())),
                    Part::Data(block) => {
                        assert_eq!(block.crc32c, Crc32c::of(&block.bytes));
                        found.last_mut().unwrap().1.extend_from_slice(&block.bytes);
                    }
                    Part::Missing(_) => missing += 1,
                    Part::FileEnd | Part::Directory(..) => {}
                }
            }
            assert!(found == files, "{threads} threads");
            assert_eq!(missing, 1);
        }
    }

    #[test]
    fn end_of_a_shrunk_file_is_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        let mut buffer = [7; 6];
        fill(&file, &mut buffer, 1).unwrap();
        assert_eq!(&buffer, b"bc\0\0\0\0");
    }
}
