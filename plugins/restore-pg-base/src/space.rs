//! The free space of the file systems that receive a backup.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use longshore_core::check::Finding;
use longshore_core::{Error, Kind, Stage};

use crate::folder::Folder;
use crate::root::failure;

/// A folder, and the size of the files to be restored into it, if the manifest records it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'a> {
    /// The folder.
    pub(crate) folder: &'a Folder,
    /// The size in bytes.
    pub(crate) bytes: Option<u64>,
}

/// The needs of one file system.
struct FileSystem<'a> {
    /// A folder in it.
    existing: &'a Path,
    paths: Vec<String>,
    needed_bytes: Option<u64>,
    free_bytes: u64,
}

/// Compares the free space of each file system with the files to be restored. `archive_bytes` is
/// the size of the whole backup, for backups whose manifest records no sizes of files.
pub(crate) fn findings(needs: &[Need<'_>], archive_bytes: u64) -> Vec<Finding> {
    let mut file_systems: BTreeMap<u64, FileSystem<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for need in needs {
        let existing = need.folder.existing.as_path();
        let path = need.folder.path.display().to_string();
        let (device, free_bytes) = match device_and_free_bytes(existing) {
            Ok(found) => found,
            Err(error) => {
                let error = failure(existing, "the free space cannot be determined", error);
                findings.push(Finding::warning(path, error.chain(), "check the free space yourself"));
                continue;
            }
        };
        let new = || FileSystem { existing, paths: Vec::new(), needed_bytes: Some(0), free_bytes };
        let file_system = file_systems.entry(device).or_insert_with(new);
        let sum = file_system.needed_bytes.zip(need.bytes).map(|(sum, bytes)| sum.saturating_add(bytes));
        file_system.needed_bytes = sum;
        file_system.paths.push(path);
    }
    findings.extend(file_systems.into_values().map(|file_system| finding(&file_system, archive_bytes)));
    findings
}

fn device_and_free_bytes(folder: &Path) -> std::io::Result<(u64, u64)> {
    let device = std::fs::metadata(folder)?.dev();
    let free = rustix::fs::statvfs(folder)?;
    Ok((device, free.f_bavail.saturating_mul(free.f_frsize)))
}

fn finding(file_system: &FileSystem<'_>, archive_bytes: u64) -> Finding {
    let subject = file_system.paths.join(", ");
    let free_mib = file_system.free_bytes >> 20;
    match file_system.needed_bytes {
        None => {
            let message = format!("{free_mib} MiB are free, but the manifest does not record the sizes of files");
            let remedy = format!("provide space for the whole backup, at most {} MiB", archive_bytes.div_ceil(1 << 20));
            Finding::warning(subject, message, remedy)
        }
        Some(needed) if needed <= file_system.free_bytes => {
            Finding::good(subject, format!("{free_mib} MiB are free, for files of {} MiB", needed.div_ceil(1 << 20)))
        }
        Some(needed) => {
            let message = format!("{free_mib} MiB are free, but the files take {} MiB", needed.div_ceil(1 << 20));
            let error = Error::new(Stage::Restore, Kind::Refused, file_system.existing.display().to_string(), message);
            Finding::failed(subject, &error.hint("free disk space, or restore into another file system"))
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::check::Outcome;

    use super::*;

    #[test]
    fn needs_of_one_file_system_are_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let folder = Folder { path: path.into(), resolved: path.into(), existing: path.into(), has_files: false };
        let free = device_and_free_bytes(path).unwrap().1;
        let outcome = |sizes: &[Option<u64>]| {
            let needs: Vec<Need<'_>> = sizes.iter().map(|bytes| Need { folder: &folder, bytes: *bytes }).collect();
            let findings = findings(&needs, 5 << 20);
            assert_eq!(findings.len(), 1);
            findings[0].outcome
        };
        assert_eq!(outcome(&[Some(1), Some(2)]), Outcome::Good);
        // Three quarters each: one fits, two do not.
        let most = Some(free / 4 * 3);
        assert_eq!([outcome(&[most]), outcome(&[most, most])], [Outcome::Good, Outcome::Failed]);
        assert_eq!(outcome(&[Some(1), None]), Outcome::Warning);
    }

    #[test]
    fn unreadable_file_systems_are_a_warning() {
        let nowhere = Folder {
            path: "/nowhere/x".into(),
            resolved: "/nowhere/x".into(),
            existing: "/nowhere".into(),
            has_files: false,
        };
        let findings = findings(&[Need { folder: &nowhere, bytes: Some(1) }], 1);
        assert_eq!(findings.iter().map(|finding| finding.outcome).collect::<Vec<_>>(), [Outcome::Warning]);
    }
}
