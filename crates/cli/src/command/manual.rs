//! `longshore completions` and `longshore man`: what clap knows of the command line, for shells and readers.

use std::path::Path;

use clap::CommandFactory;
use longshore_core::{Error, Result, Stage};

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
    let made = std::fs::create_dir_all(folder);
    let written = made.and_then(|()| clap_mangen::generate_to(Args::command(), folder));
    written.map_err(|error| Error::io(Stage::Config, folder.display().to_string(), "cannot write man pages", error))?;
    output.line(format_args!("wrote man pages to {}", folder.display()));
    Ok(Exit::Done)
}
