//! The users who could replace a program.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};

/// The bits of a mode by which the group or others may write.
const WRITABLE: u32 = 0o022;
/// The bit of a folder whose files only their owners may replace.
const STICKY: u32 = 0o1000;

/// Checks that only root and this user can replace a program: neither the file nor a folder above
/// it is writable by others or belongs to another user.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if another user can replace the program, and with
/// [`Kind::NotFound`] if the program is missing.
pub(crate) fn check(stage: Stage, path: &Path) -> Result<()> {
    let subject = path.display().to_string();
    if !path.is_absolute() {
        let error = Error::new(stage, Kind::Usage, subject, "the program has no absolute path");
        return Err(error.hint("write the whole path, such as /usr/local/bin/hook"));
    }
    let missing = |error| Error::io(stage, &subject, "cannot find the program", error);
    let real = path.canonicalize().map_err(missing)?;
    // A folder that contains a link decides as well as the folder of its target.
    let above_link = path.parent().map(Path::canonicalize).transpose().map_err(missing)?;
    for place in real.ancestors().chain(above_link.iter().flat_map(|folder| folder.ancestors())) {
        let found = place.metadata().map_err(missing)?;
        let own = [0, rustix::process::geteuid().as_raw()];
        let is_protected = !found.is_dir() || found.mode() & STICKY == 0;
        let problem = if !own.contains(&found.uid()) {
            "belongs to another user"
        } else if found.mode() & WRITABLE != 0 && is_protected {
            "is writable by other users"
        } else {
            continue;
        };
        let message = format!("{} {problem}, who could replace the program", place.display());
        return Err(Error::new(stage, Kind::Refused, subject, message)
            .hint(format!("run `chmod go-w {0}`, and let it belong to root or this user", place.display())));
    }
    Ok(())
}
