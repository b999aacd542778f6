//! The names of temporary files in a destination: hidden and unique.

use uuid::Uuid;

use crate::key::Key;

/// The prefix of a temporary name. A name that begins with a dot is not a key, so listings omit it.
pub const PREFIX: &str = ".longshore-";
/// The suffix of a temporary name.
pub const SUFFIX: &str = ".partial";

/// Returns a unique temporary name in a folder, or at the top for `""`.
pub fn unique_name(folder: &str) -> String {
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{PREFIX}{}{SUFFIX}", Uuid::new_v4().simple())
}

/// Returns true for a temporary name in a valid folder.
pub fn is_temp_name(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').map_or((None, name), |(folder, file)| (Some(folder), file));
    let inside = file.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    folder.is_none_or(|folder| Key::parse(folder).is_ok())
        && inside.is_some_and(|inside| Key::parse(inside).is_ok_and(|inside| inside.is_plain()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::{Compression, DEFAULT_LEVEL};
    use crate::encryption_name::EncryptionName;

    #[test]
    fn no_encryption_has_the_end_of_another_file() {
        let compression = Compression::Zstd { level: DEFAULT_LEVEL, threads: 1 };
        for end in [SUFFIX, compression.extension()] {
            assert!(EncryptionName::new(end.trim_start_matches('.')).is_err(), "{end}");
        }
    }

    #[test]
    fn recognises_temporary_names() {
        for good in [
            ".longshore-0a1b.partial",
            "main/appdb/.longshore-0a1b.partial",
            &unique_name(""),
            &unique_name("main/appdb"),
        ] {
            assert!(is_temp_name(good), "{good}");
        }
        assert_ne!(unique_name("main"), unique_name("main"));
        for bad in [
            "x",
            ".longshore-.partial",
            "../.longshore-a.partial",
            "/.longshore-a.partial",
            ".longshore-a/b.partial",
            ".longshore-a b.partial",
            ".git/.longshore-a.partial",
        ] {
            assert!(!is_temp_name(bad), "{bad}");
        }
    }
}
