//! A look at the target before a byte is fetched: all that stands in the way, at once.

use std::collections::BTreeSet;
use std::path::Path;

use longshore_core::check::Finding;
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{Cleanup, Owners, Privileges, Scripts, TargetContent};
use longshore_core::stage::Wanted;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::Facts;
use longshore_pg_archive::listing::{description, split_owner};
use longshore_pg_client::tool::Version;
use longshore_pg_client::{leftover, money};
use serde::Deserialize;

use crate::landing::{self, Landing, maintenance};
use crate::preload::Loaded;
use crate::rights::{Needs, Rights};
use crate::{Restorer, active, archive, occupied, psql, roles, selection};

/// What a target has.
#[derive(Debug, Deserialize)]
struct Surroundings {
    extensions: BTreeSet<String>,
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// Where it lies, if the server is reached by a socket of this machine and the role may know.
    data_directory: Option<String>,
}

const SURROUNDINGS: &str = "select json_build_object(
    'extensions', (select coalesce(json_agg(name), '[]') from pg_catalog.pg_available_extensions),
    'roles', (select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles),
    'tablespaces', (select coalesce(json_agg(spcname), '[]') from pg_catalog.pg_tablespace),
    'data_directory', (select setting from pg_catalog.pg_settings where name = 'data_directory' and inet_server_addr() is null))";

/// Looks at the target for all that is wanted of it.
pub(crate) async fn look(restorer: &Restorer, wanted: &[Wanted<'_>]) -> Result<Vec<Finding>> {
    let client = maintenance(&restorer.client, "postgres");
    let version = restorer.version().await?;
    let there: Surroundings = client.ask(SURROUNDINGS).await?;
    let rights = Rights::look(&client, version).await?;
    let loaded = Loaded::look(&client).await?;
    let mut findings = vec![Finding::good("target", format!("PostgreSQL {version}"))];
    let brings_roles = wanted.iter().any(|wanted| !wanted.manifest.subject.is_database());
    for wanted in wanted {
        let manifest = wanted.manifest;
        let mut errors: Vec<Error> = Vec::new();
        errors.extend(too_old(manifest, version));
        let (landing, hindrances) = hindrances(restorer, manifest).await?;
        errors.extend(hindrances);
        let subject = manifest.subject.to_string();
        for error in errors {
            findings.push(Finding::failed(&subject, &error));
        }
        let Some(facts) = wanted.details.and_then(selection::facts) else {
            findings.extend(rights.findings(&subject, &Needs::default(), landing, false));
            continue;
        };
        let chosen = Chosen::new(restorer, manifest, &facts, landing);
        findings.extend(missing(restorer, manifest, &facts, &chosen, &there, brings_roles));
        let is_whole = restorer.target.selection.is_all();
        findings.extend(rights.findings(&subject, &chosen.needs(restorer, &facts, &there), landing, is_whole));
        findings.extend(loaded.findings(&subject, chosen.database, &chosen.extensions, is_whole));
        findings.extend(active::findings(&subject, &chosen.lines, &chosen.extensions));
        if restorer.target.content == TargetContent::Append && !rights.superuser && !chosen.defines_tables() {
            let message =
                "rows are added to tables whose foreign keys and triggers act on them, in no order that suits them";
            let remedy = "restore as a superuser, who may disable them (--disable-triggers of pg_restore)";
            findings.push(Finding::warning(&subject, message, remedy));
        }
    }
    findings.extend(unnamed(restorer, wanted));
    if restorer.target.cleanup == Cleanup::ByRestore {
        findings.extend(leftover::find(&client).await?.iter().map(|left| left.finding("target")));
    }
    findings.push(room(wanted, there.data_directory.as_deref(), "target", "the data directory"));
    let in_files = wanted.iter().filter(|wanted| archive::in_files(&restorer.target, wanted.manifest));
    let in_files: Vec<_> = in_files.copied().collect();
    if let (Some(folder), false) = (&restorer.target.scratch_dir, in_files.is_empty()) {
        findings.push(room(&in_files, folder.to_str(), "--scratch-dir", "the folder"));
    }
    Ok(findings)
}

fn too_old(manifest: &Manifest, target: &Version) -> Option<Error> {
    let source = Version::parse(&manifest.cluster.server.server_version)?;
    let message = format!("comes from PostgreSQL {source}, and the target is PostgreSQL {target}, which is older");
    (source.major > target.major).then(|| {
        Error::new(Stage::Restore, Kind::Refused, manifest.subject.to_string(), message)
            .hint("restore into a cluster of the same or a newer major version")
    })
}

/// The database that one backup is restored into, and what of the target, or of the programs here, stands in the way of it. What was
/// asked for wrongly, and a target that cannot be looked at, are errors.
async fn hindrances(restorer: &Restorer, manifest: &Manifest) -> Result<(Option<Landing>, Vec<Error>)> {
    let mut all = Vec::new();
    let mut found = None;
    let (client, target) = (&restorer.client, &restorer.target);
    if manifest.artifact.format == Format::Plain && target.scripts == Scripts::Harmless {
        // Roles and tablespaces are looked through, statement by statement.
        let looked_through = matches!(manifest.subject, Subject::Globals | Subject::Roles | Subject::Tablespaces);
        if !looked_through {
            all.extend(psql::judge(&client.newest_tool("psql").await?.version, manifest).err());
        }
    }
    match &manifest.subject {
        Subject::Database { name } => {
            selection::expect_whole_for_whole(target)?;
            selection::expect_archive(target, manifest)?;
            roles::expect_known_form(target, manifest)?;
            archive::needs_scratch(target, manifest)?;
            if manifest.artifact.format != Format::Plain {
                all.extend(restorer.tool("pg_restore", manifest).await.err());
            }
            let database = restorer.database(name);
            all.extend(money::as_dumped(&maintenance(client, database), manifest.database.as_ref()).await.err());
            match landing::look(client, target, database).await {
                Ok(landing) => {
                    found = Some(landing);
                    if landing == Landing::ToBeReplaced {
                        match landing::free_name_before(client, database, manifest.time).await {
                            Err(error) if error.kind() == Kind::Refused => all.push(error),
                            looked => looked.map(drop)?,
                        }
                        all.extend(occupied::hindrances(&maintenance(client, database), database).await?);
                    }
                    if let Some(facts) = &manifest.database {
                        all.extend(landing::misfit(client, landing, database, facts).await?);
                    }
                }
                Err(error) if matches!(error.kind(), Kind::Refused | Kind::NotFound) => {
                    let missing = error.kind() == Kind::NotFound;
                    all.push(error);
                    // What there is may be of the wrong kind, too.
                    let landing = if missing { Landing::ToBeMade } else { Landing::There };
                    if let Some(facts) = &manifest.database {
                        all.extend(landing::misfit(client, landing, database, facts).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Subject::Schema | Subject::All => {
            match landing::expect_empty_cluster(client, target, &manifest.subject.to_string()).await {
                Err(error) if error.kind() == Kind::Refused => all.push(error),
                looked => looked?,
            }
        }
        Subject::Globals | Subject::Roles | Subject::Tablespaces => {}
    }
    Ok((found, all))
}

/// The part of a backup that is wanted, as its record tells.
struct Chosen<'a> {
    /// The database that it is restored into.
    database: &'a str,
    /// Its lines of the archive's list.
    lines: Vec<&'a str>,
    extensions: BTreeSet<String>,
    /// The tablespace of the database itself, where that is made as it was.
    tablespace: Option<&'a str>,
}

impl<'a> Chosen<'a> {
    fn new(restorer: &'a Restorer, manifest: &'a Manifest, facts: &'a Facts, landing: Option<Landing>) -> Self {
        let name = match &manifest.subject {
            Subject::Database { name } => name.as_str(),
            _ => "",
        };
        let database = restorer.database(name);
        let lines = selection::lines(&restorer.target.selection, facts);
        let made = matches!(landing, Some(Landing::ToBeMade | Landing::ToBeReplaced));
        let tablespace = facts.database_tablespace.as_deref().filter(|_| made && database == name);
        let is_all = restorer.target.selection.is_all();
        let extensions = match is_all {
            true => extensions(facts),
            false => named(&lines, "EXTENSION").into_iter().collect(),
        };
        Self { database, lines, extensions, tablespace }
    }

    /// Whether it makes the tables that it fills.
    fn defines_tables(&self) -> bool {
        self.lines.iter().any(|line| kind_is(line, "TABLE"))
    }

    /// What of it needs rights.
    fn needs<'n>(&'n self, restorer: &'n Restorer, facts: &'n Facts, there: &'n Surroundings) -> Needs<'n> {
        let target = &restorer.target;
        let mut needs = Needs { extensions: self.extensions.iter().map(String::as_str).collect(), ..Needs::default() };
        needs.tablespaces = facts.tablespaces.iter().map(String::as_str).chain(self.tablespace).collect();
        needs.tablespaces.retain(|name| there.tablespaces.contains(*name));
        let chosen = |kind: &&String| self.lines.iter().any(|line| kind_is(line, kind));
        needs.kinds = facts.objects.keys().filter(chosen).map(String::as_str).collect();
        if target.owners == Owners::AsDumped {
            let owners = facts.roles.iter().filter(|role| self.owns(role));
            let mapped = |role: &'n String| target.role_map.get(role).unwrap_or(role).as_str();
            needs.owners = owners.map(mapped).filter(|role| there.roles.contains(*role)).collect();
        }
        needs
    }

    /// Whether a role owns something without which nothing is restored. Those of PostgreSQL's own are what every database has.
    fn owns(&self, role: &str) -> bool {
        let ending = format!(" {role}");
        let is_main = |line: &&str| !LATER.iter().any(|kind| kind_is(line, kind));
        !role.starts_with("pg_") && self.lines.iter().filter(|line| is_main(line)).any(|line| line.ends_with(&ending))
    }
}

/// Kinds of entries that fail alone, or that have the owner of their table.
const LATER: [&str; 26] = [
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

/// Whether a line of a list is of an entry of this kind.
fn kind_is(line: &str, kind: &str) -> bool {
    let rest = description(line).and_then(|rest| rest.strip_prefix(kind)?.strip_prefix(' '));
    // `TABLE DATA public t app` is no table: a schema of the name DATA is none that a dump brings along by chance.
    rest.is_some_and(|rest| {
        !["DATA ", "ATTACH ", "ACL ", "TABLE ", "TABLES "].iter().any(|more| rest.starts_with(more))
    })
}

/// The names of the entries of a kind that are in no schema.
pub(crate) fn named(lines: &[&str], kind: &str) -> Vec<String> {
    let begins = format!("{kind} - ");
    let name = |line: &&str| {
        let rest = description(line)?.strip_prefix(&begins)?;
        Some(split_owner(rest, [] as [&str; 0]).0.to_owned())
    };
    lines.iter().filter_map(name).collect()
}

/// What the archive needs and the target does not have, as far as its record tells.
fn missing(
    restorer: &Restorer,
    manifest: &Manifest,
    facts: &Facts,
    chosen: &Chosen<'_>,
    there: &Surroundings,
    brings_roles: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (target, subject) = (&restorer.target, manifest.subject.to_string());
    let absent = selection::absent(&target.selection, facts);
    if !absent.is_empty() {
        let error = Error::new(Stage::Restore, Kind::Refused, &subject, format!("holds no {}", absent.join(", no ")))
            .hint("see what is in it: give --list instead of --to");
        findings.push(Finding::failed(&subject, &error));
    }
    let mut tell = |what: &str, names: Vec<String>, is_refused: bool, remedy: &str| {
        if names.is_empty() {
            return;
        }
        let several = if names.len() == 1 { "" } else { "s" };
        let names = names.iter().map(|name| format!("\"{}\"", printable(name))).collect::<Vec<_>>().join(", ");
        let message = format!("the target does not have the {what}{several} {names}");
        findings.push(if is_refused {
            let error = Error::new(Stage::Restore, Kind::Refused, &subject, message).hint(remedy);
            Finding::failed(&subject, &error)
        } else {
            // What is wanted may not need them.
            Finding::warning(&subject, message, remedy)
        });
    };
    let everything = target.selection.is_all();
    let extensions = chosen.extensions.iter().filter(|name| !there.extensions.contains(*name)).cloned().collect();
    tell(
        "extension",
        extensions,
        everything,
        "install them on the target's host (Debian: apt-get install postgresql-contrib, or the extension's package)",
    );
    let tablespaces = facts.tablespaces.iter().map(String::as_str).chain(chosen.tablespace);
    let tablespaces: BTreeSet<_> = tablespaces.filter(|name| !there.tablespaces.contains(*name)).collect();
    let tablespaces = tablespaces.into_iter().map(str::to_owned).collect();
    let (mapped, named): (Vec<_>, Vec<_>) =
        needed_roles(restorer, facts, there).into_iter().partition(|name| target.role_map.contains_key(name));
    let absent = |name: &String| !there.roles.contains(name);
    // The globals that come before may bring them.
    tell(
        "role",
        mapped.iter().map(|name| &target.role_map[name]).filter(|name| absent(name)).cloned().collect(),
        !brings_roles,
        "make the roles that --role-map names, or leave out those that what was chosen does not need",
    );
    if !brings_roles {
        let (owners, others): (Vec<_>, Vec<_>) =
            named.into_iter().filter(absent).partition(|role| facts.roles.is_empty() || chosen.owns(role));
        let remedy = "restore the globals first with --globals, make the roles, or give --role-map or --no-owner and --no-privileges";
        tell("role", owners, everything, remedy);
        // Only what is granted to them is left out.
        tell("role", others, false, remedy);
        tell(
            "tablespace",
            tablespaces,
            everything,
            "restore the globals first with --globals, or make the tablespaces",
        );
    }
    findings
}

/// The extensions that the archive makes; of an older record the list tells.
fn extensions(facts: &Facts) -> BTreeSet<String> {
    if !facts.extensions.is_empty() {
        return facts.extensions.clone();
    }
    let name = |line: &String| Some(line.split_once(" EXTENSION - ")?.1.trim_end().to_owned());
    facts.toc.iter().filter(|line| !line.contains(" COMMENT ")).filter_map(name).collect()
}

/// The roles that must be there for what is restored, by their names in the backup.
fn needed_roles(restorer: &Restorer, facts: &Facts, there: &Surroundings) -> BTreeSet<String> {
    let target = &restorer.target;
    let known = facts.roles.iter().chain(&there.roles).chain(target.role_map.keys()).cloned().collect();
    let owners: BTreeSet<String> = facts.toc.iter().filter_map(|line| owner(line, &known)).collect();
    let others = facts.roles.difference(&owners).cloned().collect();
    match (target.owners, target.privileges) {
        (Owners::AsDumped, Privileges::AsDumped) if facts.roles.is_empty() => owners,
        (Owners::AsDumped, Privileges::AsDumped) => facts.roles.clone(),
        (Owners::AsDumped, Privileges::Left) => owners,
        (Owners::Restorer, Privileges::AsDumped) => others,
        (Owners::Restorer, Privileges::Left) => BTreeSet::new(),
    }
}

/// The owner of an entry of the list, where it has one.
fn owner(line: &str, known: &BTreeSet<String>) -> Option<String> {
    Some(split_owner(line, known).1.to_owned()).filter(|owner| !owner.is_empty())
}

/// The roles that are to be renamed and that nothing wanted names, as far as its record tells: misspelt, most likely.
fn unnamed(restorer: &Restorer, wanted: &[Wanted<'_>]) -> Option<Finding> {
    let databases = wanted.iter().filter(|wanted| wanted.manifest.subject.is_database());
    let facts: Option<Vec<Facts>> = databases.map(|wanted| wanted.details.and_then(selection::facts)).collect();
    // Older records do not have them.
    let facts = facts.filter(|facts| facts.iter().all(|facts| !facts.roles.is_empty()))?;
    let is_named = |name: &&String| facts.iter().any(|facts| facts.roles.contains(*name));
    let unnamed = restorer.target.role_map.keys().filter(|name| !is_named(name));
    let unnamed: Vec<_> = unnamed.map(|name| format!("\"{}\"", printable(name))).collect();
    let remedy =
        "look at the names: the backup's roles are as the dumped cluster has them, upper and lower case included";
    let message = format!("nothing that is restored names {}", unnamed.join(", "));
    (!unnamed.is_empty()).then(|| Finding::warning("--role-map", message, remedy))
}

/// Whether there is room for what is wanted, where that can be told.
fn room(wanted: &[Wanted<'_>], place: Option<&str>, subject: &str, what: &str) -> Finding {
    let needed: u64 = wanted.iter().map(|wanted| wanted.manifest.artifact.plaintext.bytes).sum();
    let needed_mib = needed >> 20;
    let free = place.and_then(|place| rustix::fs::statvfs(Path::new(place)).ok());
    let Some(free) = free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)) else {
        let remedy = format!("see to it that there is room for dumps of {needed_mib} MiB, and for their indexes");
        return Finding::warning(subject, format!("how much room {what} has cannot be told from here"), remedy);
    };
    let free_mib = free >> 20;
    if free >= needed {
        return Finding::good(subject, format!("{what} has {free_mib} MiB free, for dumps of {needed_mib} MiB"));
    }
    let message = format!("{what} has {free_mib} MiB free, and the dumps alone take {needed_mib} MiB");
    Finding::failed(
        subject,
        &Error::new(Stage::Restore, Kind::Refused, place.unwrap_or_default(), message).hint("make room"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_the_last_word_or_a_name_that_is_known_to_hold_spaces() {
        let known: BTreeSet<String> = ["app".to_owned(), "old app".to_owned()].into();
        assert_eq!(owner("5; 1259 16390 TABLE public t app", &known), Some("app".into()));
        assert_eq!(owner("5; 1259 16390 TABLE public t old app", &known), Some("old app".into()));
        assert_eq!(owner("5; 1259 16390 TABLE public t gone", &known), Some("gone".into()));
        assert_eq!(owner("2; 3079 16385 EXTENSION - pgcrypto ", &known), None);
    }
}
