//! `longshore completions` and `longshore man`: shell completions and manual pages.

mod roff;

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage};

use crate::args;
use crate::exit_code::Exit;
use crate::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: Output) -> Result<Exit> {
    if let Some(script) = crate::complete::script(shell) {
        output.bytes(script.as_bytes());
        return Ok(Exit::Done);
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "longshore", &mut script);
    output.bytes(&script);
    Ok(Exit::Done)
}

/// The handwritten pages: name, section and Markdown.
const PAGES: [(&str, u8, &str); 17] = [
    ("longshore-config", 5, include_str!("../../doc/longshore-config.5.md")),
    ("longshore-formats", 5, include_str!("../../doc/longshore-formats.5.md")),
    ("longshore-containers", 7, include_str!("../../doc/longshore-containers.7.md")),
    ("longshore-destinations", 7, include_str!("../../doc/longshore-destinations.7.md")),
    ("longshore-differential", 7, include_str!("../../doc/longshore-differential.7.md")),
    ("longshore-encryption", 7, include_str!("../../doc/longshore-encryption.7.md")),
    ("longshore-exec", 7, include_str!("../../doc/longshore-exec.7.md")),
    ("longshore-limits", 7, include_str!("../../doc/longshore-limits.7.md")),
    ("longshore-monitoring", 7, include_str!("../../doc/longshore-monitoring.7.md")),
    ("longshore-moving-over", 7, include_str!("../../doc/longshore-moving-over.7.md")),
    ("longshore-restore-runbook", 7, include_str!("../../doc/longshore-restore-runbook.7.md")),
    ("longshore-retention", 7, include_str!("../../doc/longshore-retention.7.md")),
    ("longshore-schedule", 7, include_str!("../../doc/longshore-schedule.7.md")),
    ("longshore-serve", 7, include_str!("../../doc/longshore-serve.7.md")),
    ("longshore-snapshots", 7, include_str!("../../doc/longshore-snapshots.7.md")),
    ("longshore-trust", 7, include_str!("../../doc/longshore-trust.7.md")),
    ("longshore-wal", 7, include_str!("../../doc/longshore-wal.7.md")),
];

/// Writes the pages to the folders `man1`, `man5` and `man7` of a folder of manuals. `man1` itself
/// means its parent, as in releases that had pages of section 1 alone.
pub(super) fn man(folder: &Path, output: Output) -> Result<Exit> {
    // Manual pages are world-readable.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let folder = match (folder.ends_with("man1"), folder.parent()) {
        (true, Some(parent)) if parent.as_os_str().is_empty() => Path::new("."),
        (true, Some(parent)) => parent,
        _ => folder,
    };
    std::fs::create_dir_all(folder).map_err(|error| write_error(folder, error))?;
    let pages = tempfile::Builder::new().prefix(TEMP_PREFIX).tempdir_in(folder);
    let pages = pages.map_err(|error| write_error(folder, error))?;
    write(pages.path()).map_err(|error| write_error(pages.path(), error))?;
    publish(pages.path(), folder)?;
    pages.close().map_err(|error| write_error(folder, error))?;
    output.line(format_args!("wrote man pages to {}", folder.display()));
    Ok(Exit::Done)
}

fn write_error(path: &Path, error: io::Error) -> Error {
    Error::io(Stage::Config, path.display().to_string(), "cannot write man pages", error)
}

/// Writes all pages below a temporary directory.
fn write(pages: &Path) -> io::Result<()> {
    for section in SECTIONS {
        std::fs::create_dir(pages.join(section))?;
    }
    clap_mangen::generate_to(args::command(), pages.join("man1"))?;
    for (name, section, markdown) in PAGES {
        let path = pages.join(format!("man{section}/{name}.{section}"));
        std::fs::write(path, roff::render(name, section, markdown))?;
    }
    Ok(())
}

/// The beginning of the names of temporary files and folders. The names are unique, so what an
/// interrupted run leaves does not disturb later ones.
const TEMP_PREFIX: &str = ".longshore-";

/// The folders of pages.
const SECTIONS: [&str; 3] = ["man1", "man5", "man7"];

/// Copies all pages, and replaces those of another version of this program. Copies none if another
/// program's file has one of the names.
fn publish(pages: &Path, folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for section in SECTIONS {
        let found = self::names(&pages.join(section)).map_err(|error| write_error(pages, error))?;
        names.extend(found.into_iter().map(|name| Path::new(section).join(name)));
    }
    let is_foreign = |path: &PathBuf| path.symlink_metadata().is_ok() && !is_own_page(path);
    if let Some(there) = names.iter().map(|name| folder.join(name)).find(is_foreign) {
        let message = "already exists, is no page of longshore, and is never overwritten";
        return Err(Error::new(Stage::Config, Kind::AlreadyExists, there.display().to_string(), message)
            .hint("pass another directory, or remove the file"));
    }
    for section in SECTIONS.map(|section| folder.join(section)) {
        std::fs::create_dir_all(&section).map_err(|error| write_error(&section, error))?;
    }
    for name in names {
        let path = folder.join(&name);
        replace(&pages.join(&name), &path).map_err(|error| write_error(&path, error))?;
    }
    Ok(())
}

/// The beginning of the title of every page, in both spellings.
const TITLES: [&str; 2] = [".TH longshore", ".TH \"LONGSHORE"];

/// Returns true if a regular file is a page of this program, of any version.
fn is_own_page(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|file| file.is_file());
    let text = || std::fs::read_to_string(path).unwrap_or_default();
    is_file && text().lines().take(5).any(|line| TITLES.iter().any(|title| line.starts_with(title)))
}

/// Copies a page to `to`, which is replaced as a whole, and never written in place.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let mut new = builder.prefix(TEMP_PREFIX).permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    io::copy(&mut File::open(from)?, &mut new)?;
    new.persist(to)?;
    Ok(())
}

/// Returns the names of the files in a directory.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_an_interrupted_run_block_no_later_one() {
        let (pages, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for section in SECTIONS {
            std::fs::create_dir(pages.path().join(section)).unwrap();
        }
        std::fs::write(pages.path().join("man1/longshore.1"), ".TH longshore 1\n").unwrap();
        std::fs::create_dir(folder.path().join("man1")).unwrap();
        std::fs::write(folder.path().join("man1/longshore.partial"), "left by a release before").unwrap();
        std::fs::write(folder.path().join("man1/.longshore-abc"), "left by another run").unwrap();
        let page = folder.path().join("man1/longshore.1");
        for _ in 0..2 {
            publish(pages.path(), folder.path()).unwrap();
            assert!(is_own_page(&page));
            assert_eq!(page.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        }
        assert_eq!(names(&folder.path().join("man1")).unwrap().len(), 3);
    }
}
