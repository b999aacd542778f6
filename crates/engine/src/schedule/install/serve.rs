//! The service of `longshore serve`, which starts all tasks of a configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_schedule::Verb;

use super::{Installer, SYSTEM_UNITS, expect_plain, origin, systemctl};
use crate::schedule::change::Change;
use crate::schedule::host::read;
use crate::schedule::unit::{self, Manager};

/// The name of the service.
const SERVICE: &str = "longshore.service";
/// The link to the enabled service, within the folder of units.
const ENABLED: &str = "multi-user.target.wants/longshore.service";

impl Installer<'_> {
    /// Returns the changes that install and start the service.
    pub(super) fn serve_changes(&self) -> Result<Vec<Change>> {
        let serve = &self.config.serve;
        if !serve.schedule {
            let message = "`longshore serve` starts no jobs with this configuration";
            return Err(Error::new(Stage::Config, Kind::Usage, "--serve", message)
                .hint(format!("add schedule = true to [serve] in {}", self.path.display())));
        }
        let folder = self.host.path(SYSTEM_UNITS);
        let path = folder.join(SERVICE);
        self.expect_own(&path)?;
        self.expect_one_user(&folder)?;
        let program = self.request.program.display().to_string();
        let command = [program, "--config".to_owned(), self.path.display().to_string(), "serve".to_owned()];
        let jobs = self.config.jobs.values();
        let writable: BTreeSet<PathBuf> = jobs.flat_map(|job| self.writable(job)).collect();
        let writable: Vec<PathBuf> = writable.into_iter().collect();
        writable.iter().try_for_each(|folder| expect_plain(folder))?;
        let drills = self.config.jobs.values().any(|job| job.timetable.schedules.contains_key(&Verb::Drill));
        let facts = self.service_facts(&command, &writable, Manager::System, drills);
        let text = unit::serve(serve.stop_timeout.duration(), &facts);
        let write = Change::Write { path, text };
        // A restart ends a long run.
        let restart = if write.is_applied() { "reload-or-restart" } else { "restart" };
        let mut changes = vec![write];
        if self.host.is_live() {
            for words in [&["daemon-reload"][..], &["enable", SERVICE], &[restart, SERVICE]] {
                changes.push(systemctl(Manager::System, words));
            }
        } else {
            changes.push(Change::Link { path: folder.join(ENABLED), target: Path::new("..").join(SERVICE) });
        }
        Ok(changes)
    }

    /// Returns the changes that remove the service of this configuration.
    pub(super) fn serve_removal(&self) -> Result<Vec<Change>> {
        let folder = self.host.path(SYSTEM_UNITS);
        let path = folder.join(SERVICE);
        if read(&path).and_then(|text| origin(&text)) != Some(self.path.clone()) {
            return Ok(Vec::new());
        }
        if let Some(job) = self.request.job {
            let message = "`longshore serve` starts all jobs of the configuration";
            return Err(Error::new(Stage::Config, Kind::Refused, job, message)
                .hint("install or uninstall the schedules of all jobs, without the name of one"));
        }
        let mut changes = Vec::new();
        if self.host.is_live() {
            changes.push(systemctl(Manager::System, &["disable", "--now", SERVICE]));
        } else {
            changes.push(Change::Remove { path: folder.join(ENABLED) });
        }
        changes.push(Change::Remove { path });
        if self.host.is_live() {
            changes.push(systemctl(Manager::System, &["daemon-reload"]));
        }
        Ok(changes)
    }
}
