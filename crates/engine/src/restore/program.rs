//! The programs that restore and drill backups in other programs' formats, as the configuration
//! names them. The manifest names a way to restore by hand, but never a program to start: a
//! manifest can be written by all who can write to the destination.

use longshore_config::{Config, Job};
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{ProgramTarget, Target};
use longshore_core::stage::RestorePrograms;
use longshore_core::{Error, Kind, Result, Stage};

/// Returns the programs of the entry of `dump` that makes the backups of a subject in the format of
/// a backup. A backup in another format never reaches them: its manifest may have been changed.
pub(crate) fn restore_programs(job: &Job, manifest: &Manifest) -> Result<Option<RestorePrograms>> {
    for dump in &job.dump {
        if let Some(programs) = dump(&job.site)?.restore_programs(&manifest.subject, &manifest.artifact.format) {
            return Ok(Some(programs));
        }
    }
    Ok(None)
}

/// Returns the program that restores a backup as a target.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if the configuration names none.
pub fn program_target(config: &Config, manifest: &Manifest) -> Result<Target> {
    let job = config.jobs.get(&manifest.job);
    let programs = job.map(|job| restore_programs(job, manifest)).transpose()?.flatten();
    let program: Option<ProgramTarget> = programs.and_then(|programs| programs.restore);
    program.map(Target::Program).ok_or_else(|| {
        let format = &manifest.artifact.format;
        let message = format!("job \"{}\" of the configuration names no program that restores {format}", manifest.job);
        let hint = match &manifest.undo {
            Some(undo) => format!("set restore in its entry of dump; by hand: {undo}"),
            None => "set restore in its entry of dump, or pass --output FILE".to_owned(),
        };
        Error::new(Stage::Restore, Kind::Usage, manifest.subject.to_string(), message).hint(hint)
    })
}
