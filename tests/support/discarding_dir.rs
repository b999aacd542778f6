//! Folders that discard the content of their files, as destinations for more bytes than a test
//! machine's disk holds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

/// Smaller files keep their content: manifests, and a server's own files.
const SMALL_BYTES: u64 = 256 << 10;
/// The interval between passes over a folder.
const PAUSE: Duration = Duration::from_millis(500);

/// Folders whose large files are emptied until this value is dropped. Each file keeps its name and
/// its length but occupies no space, so its content cannot be read back.
pub(crate) struct DiscardingDirs {
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DiscardingDirs {
    pub(crate) fn new(folders: Vec<PathBuf>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let discard_until = |folder: PathBuf, stopped: Arc<AtomicBool>| {
            thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    discard_content(&folder);
                    thread::sleep(PAUSE);
                }
            })
        };
        let threads = folders.into_iter().map(|folder| discard_until(folder, Arc::clone(&stopped))).collect();
        Self { stopped, threads }
    }
}

impl Drop for DiscardingDirs {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for handle in self.threads.drain(..) {
            let result = handle.join();
            // A failed test has already printed its cause.
            assert!(result.is_ok() || thread::panicking(), "a folder's thread failed");
        }
    }
}

/// Punches a hole into every large file that occupies space. Files that disappear meanwhile are
/// skipped.
fn discard_content(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            discard_content(&entry.path());
        } else if metadata.is_file() && metadata.len() > SMALL_BYTES && occupied(&metadata) > SMALL_BYTES {
            punch(&entry.path(), metadata.len());
        }
    }
}

fn occupied(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

fn punch(path: &Path, length: u64) {
    let Ok(file) = File::options().write(true).open(path) else { return };
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, 0, length).expect("the file system of the temporary folder supports holes");
}
