use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn filled(path: &Path) -> Root {
    let mut root = Root::new(path, None, ExistingFiles::Refused).unwrap();
    root.create_file(Path::new("base/1/1259")).unwrap().write_all(b"x").unwrap();
    root.create_file(Path::new("PG_VERSION")).unwrap();
    root.link(Path::new("pg_tblspc/5"), Path::new("/nowhere")).unwrap();
    root
}

#[test]
fn files_are_private() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    filled(&path).finish();
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(["", "base", "base/1", "base/1/1259"].map(mode), [0o700, 0o700, 0o700, 0o600]);
    assert_eq!(fs::read_link(path.join("pg_tblspc/5")).unwrap(), Path::new("/nowhere"));
}

#[test]
fn remove_leaves_nothing_of_a_new_folder() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    assert!(filled(&path).remove().is_empty());
    drop(filled(&path));
    assert!(!path.exists());
}

#[test]
fn remove_keeps_an_empty_folder_and_foreign_files() {
    let existing = tempfile::tempdir().unwrap();
    assert!(filled(existing.path()).remove().is_empty());
    assert_eq!(fs::read_dir(existing.path()).unwrap().count(), 0);
    let root = filled(existing.path());
    fs::write(existing.path().join("foreign"), "").unwrap();
    assert!(root.remove().is_empty());
    assert_eq!(fs::read_dir(existing.path()).unwrap().count(), 1);
}

#[test]
fn existing_files_are_never_overwritten() {
    let existing = tempfile::tempdir().unwrap();
    let mut root = Root::new(existing.path(), None, ExistingFiles::Refused).unwrap();
    fs::write(existing.path().join("PG_VERSION"), "15").unwrap();
    fs::create_dir(existing.path().join("base")).unwrap();
    let error = root.create_file(Path::new("PG_VERSION")).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert!(error.subject().ends_with("/PG_VERSION"), "{error}");
    assert_eq!(root.make_folder(Path::new("base")).unwrap_err().kind(), Kind::AlreadyExists);
    drop(root);
    assert_eq!(fs::read_to_string(existing.path().join("PG_VERSION")).unwrap(), "15");
    assert_eq!(Root::new(existing.path(), None, ExistingFiles::Refused).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn retain_removes_everything_else() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let mut root = filled(&path);
    root.create_file(Path::new("base/2/1259")).unwrap();
    root.create_file(Path::new("base/1/7")).unwrap();
    root.retain(&["base", "base/1", "base/1/1259", "pg_tblspc", "pg_tblspc/5"].map(PathBuf::from).into()).unwrap();
    assert!(path.join("base/1/1259").exists() && path.join("pg_tblspc/5").symlink_metadata().is_ok());
    for gone in ["base/2", "base/1/7", "PG_VERSION"] {
        assert!(!path.join(gone).exists(), "{gone}");
    }
    root.replace_file(Path::new("base/2/1260")).unwrap();
    root.replace_file(Path::new("base/1/1259")).unwrap();
    assert_eq!(fs::metadata(path.join("base/1/1259")).unwrap().len(), 0);
    assert!(root.open_existing(Path::new("base/1/1259")).unwrap().is_some());
    assert!(root.open_existing(Path::new("base/1/7")).unwrap().is_none());
    assert!(root.open_existing(Path::new("base/3/7")).unwrap().is_none());
}

#[test]
fn links_in_the_folder_are_not_followed() {
    let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = parent.path().join("data");
    let mut root = filled(&path);
    root.create_file(Path::new("global/1")).unwrap();
    fs::rename(path.join("base"), path.join("moved")).unwrap();
    symlink(elsewhere.path(), path.join("base")).unwrap();
    assert!(root.create_file(Path::new("base/1/1260")).is_err());
    assert!(root.create_file(Path::new("base/1260")).is_err());
    drop(root);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn file_with_another_name_is_not_changed() {
    let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = parent.path().join("data");
    let mut root = filled(&path);
    root.replace_entries();
    let foreign = elsewhere.path().join("foreign");
    fs::write(&foreign, "precious").unwrap();
    fs::hard_link(&foreign, path.join("base/1/7")).unwrap();
    for opened in [
        root.replace_file(Path::new("base/1/7")).map(drop),
        root.open_or_create(Path::new("base/1/7")).map(drop),
        root.open_existing(Path::new("base/1/7")).map(drop),
    ] {
        opened.unwrap_err();
    }
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "precious");
}
