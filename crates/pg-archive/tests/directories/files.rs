//! The files of a directory, and what may happen to one of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::table::Expected;

/// Files by their names.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// One damage of some files.
pub(crate) struct Damage {
    pub(crate) what: &'static str,
    pub(crate) place: &'static str,
    pub(crate) expected: Expected,
    pub(crate) files: Files,
}

/// All files of a folder.
pub(crate) fn read(folder: &Path) -> Files {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// Makes a folder of files.
pub(crate) fn write(files: &Files, folder: &Path) {
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// The files of a folder as one stream: at its top, and `toc.dat` before all others.
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

/// Does to one file what is done to it: `None` removes it.
pub(crate) fn damaged(files: &Files, name: &str, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Files {
    let mut files = files.clone();
    let bytes = files.remove(name).unwrap();
    if let Some(changed) = change(&bytes) {
        files.insert(name.to_owned(), changed);
    }
    files
}
