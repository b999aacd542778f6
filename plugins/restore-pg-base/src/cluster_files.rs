//! The files that differ between a backup and the restored cluster: the places of tablespaces, and
//! settings.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use longshore_core::plugin::{Recovery, RecoveryEnd};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::tablespace_map::{self, TablespaceMap};

use crate::tablespace::TablespaceFolder;

/// The file with settings that override those of `postgresql.conf`.
pub(crate) const AUTO_CONF: &str = "postgresql.auto.conf";

/// The lines added to [`AUTO_CONF`]. The last line of a setting counts.
const SETTINGS: &str = "
# Added by the restore with Longshore: this cluster has the system identifier and archive_command
# of its source, and must not write into the source's WAL archive.
# If it replaces the source, remove this line before the first start, or WAL is lost until then.
archive_mode = 'off'
";

/// Returns the file that makes a server recover before it accepts writes.
pub(crate) fn signal(end: RecoveryEnd) -> &'static str {
    match end {
        RecoveryEnd::Target => "recovery.signal",
        RecoveryEnd::Never => "standby.signal",
    }
}

/// Settings of the source that would change the recovery, with the values that do not. Of the
/// targets, a server accepts only one that is not empty; the commands would run on this host.
const NEUTRAL: [(&str, &str); 11] = [
    ("recovery_target", ""),
    ("recovery_target_lsn", ""),
    ("recovery_target_name", ""),
    ("recovery_target_time", ""),
    ("recovery_target_xid", ""),
    ("recovery_target_inclusive", "on"),
    ("recovery_end_command", ""),
    ("archive_cleanup_command", ""),
    ("recovery_min_apply_delay", "0"),
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
];

/// Adds the settings of a restored cluster to a file.
pub(crate) fn write_settings(mut auto_conf: impl Write, recovery: Option<&Recovery>) -> io::Result<()> {
    // A standby archives nothing until it is promoted, and replaces its primary then.
    if recovery.is_none_or(|recovery| recovery.end == RecoveryEnd::Target) {
        auto_conf.write_all(SETTINGS.as_bytes())?;
    }
    let Some(recovery) = recovery else { return Ok(()) };
    writeln!(
        auto_conf,
        "{}",
        match recovery.end {
            RecoveryEnd::Target => "# The recovery from the WAL that the restore copied into pg_wal.",
            RecoveryEnd::Never => "# The standby, which fetches WAL from the archive.",
        }
    )?;
    NEUTRAL.iter().try_for_each(|(name, value)| writeln!(auto_conf, "{name} = '{value}'"))?;
    recovery.settings.iter().try_for_each(|(name, value)| writeln!(auto_conf, "{name} = {}", quoted(value)))
}

/// Returns a value as `postgresql.conf` contains it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n"))
}

/// Returns the content of `tablespace_map` with the new folders, and the OIDs in the map. A server
/// links to the folders in the map when it first starts, so no folder of the source may remain.
pub(crate) fn rewrite_map(content: &[u8], folders: &BTreeMap<u32, TablespaceFolder>) -> Result<(Vec<u8>, Vec<u32>)> {
    let mut map = TablespaceMap::parse(content).map_err(|error| {
        Error::new(Stage::Restore, Kind::Corrupt, tablespace_map::NAME, "not a map of tablespaces").because(error)
    })?;
    let mut oids = Vec::new();
    for place in map.clone().places() {
        match folders.get(&place.oid) {
            Some(TablespaceFolder::Outside(folder)) => set_path(&mut map, place.oid, folder)?,
            Some(TablespaceFolder::InPlace) if !place.path.starts_with(b"/") => {}
            _ => return Err(without_folder(place.oid)),
        }
        oids.push(place.oid);
    }
    Ok((map.to_bytes(), oids))
}

/// Fails if a server could not read the path of a tablespace's folder back from `tablespace_map`.
pub(crate) fn check_map_path(oid: u32, folder: &Path) -> Result<()> {
    let any = TablespaceMap::parse(format!("{oid} /\n").as_bytes());
    set_path(&mut any.unwrap_or_default(), oid, folder)
}

fn set_path(map: &mut TablespaceMap, oid: u32, folder: &Path) -> Result<()> {
    map.set_path(oid, folder.as_os_str().as_bytes()).map_err(|error| {
        let subject = folder.display().to_string();
        Error::new(Stage::Restore, Kind::Refused, subject, "PostgreSQL cannot use this folder for a tablespace")
            .because(error)
            .hint("name a folder with a shorter path")
    })
}

/// Returns the error of a tablespace that no option names.
pub(crate) fn without_folder(oid: u32) -> Error {
    Error::new(Stage::Restore, Kind::Refused, format!("tablespace {oid}"), "no folder for this tablespace")
        .hint(format!("name a new or empty folder: --tablespace {oid}=/new/folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> BTreeMap<u32, TablespaceFolder> {
        BTreeMap::from([(16398, TablespaceFolder::Outside("/new/a\nb\\c".into())), (16399, TablespaceFolder::InPlace)])
    }

    #[test]
    fn map_gets_the_new_folders() {
        let (content, oids) = rewrite_map(b"16398 /srv/old\n16399 pg_tblspc/16399\n", &folders()).unwrap();
        assert_eq!(content, b"16398 /new/a\\\nb\\\\c\n16399 pg_tblspc/16399\n");
        assert_eq!(oids, [16398, 16399]);
        assert_eq!(rewrite_map(b"", &folders()).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn map_never_keeps_a_folder_of_the_source() {
        for (content, kind) in
            [("16399 /srv/old\n", Kind::Refused), ("5 /srv/old\n", Kind::Refused), ("16398 /x", Kind::Corrupt)]
        {
            assert_eq!(rewrite_map(content.as_bytes(), &folders()).unwrap_err().kind(), kind, "{content}");
        }
    }

    #[test]
    fn paths_that_no_server_reads_are_refused() {
        check_map_path(16398, Path::new("/new/folder")).unwrap();
        let long = format!("/{}", "x".repeat(1100));
        assert_eq!(check_map_path(16398, Path::new(&long)).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn archive_mode_is_the_last_setting() {
        let mut content = b"archive_mode = 'on'".to_vec();
        write_settings(&mut content, None).unwrap();
        let text = String::from_utf8(content).unwrap();
        let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(settings, ["archive_mode = 'on'", "archive_mode = 'off'"]);
    }

    #[test]
    fn recovery_has_one_target() {
        let settings = vec![("recovery_target_name".to_owned(), "before O'Neil\\'s change".to_owned())];
        let recovery =
            Recovery { settings, folder: "/wal".into(), files: Vec::new(), end: RecoveryEnd::Target, reaches: None };
        let mut content = b"recovery_target_time = 'yesterday'\n".to_vec();
        write_settings(&mut content, Some(&recovery)).unwrap();
        let text = String::from_utf8(content).unwrap();
        let last_of =
            |name: &str| text.lines().rfind(|line| line.starts_with(&format!("{name} ="))).unwrap().to_owned();
        assert_eq!(last_of("recovery_target_time"), "recovery_target_time = ''");
        assert_eq!(last_of("recovery_target_name"), "recovery_target_name = 'before O''Neil\\\\''s change'");
    }
}
