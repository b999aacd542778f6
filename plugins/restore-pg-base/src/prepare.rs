//! The check of the target before a byte is fetched, and the plan of the restore.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use longshore_core::base::{BaseFacts, WalLocation};
use longshore_core::check::{Finding, Outcome};
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{DataDirectory, ExistingFiles, Recovery};
use longshore_core::stage::RestoreRequest;
use longshore_core::{Error, Kind, Result, Stage};
use rustix::process::geteuid;

use crate::cluster_files::check_map_path;
use crate::existing_cluster;
use crate::folder::{self, Folder, Purpose};
use crate::overlap;
use crate::owner::{self, Owner};
use crate::space::{self, Need};
use crate::tablespace::{self, Tablespace, TablespaceFolder};

/// A plan without obstacles.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The data directory, new or empty.
    pub(crate) data: PathBuf,
    /// The folder of each tablespace, by OID. Folders outside are new or empty.
    pub(crate) tablespaces: BTreeMap<u32, TablespaceFolder>,
    /// The user to own all files, if it is another user than that of this process.
    pub(crate) owner: Option<Owner>,
    /// The number of backups that precede the one to restore, since it continues them.
    pub(crate) earlier: usize,
    /// The handling of existing files.
    pub(crate) existing: ExistingFiles,
    /// True if the backup needs no label.
    pub(crate) crash_consistent: bool,
    /// The recovery that the cluster begins with.
    pub(crate) recovery: Option<Recovery>,
}

impl Plan {
    /// Returns true if the restore changes and removes files: those of earlier backups, or existing
    /// ones.
    pub(crate) fn changes_files(&self) -> bool {
        self.earlier > 0 || self.existing == ExistingFiles::Replaced
    }
}

/// The result of the check.
#[derive(Debug)]
pub(crate) struct Checked {
    /// All findings, also the obstacles.
    pub(crate) findings: Vec<Finding>,
    plan: Plan,
    obstacles: Vec<Error>,
}

impl Checked {
    /// Returns the plan. Fails if there are obstacles.
    pub(crate) fn into_plan(mut self) -> Result<Plan> {
        if self.obstacles.len() > 1 {
            let lines: Vec<String> = self.obstacles.iter().map(Error::chain).collect();
            let subject = self.plan.data.display().to_string();
            let error =
                Error::new(Stage::Restore, Kind::Refused, subject, "cannot take the backup; nothing was changed");
            return Err(error.because(lines.join("\n")));
        }
        self.obstacles.pop().map_or(Ok(self.plan), Err)
    }
}

/// Checks a target for a backup.
pub(crate) fn check(target: &DataDirectory, request: &RestoreRequest<'_>) -> Checked {
    let process = geteuid();
    let facts = request.manifest.base.as_ref();
    let mut findings: Vec<Finding> = facts.into_iter().flat_map(backup_warnings).collect();
    let mut obstacles: Vec<Error> = broken_chain(request).into_iter().collect();
    obstacles.extend(facts.filter(|_| target.recovery.is_none()).and_then(missing_wal));
    obstacles.extend(facts.filter(|_| target.recovery.is_some()).and_then(without_recovery));
    let mut accept = |checked: Result<Folder>| checked.map_err(|error| obstacles.push(error)).ok();

    let files = target.existing;
    let data = folder::check(&target.path, Purpose::DataDirectory, files, process);
    let data = accept(data.and_then(|folder| match folder.has_files {
        true => existing_cluster::expect_same(&folder.path, request.manifest).map(|()| folder),
        false => Ok(folder),
    }));
    let tablespaces = Tablespace::of_backup(request);
    let (mut assigned, unassigned) = tablespace::assign(tablespaces.as_deref(), &target.tablespaces);
    let mut folders: BTreeMap<u32, Folder> = BTreeMap::new();
    for (oid, assigned) in &mut assigned {
        let TablespaceFolder::Outside(path) = assigned else { continue };
        let checked = folder::check(path, Purpose::Tablespace, files, process);
        let checked = checked.and_then(|folder| check_map_path(*oid, &folder.path).map(|()| folder));
        if let Some(folder) = accept(checked) {
            path.clone_from(&folder.path);
            folders.insert(*oid, folder);
        }
    }
    obstacles.extend(unassigned);
    let all: Vec<&Folder> = data.iter().chain(folders.values()).collect();
    obstacles.extend(overlap::errors(&all));
    let owner = owner::resolve(target.owner.as_deref(), &target.path, process).unwrap_or_else(|error| {
        obstacles.push(error);
        None
    });

    let foreign = all.iter().filter(|folder| !folder.is_new()).filter_map(|folder| {
        let uid = fs::metadata(&folder.path).ok()?.uid();
        owner::expect(owner.as_ref(), &folder.path, uid).err()
    });
    obstacles.extend(foreign);

    findings.extend(all.iter().map(|folder| accepted(folder, owner.as_ref())));
    findings
        .extend(owner.iter().flat_map(|owner| all.iter().filter_map(|folder| owner::unreachable(owner, &folder.path))));
    if tablespaces.is_none() {
        let message = "the tablespaces of the backup are unknown: its manifest records no facts, and its details are missing or cannot be decrypted";
        let remedy =
            "pass an identity that decrypts the details, or name each tablespace: --tablespace OID=/new/folder";
        findings.push(Finding::warning("tablespaces", message, remedy));
    }
    let needs = needs(request, data.as_ref(), &folders);
    let archive_bytes = request.chain().map(|manifest| manifest.artifact.plaintext.bytes).fold(0, u64::saturating_add);
    let mut of_space = space::findings(&needs, archive_bytes);
    if !request.earlier.is_empty() {
        // The sum of a chain's files is the most that their combination may need.
        of_space
            .iter_mut()
            .filter(|found| found.outcome == Outcome::Failed)
            .for_each(|found| found.outcome = Outcome::Warning);
    }
    findings.extend(of_space);
    findings.extend(obstacles.iter().map(|error| Finding::failed(error.subject(), error)));
    let data = data.map_or_else(|| target.path.clone(), |folder| folder.path);
    Checked {
        findings,
        plan: Plan {
            data,
            tablespaces: assigned,
            owner,
            earlier: request.earlier.len(),
            existing: files,
            crash_consistent: facts.is_some_and(|facts| facts.crash_consistent),
            recovery: target.recovery.clone(),
        },
        obstacles,
    }
}

/// Returns the finding of a folder that can be restored into.
fn accepted(folder: &Folder, owner: Option<&Owner>) -> Finding {
    let state = match (folder.is_new(), folder.has_files) {
        (true, _) => "a new directory",
        (false, false) => "an empty directory",
        (false, true) => "the directory of a stopped server of this cluster, whose files are replaced or removed",
    };
    let owner = owner.map(|owner| format!(", for user {}", owner.name)).unwrap_or_default();
    Finding::good(folder.path.display().to_string(), format!("{state}{owner}"))
}

/// Returns the warnings about the backup itself.
fn backup_warnings(facts: &BaseFacts) -> Vec<Finding> {
    let mut warnings = Vec::new();
    if facts.damaged_pages > 0 {
        let message = format!("{} pages were damaged in the source when the backup was made", facts.damaged_pages);
        warnings.push(Finding::warning("base", message, "restore an older backup if their content matters"));
    }
    warnings
}

/// Returns the error of a backup that is not consistent without archived WAL: a server would not
/// start on its files alone.
fn missing_wal(facts: &BaseFacts) -> Option<Error> {
    if facts.wal == WalLocation::Included {
        return None;
    }
    let message = format!("the backup does not contain its WAL, from {} to {}", facts.start_lsn, facts.stop_lsn);
    let hint = "recover it from the archived WAL: --at latest, or --immediate for the state at its end";
    Some(Error::new(Stage::Restore, Kind::Refused, "base", message).hint(hint))
}

/// Returns the error of a backup to which archived WAL cannot be added.
fn without_recovery(facts: &BaseFacts) -> Option<Error> {
    let message = "a crash-consistent snapshot, to which archived WAL cannot be added";
    let error = Error::new(Stage::Restore, Kind::Refused, "base", message);
    facts.crash_consistent.then(|| error.hint("restore it without a target and not as a standby, or another backup"))
}

/// Returns the error of an incremental backup whose earlier backups are not those that it
/// continues.
fn broken_chain(request: &RestoreRequest<'_>) -> Option<Error> {
    let mut chain = request.chain();
    let first = chain.next()?;
    let refused = |manifest: &Manifest, message: &str| {
        let name = manifest.name().map_or_else(|_| manifest.subject.to_string(), |name| name.to_string());
        Error::new(Stage::Restore, Kind::Refused, name, message).hint("restore an older backup")
    };
    if first.is_incremental() {
        return Some(refused(first, "contains only changes since an earlier backup, which is missing"));
    }
    let mut parent = first;
    for child in chain {
        if !child.continues(parent) {
            return Some(refused(child, "does not continue the backup before it"));
        }
        parent = child;
    }
    None
}

/// Returns the size of the files for each folder. A file of a chain is at most as large as all its
/// versions together.
fn needs<'a>(
    request: &RestoreRequest<'_>,
    data: Option<&'a Folder>,
    folders: &'a BTreeMap<u32, Folder>,
) -> Vec<Need<'a>> {
    let all: Option<Vec<&BaseFacts>> = request.chain().map(|manifest| manifest.base.as_ref()).collect();
    let of_tablespace = |oid: u32| {
        let own = all.iter().flatten().flat_map(|facts| &facts.tablespaces).filter(move |own| own.oid == oid);
        own.map(|own| own.bytes).reduce(u64::saturating_add)
    };
    let outside: Option<u64> =
        folders.keys().try_fold(0, |sum: u64, oid| Some(sum.saturating_add(of_tablespace(*oid)?)));
    let total = all.as_ref().map(|all| all.iter().map(|facts| facts.file_bytes).fold(0, u64::saturating_add));
    let in_data = total.zip(outside).map(|(total, outside)| total.saturating_sub(outside));
    let data = data.map(|folder| Need { folder, bytes: in_data });
    let tablespaces = folders.iter().map(|(oid, folder)| Need { folder, bytes: of_tablespace(*oid) });
    // Replaced files need no more space than before, as a rule.
    data.into_iter().chain(tablespaces).filter(|need| !need.folder.has_files).collect()
}

#[cfg(test)]
mod tests;
