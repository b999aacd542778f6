//! Checks the target before a byte is fetched, and reports all obstacles together.

use std::collections::BTreeSet;
use std::path::Path;

use longshore_core::check::Finding;
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Cleanup, Owners, Privileges, Scripts, TargetContent};
use longshore_core::stage::RestoreRequest;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::Facts;
use longshore_pg_archive::listing::{description, split_owner};
use longshore_pg_client::tool::Version;
use longshore_pg_client::{leftover, money};
use serde::Deserialize;

use crate::preload::LoadedLibraries;
use crate::rights::{Needs, Rights};
use crate::target_database::{self, DatabaseState, maintenance};
use crate::{Restorer, active_objects, archive, drop_blockers, psql, role_map, selection};

/// The objects and properties of a target.
#[derive(Debug, Deserialize)]
struct TargetObjects {
    extensions: BTreeSet<String>,
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// The data directory, if the server is reached by a socket of this host and the role may read
    /// the setting.
    data_directory: Option<String>,
}

const TARGET_OBJECTS: &str = "select json_build_object(
    'extensions', (select coalesce(json_agg(name), '[]') from pg_catalog.pg_available_extensions),
    'roles', (select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles),
    'tablespaces', (select coalesce(json_agg(spcname), '[]') from pg_catalog.pg_tablespace),
    'data_directory', (select setting from pg_catalog.pg_settings where name = 'data_directory' and inet_server_addr() is null))";

/// Checks the target for all requirements of the backups.
pub(crate) async fn check(restorer: &Restorer, wanted: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
    let client = maintenance(&restorer.client, "postgres");
    let version = restorer.version().await?;
    let existing: TargetObjects = client.query(TARGET_OBJECTS).await?;
    let rights = Rights::query(&client, version).await?;
    let loaded_libraries = LoadedLibraries::query(&client).await?;
    let mut findings = vec![Finding::good("target", format!("PostgreSQL {version}"))];
    let restores_roles = wanted.iter().any(|wanted| wanted.manifest.subject.kind() == SubjectKind::ClusterSql);
    for wanted in wanted {
        let manifest = wanted.manifest;
        let mut errors: Vec<Error> = Vec::new();
        errors.extend(older_target(manifest, version));
        let (state, obstacles) = obstacles(restorer, manifest).await?;
        errors.extend(obstacles);
        let subject = manifest.subject.to_string();
        for error in errors {
            findings.push(Finding::failed(&subject, &error));
        }
        let Some(facts) = wanted.details.and_then(selection::facts) else {
            findings.extend(rights.findings(&subject, &Needs::default(), state, false));
            continue;
        };
        let selected_part = SelectedPart::new(restorer, manifest, &facts, state);
        findings.extend(missing(restorer, manifest, &facts, &selected_part, &existing, restores_roles));
        let is_whole = restorer.target.selection.is_all();
        findings.extend(rights.findings(&subject, &selected_part.needs(restorer, &facts, &existing), state, is_whole));
        findings.extend(loaded_libraries.findings(
            &subject,
            selected_part.database,
            &selected_part.extensions,
            is_whole,
        ));
        findings.extend(active_objects::findings(&subject, &selected_part.lines, &selected_part.extensions));
        if restorer.target.content == TargetContent::Append && !rights.superuser && !selected_part.defines_tables() {
            let message = "rows are added to existing tables in an order that may violate their foreign keys; their triggers fire";
            let remedy = "restore as a superuser, which disables both (--disable-triggers of pg_restore)";
            findings.push(Finding::warning(&subject, message, remedy));
        }
    }
    findings.extend(unused_role_map(restorer, wanted));
    if restorer.target.cleanup == Cleanup::ByRestore {
        findings.extend(leftover::find(&client).await?.iter().map(|left| left.finding("target")));
    }
    findings.push(space_finding(wanted, existing.data_directory.as_deref(), "target", "the data directory"));
    let in_files = wanted.iter().filter(|wanted| archive::needs_files(&restorer.target, wanted.manifest));
    let in_files: Vec<_> = in_files.copied().collect();
    if let (Some(folder), false) = (&restorer.target.scratch_dir, in_files.is_empty()) {
        findings.push(space_finding(&in_files, folder.to_str(), "--scratch-dir", "the directory"));
    }
    Ok(findings)
}

fn older_target(manifest: &Manifest, target: &Version) -> Option<Error> {
    let source = Version::parse(&manifest.cluster.server.server_version)?;
    let message = format!("was dumped from PostgreSQL {source}, but the target is PostgreSQL {target}, which is older");
    (source.major > target.major).then(|| {
        Error::new(Stage::Restore, Kind::Refused, manifest.subject.to_string(), message)
            .hint("restore into a cluster of the same or a newer major version")
    })
}

/// Returns the state of the database to restore into, and the obstacles in the target or in the
/// programs of this host. Fails for invalid requests, and if the target cannot be queried.
async fn obstacles(restorer: &Restorer, manifest: &Manifest) -> Result<(Option<DatabaseState>, Vec<Error>)> {
    let mut all = Vec::new();
    let mut found = None;
    let (client, target) = (&restorer.client, &restorer.target);
    if manifest.artifact.format == Format::Plain && target.scripts == Scripts::Harmless {
        // Scripts of roles and tablespaces are checked statement by statement.
        let is_checked = matches!(manifest.subject, Subject::Globals | Subject::Roles | Subject::Tablespaces);
        if !is_checked {
            all.extend(psql::expect_safe(&client.newest_tool("psql").await?.version, manifest).err());
        }
    }
    match &manifest.subject {
        Subject::Database { name } => {
            selection::expect_whole_backup(target)?;
            selection::expect_archive(target, manifest)?;
            role_map::expect_supported_format(target, manifest)?;
            archive::expect_scratch(target, manifest)?;
            if manifest.artifact.format != Format::Plain {
                all.extend(restorer.tool("pg_restore", manifest).await.err());
            }
            let database = restorer.database(name);
            all.extend(money::as_dumped(&maintenance(client, database), manifest.database.as_ref()).await.err());
            match target_database::check(client, target, database, manifest.database.as_ref()).await {
                Ok(state) => {
                    found = Some(state);
                    if state == DatabaseState::ToReplace {
                        match target_database::aside_name(client, database, manifest.time).await {
                            Err(error) if error.kind() == Kind::Refused => all.push(error),
                            result => result.map(drop)?,
                        }
                        all.extend(drop_blockers::errors(&maintenance(client, database), database).await?);
                    }
                    if let Some(facts) = &manifest.database {
                        all.extend(target_database::incompatibility(client, state, database, facts).await?);
                    }
                }
                Err(error) if matches!(error.kind(), Kind::Refused | Kind::NotFound) => {
                    let missing = error.kind() == Kind::NotFound;
                    all.push(error);
                    // The existing database may also have the wrong encoding or locale.
                    let state = if missing { DatabaseState::ToCreate } else { DatabaseState::Ready };
                    if let Some(facts) = &manifest.database {
                        all.extend(target_database::incompatibility(client, state, database, facts).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Subject::Schema | Subject::All => {
            match target_database::expect_empty_cluster(client, target, &manifest.subject.to_string()).await {
                Err(error) if error.kind() == Kind::Refused => all.push(error),
                result => result?,
            }
        }
        Subject::Globals | Subject::Roles | Subject::Tablespaces | Subject::Base => {}
    }
    Ok((found, all))
}

/// The selected part of a backup, according to its record.
struct SelectedPart<'a> {
    /// The database to restore into.
    database: &'a str,
    /// The selected lines of the archive's list.
    lines: Vec<&'a str>,
    extensions: BTreeSet<String>,
    /// The tablespace of the database itself, if the database is created as it was.
    tablespace: Option<&'a str>,
}

impl<'a> SelectedPart<'a> {
    fn new(restorer: &'a Restorer, manifest: &'a Manifest, facts: &'a Facts, state: Option<DatabaseState>) -> Self {
        let name = match &manifest.subject {
            Subject::Database { name } => name.as_str(),
            _ => "",
        };
        let database = restorer.database(name);
        let lines = selection::lines(&restorer.target.selection, facts);
        let is_created = matches!(state, Some(DatabaseState::ToCreate | DatabaseState::ToReplace));
        let tablespace = facts.database_tablespace.as_deref().filter(|_| is_created && database == name);
        let is_all = restorer.target.selection.is_all();
        let extensions = match is_all {
            true => extensions(facts),
            false => entry_names(&lines, "EXTENSION").into_iter().collect(),
        };
        Self { database, lines, extensions, tablespace }
    }

    /// Returns true if the part creates the tables that it fills.
    fn defines_tables(&self) -> bool {
        self.lines.iter().any(|line| is_kind(line, "TABLE"))
    }

    /// Returns the parts that need rights.
    fn needs<'n>(&'n self, restorer: &'n Restorer, facts: &'n Facts, existing: &'n TargetObjects) -> Needs<'n> {
        let target = &restorer.target;
        let mut needs = Needs { extensions: self.extensions.iter().map(String::as_str).collect(), ..Needs::default() };
        needs.tablespaces = facts.tablespaces.iter().map(String::as_str).chain(self.tablespace).collect();
        needs.tablespaces.retain(|name| existing.tablespaces.contains(*name));
        let is_selected = |kind: &&String| self.lines.iter().any(|line| is_kind(line, kind));
        needs.kinds = facts.objects.keys().filter(is_selected).map(String::as_str).collect();
        if target.owners == Owners::AsDumped {
            let owners = facts.roles.iter().filter(|role| self.owns(role));
            let mapped = |role: &'n String| target.role_map.get(role).unwrap_or(role).as_str();
            needs.owners = owners.map(mapped).filter(|role| existing.roles.contains(*role)).collect();
        }
        needs
    }

    /// Returns true if a role owns an entry that must be restored. PostgreSQL's own roles exist
    /// everywhere.
    fn owns(&self, role: &str) -> bool {
        let ending = format!(" {role}");
        let is_main = |line: &&str| !OPTIONAL_KINDS.iter().any(|kind| is_kind(line, kind));
        !role.starts_with("pg_") && self.lines.iter().filter(|line| is_main(line)).any(|line| line.ends_with(&ending))
    }
}

/// Kinds of entries that may fail separately, or whose owner is that of their table.
const OPTIONAL_KINDS: [&str; 26] = [
    "ACL",
    "CHECK CONSTRAINT",
    "COMMENT",
    "CONSTRAINT",
    "DEFAULT",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "POLICY",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "RULE",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS DATA",
    "SUBSCRIPTION",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TRIGGER",
];

/// Returns true if a line of a list is an entry of this kind.
fn is_kind(line: &str, kind: &str) -> bool {
    let rest = description(line).and_then(|rest| rest.strip_prefix(kind)?.strip_prefix(' '));
    // `TABLE DATA public t app` is not a table; a schema named DATA is disregarded.
    rest.is_some_and(|rest| {
        !["DATA ", "ATTACH ", "ACL ", "TABLE ", "TABLES "].iter().any(|more| rest.starts_with(more))
    })
}

/// Returns the names of the entries of a kind that are in no schema.
pub(crate) fn entry_names(lines: &[&str], kind: &str) -> Vec<String> {
    let prefix = format!("{kind} - ");
    let name = |line: &&str| {
        let rest = description(line)?.strip_prefix(&prefix)?;
        Some(split_owner(rest, [] as [&str; 0]).0.to_owned())
    };
    lines.iter().filter_map(name).collect()
}

/// Returns findings for objects that the archive needs and the target lacks, according to its
/// record.
fn missing(
    restorer: &Restorer,
    manifest: &Manifest,
    facts: &Facts,
    selected_part: &SelectedPart<'_>,
    existing: &TargetObjects,
    restores_roles: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (target, subject) = (&restorer.target, manifest.subject.to_string());
    let missing_objects = selection::missing_objects(&target.selection, facts);
    if !missing_objects.is_empty() {
        let error = Error::new(
            Stage::Restore,
            Kind::Refused,
            &subject,
            format!("contains no {}", missing_objects.join(", no ")),
        )
        .hint("list its content: use --list instead of --to");
        findings.push(Finding::failed(&subject, &error));
    }
    let mut report = |kind: &str, names: Vec<String>, is_refused: bool, remedy: &str| {
        if names.is_empty() {
            return;
        }
        let several = if names.len() == 1 { "" } else { "s" };
        let names = names.iter().map(|name| format!("\"{}\"", printable(name))).collect::<Vec<_>>().join(", ");
        let message = format!("the target lacks the {kind}{several} {names}");
        findings.push(if is_refused {
            let error = Error::new(Stage::Restore, Kind::Refused, &subject, message).hint(remedy);
            Finding::failed(&subject, &error)
        } else {
            // The selected part may not need them.
            Finding::warning(&subject, message, remedy)
        });
    };
    let everything = target.selection.is_all();
    let extensions =
        selected_part.extensions.iter().filter(|name| !existing.extensions.contains(*name)).cloned().collect();
    report(
        "extension",
        extensions,
        everything,
        "install them on the target's host (Debian: apt-get install postgresql-contrib, or the extension's package)",
    );
    let tablespaces = facts.tablespaces.iter().map(String::as_str).chain(selected_part.tablespace);
    let tablespaces: BTreeSet<_> = tablespaces.filter(|name| !existing.tablespaces.contains(*name)).collect();
    let tablespaces = tablespaces.into_iter().map(str::to_owned).collect();
    let (mapped, unmapped): (Vec<_>, Vec<_>) =
        needed_roles(restorer, facts, existing).into_iter().partition(|name| target.role_map.contains_key(name));
    let is_missing = |name: &String| !existing.roles.contains(name);
    // The globals restored before may contain them.
    report(
        "role",
        mapped.iter().map(|name| &target.role_map[name]).filter(|name| is_missing(name)).cloned().collect(),
        !restores_roles,
        "create the roles named in --role-map, or remove those that the selected part does not need",
    );
    if !restores_roles {
        let (owners, others): (Vec<_>, Vec<_>) = unmapped
            .into_iter()
            .filter(is_missing)
            .partition(|role| facts.roles.is_empty() || selected_part.owns(role));
        let remedy = "restore the globals first with --globals, create the roles, or add --role-map or --no-owner and --no-privileges";
        report("role", owners, everything, remedy);
        // Only privileges granted to these roles are skipped.
        report("role", others, false, remedy);
        report(
            "tablespace",
            tablespaces,
            everything,
            "restore the globals first with --globals, or create the tablespaces",
        );
    }
    findings
}

/// Returns the extensions that the archive creates, for an older record from the list.
fn extensions(facts: &Facts) -> BTreeSet<String> {
    if !facts.extensions.is_empty() {
        return facts.extensions.clone();
    }
    let name = |line: &String| Some(line.split_once(" EXTENSION - ")?.1.trim_end().to_owned());
    facts.toc.iter().filter(|line| !line.contains(" COMMENT ")).filter_map(name).collect()
}

/// Returns the roles that must exist for the restored objects, by their names in the backup.
fn needed_roles(restorer: &Restorer, facts: &Facts, existing: &TargetObjects) -> BTreeSet<String> {
    let target = &restorer.target;
    let known = facts.roles.iter().chain(&existing.roles).chain(target.role_map.keys()).cloned().collect();
    let owners: BTreeSet<String> = facts.toc.iter().filter_map(|line| owner(line, &known)).collect();
    let others = facts.roles.difference(&owners).cloned().collect();
    match (target.owners, target.privileges) {
        (Owners::AsDumped, Privileges::AsDumped) if facts.roles.is_empty() => owners,
        (Owners::AsDumped, Privileges::AsDumped) => facts.roles.clone(),
        (Owners::AsDumped, Privileges::OwnerOnly) => owners,
        (Owners::Restorer, Privileges::AsDumped) => others,
        (Owners::Restorer, Privileges::OwnerOnly) => BTreeSet::new(),
    }
}

/// Returns the owner of an entry of the list, if it has one.
fn owner(line: &str, known: &BTreeSet<String>) -> Option<String> {
    Some(split_owner(line, known).1.to_owned()).filter(|owner| !owner.is_empty())
}

/// Reports roles to rename that no restored object names according to the record: most likely
/// misspelt.
fn unused_role_map(restorer: &Restorer, wanted: &[RestoreRequest<'_>]) -> Option<Finding> {
    let databases = wanted.iter().filter(|wanted| wanted.manifest.subject.kind() == SubjectKind::Database);
    let facts: Option<Vec<Facts>> = databases.map(|wanted| wanted.details.and_then(selection::facts)).collect();
    // Older records contain no roles.
    let facts = facts.filter(|facts| facts.iter().all(|facts| !facts.roles.is_empty()))?;
    let is_named = |name: &&String| facts.iter().any(|facts| facts.roles.contains(*name));
    let unused = restorer.target.role_map.keys().filter(|name| !is_named(name));
    let unused: Vec<_> = unused.map(|name| format!("\"{}\"", printable(name))).collect();
    let remedy = "check the names, including upper and lower case: they must match the roles of the dumped cluster";
    let message = format!("no restored object names {}", unused.join(", "));
    (!unused.is_empty()).then(|| Finding::warning("--role-map", message, remedy))
}

/// Checks the free space for the restored data, if it can be determined.
fn space_finding(wanted: &[RestoreRequest<'_>], path: Option<&str>, subject: &str, name: &str) -> Finding {
    let needed: u64 = wanted.iter().map(|wanted| wanted.manifest.artifact.plaintext.bytes).sum();
    let needed_mib = needed >> 20;
    let free = path.and_then(|path| rustix::fs::statvfs(Path::new(path)).ok());
    let Some(free) = free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)) else {
        let remedy = format!("provide space for dumps of {needed_mib} MiB, and for their indexes");
        return Finding::warning(
            subject,
            format!("the free space of {name} cannot be determined from this host"),
            remedy,
        );
    };
    let free_mib = free >> 20;
    if free >= needed {
        return Finding::good(subject, format!("{name} has {free_mib} MiB free, for dumps of {needed_mib} MiB"));
    }
    let message = format!("{name} has {free_mib} MiB free, but the dumps alone take {needed_mib} MiB");
    Finding::failed(
        subject,
        &Error::new(Stage::Restore, Kind::Refused, path.unwrap_or_default(), message).hint("free disk space"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_the_last_word_or_a_known_name() {
        let known: BTreeSet<String> = ["app".to_owned(), "old app".to_owned()].into();
        assert_eq!(owner("5; 1259 16390 TABLE public t app", &known), Some("app".into()));
        assert_eq!(owner("5; 1259 16390 TABLE public t old app", &known), Some("old app".into()));
        assert_eq!(owner("5; 1259 16390 TABLE public t other", &known), Some("other".into()));
        assert_eq!(owner("2; 3079 16385 EXTENSION - pgcrypto ", &known), None);
    }
}
