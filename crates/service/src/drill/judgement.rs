//! What a restore that failed says: that the backup is bad, or that the place is not fit for it.

use longshore_core::drill::Verdict;
use longshore_core::manifest::Manifest;
use longshore_core::pipeline::is_damage;
use longshore_core::stage::ScratchCluster;
use longshore_core::{Error, Kind, Stage};

/// What servers say where the place is not fit, and the way out.
const UNFIT: [(&str, &str); 19] = [
    ("No space left on device", "name a folder with more room: --scratch-dir DIR"),
    ("could not extend file", "name a folder with more room: --scratch-dir DIR"),
    ("could not write to file", "name a folder with more room: --scratch-dir DIR"),
    ("is not available", "install the extension where the drill restores, or drill where it is"),
    ("extension control file", "install the extension where the drill restores, or drill where it is"),
    ("could not access file", "install the library where the drill restores, or drill where it is"),
    ("could not load library", "install what the library needs where the drill restores, or drill where it is"),
    (
        "shared_preload_libraries",
        "let the server load it: scratch = { type = \"initdb\", settings = { shared_preload_libraries = \"…\" } }",
    ),
    ("invalid locale name", "install the locale (Debian: dpkg-reconfigure locales), or drill where it is"),
    ("out of shared memory", "raise what the server says with scratch = { type = \"initdb\", settings = { … } }"),
    ("out of memory", "drill on a host with more memory"),
    ("was ended by signal", "look who ended it, such as the kernel where memory is short (dmesg), and drill again"),
    ("Too many open files", "raise the limit of open files (ulimit -n)"),
    ("permission denied to create database", PRIVILEGES),
    ("must be member of role", PRIVILEGES),
    ("must be able to SET ROLE", PRIVILEGES),
    ("must be owner of", PRIVILEGES),
    ("must be superuser", PRIVILEGES),
    ("server closed the connection", "look at the server's log"),
];

/// The way out for a role that may not do what the backup holds.
const PRIVILEGES: &str = "drill as a superuser of the server, or with scratch = { type = \"initdb\" }";

/// What follows from an error of a restore.
pub(super) fn verdict(error: &Error, manifest: &Manifest, scratch: &dyn ScratchCluster) -> Verdict {
    if is_damage(error) {
        return Verdict::Damaged;
    }
    if matches!(error.stage(), Stage::Restore | Stage::Verify)
        && matches!(error.kind(), Kind::Failed | Kind::NotFound)
        && remedy(error, manifest, scratch).is_none()
    {
        return Verdict::Unrestorable;
    }
    Verdict::Unfit
}

/// The error as one of the place, with the way out.
pub(super) fn unfit(error: Error, manifest: &Manifest, scratch: &dyn ScratchCluster) -> Error {
    let hint = remedy(&error, manifest, scratch).or_else(|| error.remedy().map(str::to_owned));
    let kind = match error.kind() {
        // What the owner must decide, and what may work later.
        kind @ (Kind::Usage | Kind::Denied | Kind::Unavailable) if error.stage() != Stage::Restore => kind,
        _ => Kind::Failed,
    };
    let unfit = Error::new(
        error.stage(),
        kind,
        error.subject(),
        "could not be drilled here, which says nothing about the backup",
    )
    .because(error.chain());
    match hint {
        Some(hint) => unfit.hint(hint),
        None => unfit,
    }
}

/// The way out, where the place is known to be why.
fn remedy(error: &Error, manifest: &Manifest, scratch: &dyn ScratchCluster) -> Option<String> {
    let said = error.chain();
    if let Some((_, remedy)) = UNFIT.iter().find(|(sign, _)| said.contains(sign)) {
        return Some((*remedy).to_owned());
    }
    if !scratch.takes_globals() && said.contains("role \"") && said.contains("does not exist") {
        return Some("make the roles in the server first: `longshore restore globals --to …`".to_owned());
    }
    let version = scratch.version();
    let (source, here) = (major(&manifest.cluster.server.server_version), major(&version));
    (source != here)
        .then(|| format!("install PostgreSQL {source}, from which the backup comes: here it was restored into {here}"))
}

/// The major version at the beginning of a version.
fn major(version: &str) -> &str {
    version.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default()
}
