//! Folders that are equal or contain each other.

use longshore_core::{Error, Kind, Stage};

use crate::folder::Folder;

/// Returns an error for each pair of folders that are equal or contain each other.
pub(crate) fn errors(folders: &[&Folder]) -> Vec<Error> {
    let mut errors = Vec::new();
    for (at, folder) in folders.iter().enumerate() {
        for other in folders.iter().take(at) {
            let message = if folder.resolved == other.resolved {
                "named twice".to_owned()
            } else if folder.resolved.starts_with(&other.resolved) {
                format!("a folder in {}", other.path.display())
            } else if other.resolved.starts_with(&folder.resolved) {
                format!("contains {}", other.path.display())
            } else {
                continue;
            };
            let error = Error::new(Stage::Restore, Kind::Refused, folder.path.display().to_string(), message);
            errors.push(
                error.hint("name folders for the data directory and each tablespace that do not contain each other"),
            );
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_folders_are_found_in_both_orders() {
        let folder =
            |path: &str| Folder { path: path.into(), resolved: path.into(), existing: "/".into(), has_files: false };
        let [data, nested, equal, apart] = ["/srv/data", "/srv/data/ts", "/srv/data", "/srv/data2"].map(folder);
        let found = |folders: &[&Folder]| -> Vec<String> { errors(folders).iter().map(Error::to_string).collect() };
        assert_eq!(found(&[&data, &nested]), ["restore \"/srv/data/ts\": a folder in /srv/data"]);
        assert_eq!(found(&[&nested, &data]), ["restore \"/srv/data\": contains /srv/data/ts"]);
        assert_eq!(found(&[&data, &equal, &apart]), ["restore \"/srv/data\": named twice"]);
    }
}
