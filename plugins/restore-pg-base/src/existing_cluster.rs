//! The cluster whose files a restore replaces.

use std::fs;
use std::io;
use std::path::Path;

use longshore_core::manifest::Manifest;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::Control;

use crate::member::CONTROL;
use crate::root::failure;

/// The path of `pg_control` while its cluster is being replaced. No server starts without the file
/// itself, and a repeated restore finds here which cluster it was.
pub(crate) const REPLACED_CONTROL: &str = "global/pg_control.replaced";

/// Fails unless a data directory has the files of the cluster that was backed up.
pub(crate) fn expect_same(data: &Path, manifest: &Manifest) -> Result<()> {
    let refused = |message: String| {
        Err(Error::new(Stage::Restore, Kind::Refused, data.display().to_string(), message)
            .hint("name a new directory, or that of the same cluster"))
    };
    if fs::symlink_metadata(data.join("pg_wal")).is_ok_and(|found| found.is_symlink()) {
        return refused("pg_wal is a symbolic link, and the WAL of the backup would be written elsewhere".to_owned());
    }
    let Some(control) = read(data, CONTROL)?.or(read(data, REPLACED_CONTROL)?) else {
        return refused(format!("contains no {CONTROL}, which names its cluster"));
    };
    let found = match Control::parse(&control) {
        Ok(control) => control.system_identifier.to_string(),
        Err(error) => return refused(format!("{CONTROL} cannot be read: {error}")),
    };
    match &manifest.cluster.server.system_identifier {
        Some(expected) if *expected == found => Ok(()),
        Some(expected) => {
            refused(format!("the cluster there has system identifier {found}, that of the backup has {expected}"))
        }
        None => refused("the manifest of the backup does not name its cluster".to_owned()),
    }
}

fn read(data: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = data.join(name);
    match fs::read(&path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(&path, "cannot be read", error)),
    }
}
