//! Folders that forget what is in their files: far sides for more bytes than a machine that runs tests has room for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

/// What is smaller is left alone: manifests, and what a server has to know of itself.
const SMALL_BYTES: u64 = 256 << 10;
/// How often a folder forgets.
const PAUSE: Duration = Duration::from_millis(500);

/// Has folders forget, from now until it is dropped, the bytes of every large file in them, however deep: each keeps its name and its length, and takes no
/// room. Nothing can be read back from there.
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
            // A test that has failed already says why.
            assert!(ended.is_ok() || thread::panicking(), "a folder remembers");
        }
    }
}

/// Punches a hole into every large file that has bytes. What has gone meanwhile needs none.
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
    fallocate(&file, hole, 0, length).expect("the file system of the temporary folder can forget parts of a file");
}
