//! `longshore config`: check the configuration file, and print its JSON Schema.

use std::io::Write;
use std::path::Path;

use longshore_config::{Config, Job};
use longshore_core::{Error, Result, Stage};
use longshore_engine::notices;
use serde::Serialize;

use crate::args::config::ConfigFile;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// The contents of a valid configuration.
#[derive(Serialize)]
struct Contents<'a> {
    file: &'a Path,
    jobs: Vec<&'a str>,
    destinations: Vec<&'a str>,
}

/// Checks the file of the arguments, or else the one at `path`; or prints the schema.
pub(super) fn config(path: &Path, args: &ConfigFile, output: Output) -> Result<Exit> {
    let check = match args {
        ConfigFile::Check(check) => check,
        ConfigFile::Schema => return Ok(output.json(&longshore_config::schema(&plugins::registry()))),
    };
    let path = check.file.as_deref().unwrap_or(path);
    let config = checked(path)?;
    let contents = Contents {
        file: path,
        jobs: config.jobs.keys().map(String::as_str).collect(),
        destinations: config.destinations.keys().map(String::as_str).collect(),
    };
    if check.json.json {
        return Ok(output.json(&contents));
    }
    let (jobs, destinations) =
        (counted(contents.jobs.len(), "job"), counted(contents.destinations.len(), "destination"));
    output.line(format_args!("{} is valid: {jobs}, {destinations}", path.display()));
    Ok(Exit::Done)
}

/// Reads a configuration, and checks what depends on nothing but the file.
fn checked(path: &Path) -> Result<Config> {
    let config = Config::load(path, &plugins::registry())?;
    config.jobs.values().try_for_each(build)?;
    notices::check_settings(&config)?;
    Ok(config)
}

/// Checks the text of a configuration that is not written yet.
pub(super) fn check_text(text: &str) -> Result<()> {
    let written = tempfile::NamedTempFile::with_prefix("longshore-").and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file)
    });
    let file =
        written.map_err(|error| Error::io(Stage::Config, "configuration", "cannot write a temporary file", error))?;
    checked(file.path()).map(drop)
}

/// Builds the stages whose settings depend on nothing but the file. Encryption and destinations
/// read keys and credentials.
fn build(job: &Job) -> Result<()> {
    job.dump.iter().try_for_each(|dump| dump(&job.site).map(drop))?;
    job.verify.iter().flatten().try_for_each(|verify| verify(&job.site).map(drop))?;
    job.drill.scratch.iter().try_for_each(|scratch| scratch(&job.site).map(drop))
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests;
