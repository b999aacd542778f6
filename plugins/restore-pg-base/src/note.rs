//! The notes for the operator after a restore.

use std::path::{Path, PathBuf};

use longshore_core::manifest::Manifest;
use longshore_core::plugin::RecoveryEnd;

use crate::prepare::Plan;
use crate::unpack::Unpacked;

/// The files of settings that a server needs, which Debian keeps outside of the data directory.
const CONFIGURATION: [&str; 2] = ["postgresql.conf", "pg_hba.conf"];

/// The facts for notes that are known before the restore.
pub(crate) struct Notes {
    data: PathBuf,
    owner: Option<String>,
    server_version: String,
    /// The settings that the cluster must have at least, such as `max_connections = 100`.
    settings: Vec<String>,
    /// The number of backups that were combined.
    links: usize,
    /// True if the cluster will be a standby.
    is_standby: bool,
}

impl Notes {
    pub(crate) fn new(plan: &Plan, manifest: &Manifest) -> Self {
        let settings = manifest.base.iter().flat_map(|facts| &facts.settings);
        Self {
            data: plan.data.clone(),
            owner: plan.owner.as_ref().map(|owner| owner.name.clone()),
            server_version: manifest.cluster.server.server_version.clone(),
            settings: settings.map(|(name, value)| format!("{name} = {value}")).collect(),
            links: 1 + plan.earlier,
            is_standby: plan.recovery.as_ref().is_some_and(|recovery| recovery.end == RecoveryEnd::Never),
        }
    }

    /// Returns the notes about a complete copy.
    pub(crate) fn about(&self, unpacked: &Unpacked) -> Vec<String> {
        let mut notes = Vec::new();
        let data = self.data.display();
        if self.links > 1 {
            notes.push(format!(
                "{} backups were combined, a full one and the incremental ones after it; none of their manifests describes \
                 the result, so it has no backup_manifest",
                self.links
            ));
        }
        notes.extend(self.missing_configuration(unpacked));
        if unpacked.top_files.contains("standby.signal") && !self.is_standby {
            notes.push("standby.signal of the backup was skipped: the cluster will start as a primary".to_owned());
        }
        if self.is_standby {
            notes
                .push("the cluster is a standby, and fetches WAL with restore_command until it is promoted".to_owned());
        } else {
            notes.push(
                "archive_mode is off in postgresql.auto.conf, so that the cluster does not write into the WAL archive of \
                 its source; if it replaces the source, set it to on there before the first start, or WAL is lost"
                    .to_owned(),
            );
            notes.push(
                "subscriptions and scheduled jobs of the source run in the copy, too; for a first look, start it with \
                 --options \"-c max_logical_replication_workers=0 -c shared_preload_libraries=\""
                    .to_owned(),
            );
        }
        let user = self.owner.as_ref().map(|name| format!(" as user {name}")).unwrap_or_default();
        let start = format!("pg_ctl -D {} start", quoted(&self.data));
        notes.push(format!("{data} is ready; start PostgreSQL {}{user}: {start}", self.server_version));
        notes
    }

    fn missing_configuration(&self, unpacked: &Unpacked) -> Option<String> {
        let missing: Vec<&str> = CONFIGURATION.into_iter().filter(|name| !unpacked.top_files.contains(*name)).collect();
        if missing.is_empty() {
            return None;
        }
        let settings = if self.settings.is_empty() {
            String::new()
        } else {
            format!(", with at least {}", self.settings.join(", "))
        };
        Some(format!(
            "the backup contains no {}: the source keeps its configuration elsewhere (Debian: /etc/postgresql); write the \
             files into {} before the start{settings}, and remove data_directory, hba_file, ident_file and \
             external_pid_file from a copy, since they name files of the source",
            missing.join(" and no "),
            self.data.display(),
        ))
    }
}

/// Returns a path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+@:".contains(char);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn notes(data: &str, files: &[&str]) -> Vec<String> {
        let notes = Notes {
            data: data.into(),
            owner: Some("postgres".to_owned()),
            server_version: "17.4".to_owned(),
            settings: vec!["max_connections = 100".to_owned()],
            links: 1,
            is_standby: false,
        };
        let top_files = files.iter().map(|name| (*name).to_owned()).collect();
        notes.about(&Unpacked { top_files, unpacking: Duration::ZERO, syncing: Duration::ZERO })
    }

    #[test]
    fn start_command_is_quoted() {
        let notes = notes("/srv/it's new", &CONFIGURATION);
        let [archive, activity, start] = &notes[..] else { panic!("{notes:?}") };
        assert!(activity.contains("max_logical_replication_workers=0"), "{activity}");
        assert!(archive.contains("archive_mode is off"), "{archive}");
        assert!(
            start.ends_with(r"start PostgreSQL 17.4 as user postgres: pg_ctl -D '/srv/it'\''s new' start"),
            "{start}"
        );
        assert_eq!(quoted(Path::new("/srv/data-17.4")), "/srv/data-17.4");
    }

    #[test]
    fn missing_configuration_has_a_way_out() {
        let notes = notes("/srv/data", &["postgresql.conf"]);
        assert!(notes[0].starts_with("the backup contains no pg_hba.conf:"), "{notes:?}");
        for part in ["/etc/postgresql", "into /srv/data", "max_connections = 100", "data_directory"] {
            assert!(notes[0].contains(part), "{part}: {notes:?}");
        }
    }

    #[test]
    fn standby_becomes_a_primary() {
        let notes = notes("/srv/data", &["postgresql.conf", "pg_hba.conf", "standby.signal"]);
        assert!(notes[0].contains("start as a primary"), "{notes:?}");
    }
}
