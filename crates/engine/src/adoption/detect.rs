//! Looks for the files of other backup tools in a destination.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use longshore_catalog::adopt::detect::{Proposal, propose};
use longshore_catalog::adopt::{AdoptRule, Adopted, Pattern, TABLE_OF_CONTENTS, checksum_of};
use longshore_config::Config;
use longshore_core::Result;
use longshore_core::key::Key;
use serde::Serialize;

use super::hard_links::HardLinks;
use crate::catalogs::{Catalogued, read_available};

/// The reason for a file in the folder of a dump in directory format.
const IN_DIRECTORY: &str = "in the folder of a dump in directory format: a pattern that ends with /toc.dat adopts such a dump, \
                            with the files that pg_dump wrote";

/// The files of other tools in a destination.
#[derive(Debug, Serialize)]
pub struct Detected {
    /// The destination's name.
    pub destination: String,
    /// The rules that adopt the files.
    pub adopts: Vec<DetectedAdopt>,
    /// The files that neither Longshore nor an adopt of the configuration nor one of these rules
    /// claims.
    pub unclaimed: Vec<Unclaimed>,
    /// The number of files that adopts of the configuration claim already.
    pub adopted_already: usize,
}

/// A rule that adopts the files of one tool with names of one form.
#[derive(Debug, Serialize)]
pub struct DetectedAdopt {
    /// The name of the adopt.
    pub name: String,
    /// The tool that makes such names.
    pub tool: &'static str,
    /// The pattern of whole keys.
    pub pattern: String,
    /// The database of all files, if the names do not contain one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<&'static str>,
    /// True if the files are no dumps, but settings and commands that the tool writes beside dumps.
    pub companions: bool,
    /// True if the times in the names are local times without their offset from UTC.
    pub needs_time_zone: bool,
    /// The number of files.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// The databases in the names.
    pub databases: BTreeSet<String>,
    /// The earliest time in the names.
    pub oldest: DateTime<Utc>,
    /// The latest time in the names.
    pub newest: DateTime<Utc>,
    /// The number of files that are hard links of a file listed under another name, if the
    /// destination is a folder of this host.
    pub hard_links: usize,
}

/// A file that no rule claims.
#[derive(Debug, Serialize)]
pub struct Unclaimed {
    /// The key.
    pub key: Key,
    /// The size in bytes.
    pub bytes: u64,
    /// The reason.
    pub why: String,
}

/// Looks for the files of other tools in a destination, and proposes rules that adopt them.
pub async fn detect(config: &Config, destination: &str) -> Result<Detected> {
    let (catalogs, _) = read_available(config, Some(destination)).await?;
    let none =
        Detected { destination: destination.to_owned(), adopts: Vec::new(), unclaimed: Vec::new(), adopted_already: 0 };
    Ok(catalogs.into_iter().next().map_or(none, |at| proposed(config, at)))
}

/// Proposes rules for the files that are not adopted, and applies them.
fn proposed(config: &Config, at: Catalogued) -> Detected {
    let mut catalog = at.catalog;
    let adopted_already = catalog.adopted.values().map(Vec::len).sum();
    catalog.adopted.clear();
    catalog.not_adopted.clear();
    let proposals = propose(catalog.orphans.iter().map(|entry| &entry.key));
    let sizes: BTreeMap<Key, u64> = catalog.orphans.iter().map(|entry| (entry.key.clone(), entry.bytes)).collect();
    let mut names: BTreeSet<String> = config.jobs.keys().chain(config.adoptions.keys()).cloned().collect();
    let rules: Vec<(Proposal, AdoptRule)> = proposals
        .into_iter()
        .map(|proposal| {
            let name = unused_name(&proposal, &mut names);
            let database = proposal.database.map(str::to_owned);
            let pattern = Pattern::clone(&proposal.pattern);
            (proposal, AdoptRule { cluster: name.clone(), name, pattern, timezone: Tz::UTC, database })
        })
        .collect();
    // The rules are applied as prune applies them, so that files of two rules count for none.
    catalog.adopt(rules.iter().map(|(_, rule)| rule));
    let mut links = HardLinks::in_folder(at.store.capabilities().folder);
    let adopts = rules.into_iter().filter_map(|(proposal, rule)| {
        let files: Vec<&Adopted> =
            catalog.adopted.iter().filter(|(series, _)| series.job == rule.name).flat_map(|(_, files)| files).collect();
        Some(DetectedAdopt {
            tool: proposal.scheme.tool,
            pattern: rule.pattern.as_str().to_owned(),
            database: proposal.database,
            companions: proposal.is_of_companions(),
            needs_time_zone: proposal.scheme.needs_time_zone(),
            files: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            databases: files.iter().map(|file| file.series.subject.to_string()).collect(),
            oldest: files.iter().map(|file| file.time).min()?,
            newest: files.iter().map(|file| file.time).max()?,
            hard_links: files.iter().filter(|file| links.first_name(&file.key).is_some()).count(),
            name: rule.name,
        })
    });
    let adopts = adopts.collect();
    let directories = DirectoryDumps::among(&sizes);
    let unclaimed = catalog.not_adopted.into_iter().map(|(key, refusal)| {
        let why = match checksum_of(&key) {
            Some(_) => "the checksum of a file that is not adopted".to_owned(),
            None if directories.contain(&key) => IN_DIRECTORY.to_owned(),
            None => refusal.to_string(),
        };
        Unclaimed { bytes: sizes.get(&key).copied().unwrap_or_default(), key, why }
    });
    let unclaimed = unclaimed.collect();
    Detected { destination: at.name, adopts, unclaimed, adopted_already }
}

/// Returns a name for a rule that no job and no other adopt has: the tool and the extension, such
/// as `pg_back-dump`, with a number if necessary.
fn unused_name(proposal: &Proposal, names: &mut BTreeSet<String>) -> String {
    let pattern = proposal.pattern.as_str();
    let after_fields = pattern.rsplit_once(['%', '}']).map_or(pattern, |(_, rest)| rest);
    let extension =
        after_fields.split_once('.').map_or(String::new(), |(_, end)| format!("-{}", end.replace(['.', '/'], "-")));
    let extension = extension.replace("-d-toc-dat", "-directory");
    let first = format!("{}{extension}", proposal.scheme.section);
    let numbered = (2..).map(|number| format!("{first}-{number}"));
    let name = std::iter::once(first.clone()).chain(numbered).find(|name| !names.contains(name));
    let name = name.unwrap_or_default();
    names.insert(name.clone());
    name
}

/// The folders of dumps in directory format.
struct DirectoryDumps(BTreeSet<String>);

impl DirectoryDumps {
    fn among(sizes: &BTreeMap<Key, u64>) -> Self {
        let tables = sizes.keys().filter(|key| key.file_name() == TABLE_OF_CONTENTS);
        Self(tables.map(|key| key.folder().to_owned()).collect())
    }

    fn contain(&self, key: &Key) -> bool {
        self.0.contains(key.folder())
    }
}
