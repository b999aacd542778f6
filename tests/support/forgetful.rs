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
pub(crate) struct Forgetful {
    over: Arc<AtomicBool>,
    forgetting: Vec<JoinHandle<()>>,
}

impl Forgetful {
    pub(crate) fn folders(folders: Vec<PathBuf>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let forget_until = |folder: PathBuf, over: Arc<AtomicBool>| {
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    forget(&folder);
                    thread::sleep(PAUSE);
                }
            })
        };
        let forgetting = folders.into_iter().map(|folder| forget_until(folder, Arc::clone(&over))).collect();
        Self { over, forgetting }
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for forgetting in self.forgetting.drain(..) {
            let ended = forgetting.join();
            // A failed test has already printed its cause.
            assert!(ended.is_ok() || thread::panicking(), "a folder's thread failed");
        }
    }
}

/// Punches a hole into every large file that occupies space. Files that disappear meanwhile are
/// skipped.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            forget(&entry.path());
        } else if found.is_file() && found.len() > SMALL_BYTES && occupied(&found) > SMALL_BYTES {
            punch(&entry.path(), found.len());
        }
    }
}

fn occupied(found: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    found.blocks() * 512
}

fn punch(path: &Path, length: u64) {
    let Ok(file) = File::options().write(true).open(path) else { return };
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, 0, length).expect("the file system of the temporary folder supports holes");
}
