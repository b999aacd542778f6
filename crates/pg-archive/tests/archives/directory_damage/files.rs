//! The files of a directory, and changes of one of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::table::Expected;

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// One damage of some files.
pub(crate) struct Damage {
    pub(crate) what: &'static str,
    pub(crate) place: &'static str,
    pub(crate) expected: Expected,
    pub(crate) files: Files,
}

/// Reads all files of a folder.
pub(crate) fn read(folder: &Path) -> Files {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// Writes files into a new folder.
pub(crate) fn write(files: &Files, folder: &Path) {
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Returns the files of a folder as one tar stream at top level, with `toc.dat` first.
pub(crate) fn packed(files: &Files, folder: &Path) -> Vec<u8> {
    let is_toc = |name: &&String| *name == "toc.dat";
    let (toc, others): (Vec<_>, Vec<_>) = files.keys().partition(is_toc);
    let output = Command::new("tar")
        .arg("-C")
        .arg(folder)
        .args(["--mtime=@0", "--owner=0", "--group=0", "-cf", "-", "--"])
        .args(toc)
        .args(others)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Applies `change` to one file. `None` removes the file.
pub(crate) fn damaged(files: &Files, name: &str, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Files {
    let mut files = files.clone();
    let bytes = files.remove(name).unwrap();
    if let Some(changed) = change(&bytes) {
        files.insert(name.to_owned(), changed);
    }
    files
}
