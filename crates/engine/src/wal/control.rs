//! The control file of the cluster that a file of WAL belongs to.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::Control;

/// The path of pg_control in a data directory.
const CONTROL: &str = "global/pg_control";

/// The number of attempts to read pg_control, which the server rewrites in place.
const ATTEMPTS: u32 = 5;
/// The wait between two attempts.
const WAIT: Duration = Duration::from_millis(20);

/// Reads the control file of the cluster that a file in `pg_wal` belongs to: of the working
/// directory, as for the commands that PostgreSQL runs, else of the folder above that of the file.
pub(super) fn control_of(file: &Path) -> Result<Control> {
    let above = file.parent().and_then(Path::parent).filter(|above| !above.as_os_str().is_empty());
    let candidates = [Some(Path::new(".")), above];
    let found = candidates.into_iter().flatten().find(|folder| folder.join(CONTROL).exists());
    let folder = found.ok_or_else(|| {
        let message = "not in the pg_wal folder of a data directory: there is no global/pg_control";
        Error::new(Stage::Config, Kind::Usage, file.display().to_string(), message)
            .hint("run the command in the data directory, as PostgreSQL does")
    })?;
    read(&folder.join(CONTROL))
}

/// Reads a control file. Its checksum detects a read during a write.
fn read(path: &Path) -> Result<Control> {
    let mut attempt = 1;
    loop {
        let content = fs::read(path).map_err(|error| {
            let subject = path.display().to_string();
            Error::io(Stage::Config, subject, "cannot read the control file of the cluster", error)
        })?;
        match Control::parse(&content) {
            Ok(control) => return Ok(control),
            Err(_) if attempt < ATTEMPTS => thread::sleep(WAIT),
            Err(error) => {
                let message = "cannot read the control file of the cluster";
                return Err(
                    Error::new(Stage::Config, Kind::Corrupt, path.display().to_string(), message).because(error)
                );
            }
        }
        attempt += 1;
    }
}
