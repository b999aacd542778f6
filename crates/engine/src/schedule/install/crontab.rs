//! The lines of cron that start the tasks of a configuration.

use std::collections::BTreeSet;

use longshore_config::Job;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_schedule::Task;
use longshore_schedule::calendar::cron_fields;
use rustix::process::geteuid;

use super::Installer;
use crate::schedule::change::Change;
use crate::schedule::cron::{self, Block};
use crate::schedule::host::read;

/// The file of cron's lines.
const CRON_FILE: &str = "etc/cron.d/longshore";
/// The first lines of that file.
const CRON_HEAD: &str = "# Written by `longshore schedule install`; changes between BEGIN and END are lost.\n\
                         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";

impl Installer<'_> {
    /// Returns the changes that replace the blocks of cron's lines by those of these tasks.
    pub(super) fn cron_changes(&self, tasks: &[(&Job, Task)]) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        if geteuid().is_root() || !self.host.is_live() {
            let path = self.host.path(CRON_FILE);
            let before = read(&path).unwrap_or_default();
            let with_head = if before.is_empty() { CRON_HEAD.to_owned() } else { before.clone() };
            let after = self.with_blocks(&with_head, tasks)?;
            if after.trim() == CRON_HEAD.trim() {
                changes.extend((!before.is_empty()).then_some(Change::Remove { path }));
            } else if !tasks.is_empty() || after != before {
                changes.push(Change::Write { path, text: after });
            }
        } else if let Some(before) = self.host.crontab() {
            let before = String::from_utf8(before).map_err(|error| {
                let message = "is not in UTF-8, so it cannot be changed without damage";
                Error::new(Stage::Config, Kind::Refused, "crontab", message)
                    .because(error)
                    .hint("convert it with iconv, or pass --systemd or --user")
            })?;
            let after = self.with_blocks(&before, tasks)?;
            changes.extend((after != before).then_some(Change::Crontab { text: after }));
        } else if !tasks.is_empty() {
            let message = "this host has no program \"crontab\"";
            return Err(Error::new(Stage::Config, Kind::Failed, "--cron", message)
                .hint("install cron, or pass --systemd or --user"));
        }
        Ok(changes)
    }

    fn with_blocks(&self, text: &str, tasks: &[(&Job, Task)]) -> Result<String> {
        let mut jobs: BTreeSet<String> = cron::jobs(text, &self.path).into_iter().collect();
        jobs.extend(tasks.iter().map(|(job, _)| job.name.clone()));
        let mut text = text.to_owned();
        for job in jobs.iter().filter(|job| self.includes(job)) {
            let mut lines = Vec::new();
            for (_, task) in tasks.iter().filter(|(of, _)| of.name == *job) {
                lines.extend(self.cron_lines(task)?);
            }
            text = Block { job, config: &self.path }.replace(&text, &lines)?;
        }
        Ok(text)
    }

    fn cron_lines(&self, task: &Task) -> Result<Vec<String>> {
        let invalid = |message: String| Error::new(Stage::Config, Kind::Usage, format!("job {}", task.job), message);
        let zone = self.host.zone().ok_or_else(|| {
            invalid("the time zone of this host has no name, and cron uses it".to_owned())
                .hint("set the time zone with timedatectl, or use systemd")
        })?;
        let fields = cron_fields(&task.schedule, zone, self.now).map_err(invalid)?;
        let user = self.user.as_ref().map(|user| format!("{} ", user.name)).unwrap_or_default();
        let line = |time: &str, more: &[&str]| {
            let words = self.command(task, &[more, &["--quiet"]].concat());
            let words: Vec<String> = words.iter().map(|word| cron::quoted(word)).collect();
            // cron mails what is printed: only errors.
            format!("{time} {user}{} >/dev/null", words.join(" "))
        };
        let mut lines = vec![line(&fields, &["--delayed"])];
        if task.catch_up {
            lines.push(line("@reboot", &["--missed"]));
        }
        Ok(lines)
    }
}
