//! `longshore completions` and `longshore man`: what clap knows of the command line, for shells and readers.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use longshore_core::{Error, Kind, Result, Stage};

use crate::args::Args;
use crate::exit_code::Exit;
use crate::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: Output) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "longshore", &mut script);
    output.bytes(&script);
    Ok(Exit::Done)
}

pub(super) fn man(folder: &Path, output: Output) -> Result<Exit> {
    // They are everybody's to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let failed =
        |path: &Path, error| Error::io(Stage::Config, path.display().to_string(), "cannot write man pages", error);
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let pages = folder.join(format!(".longshore-{}.partial", std::process::id()));
    std::fs::create_dir(&pages).map_err(|error| failed(&pages, error))?;
    let published = clap_mangen::generate_to(Args::command(), &pages)
        .map_err(|error| failed(&pages, error))
        .and_then(|()| publish(&pages, folder));
    std::fs::remove_dir_all(&pages).map_err(|error| failed(&pages, error))?;
    published?;
    output.line(format_args!("wrote man pages to {}", folder.display()));
    Ok(Exit::Done)
}

/// Copies all pages into a folder, or none where one of that name is there.
fn publish(pages: &Path, folder: &Path) -> Result<()> {
    let failed =
        |path: &Path, error| Error::io(Stage::Config, path.display().to_string(), "cannot write man pages", error);
    let names = names(pages).map_err(|error| failed(pages, error))?;
    if let Some(there) = names.iter().map(|name| folder.join(name)).find(|path| path.symlink_metadata().is_ok()) {
        let message = "already exists, and nothing is ever overwritten";
        return Err(Error::new(Stage::Config, Kind::AlreadyExists, there.display().to_string(), message)
            .hint("name another folder, or remove the old pages first"));
    }
    for name in names {
        let path = folder.join(&name);
        copy(&pages.join(&name), &path).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Copies a file to where nothing is.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create_new(to)?);
    io::copy(&mut from, &mut to).map(drop)
}

/// The names of the files in a folder.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}
