//! A standby that is restored from a base backup: it fetches WAL from the archive by itself, and
//! streams from a primary if one is named.

use std::path::{Path, PathBuf, absolute};

use longshore_core::manifest::Manifest;
use longshore_core::plugin::{DataDirectory, Recovery, RecoveryEnd, Target};
use longshore_core::{Error, Kind, Result, Stage};

use crate::args::Restore;
use crate::command::Context;

/// Adds the settings of a standby to the target.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if the cluster has no archive, or if the standby could not decrypt.
pub(super) fn standby(
    args: &Restore,
    context: &Context,
    manifest: &Manifest,
    directory: &DataDirectory,
) -> Result<Target> {
    let cluster = manifest.cluster.name.as_str();
    context.config.wal_archive(Some(cluster))?;
    if args.identity.ask_passphrase {
        let message = "a standby decrypts without a person";
        return Err(Error::new(Stage::Config, Kind::Usage, "--ask-passphrase", message)
            .hint("pass an identity file that the user of the server can read: --identity FILE"));
    }
    let setting = |name: &str, value: String| (name.to_owned(), value);
    let mut settings = vec![
        setting("restore_command", restore_command(args, context, cluster)?),
        setting("recovery_target_timeline", "latest".to_owned()),
        setting("hot_standby", "on".to_owned()),
    ];
    settings.extend(args.primary_conninfo.iter().map(|value| setting("primary_conninfo", value.clone())));
    settings.extend(args.primary_slot_name.iter().map(|value| setting("primary_slot_name", value.clone())));
    // A hot standby does not start with smaller values than those of its primary.
    let least = manifest.base.iter().flat_map(|facts| &facts.settings);
    settings.extend(least.map(|(name, value)| setting(name, value.to_string())));
    let recovery =
        Recovery { settings, folder: PathBuf::new(), files: Vec::new(), end: RecoveryEnd::Never, reaches: None };
    Ok(Target::DataDirectory(DataDirectory { recovery: Some(recovery), ..directory.clone() }))
}

/// Returns the command with which the server fetches WAL.
fn restore_command(args: &Restore, context: &Context, cluster: &str) -> Result<String> {
    let program = std::env::current_exe()
        .map_err(|error| Error::io(Stage::Config, "longshore", "cannot find the path of this program", error))?;
    let mut words = vec![path_word(&program)?, "--config".to_owned(), path_word(&context.config.path)?];
    words.extend(["wal", "fetch", "--cluster"].map(str::to_owned));
    words.push(word(cluster));
    for file in &args.identity.files {
        words.extend(["--identity".to_owned(), path_word(file)?]);
    }
    words.extend(["%f", "\"%p\""].map(str::to_owned));
    Ok(words.join(" "))
}

/// Returns the absolute path of a file as a word of restore_command.
fn path_word(path: &Path) -> Result<String> {
    let subject = || path.display().to_string();
    let path = absolute(path).map_err(|error| Error::io(Stage::Config, subject(), "cannot find the file", error))?;
    let text = path.to_str().ok_or_else(|| {
        let message = "not valid UTF-8, which a setting of PostgreSQL must be";
        Error::new(Stage::Config, Kind::Usage, subject(), message).hint("use a path of ASCII characters")
    })?;
    Ok(word(text))
}

/// Returns a text as a word of restore_command, for the shell and for PostgreSQL's placeholders.
fn word(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+@:".contains(char);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell_and_the_placeholders() {
        assert_eq!(word("/usr/bin/longshore"), "/usr/bin/longshore");
        assert_eq!(word("it's 100%p"), r"'it'\''s 100%%p'");
        assert_eq!(word("$HOME"), "'$HOME'");
        assert_eq!(path_word(Path::new("/a b")).unwrap(), "'/a b'");
    }
}
