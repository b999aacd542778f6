//! The address of a destination, and the vocabulary of its store.

use longshore_core::key::Key;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;

/// The terms of a kind of store, for messages and their hints.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary {
    /// The store's term for a bucket, which is also the setting's name.
    pub bucket: &'static str,
    /// The hint for credentials that are missing or insufficient.
    pub credentials: &'static str,
    /// The hint for a wrong store or region.
    pub address: &'static str,
}

/// The address of a destination.
#[derive(Debug, Clone)]
pub struct Location {
    /// The URL of the bucket, for messages, such as `s3://acme-backups`.
    bucket_url: String,
    /// The name of the bucket.
    bucket: String,
    /// The prefix of every name: empty, or ending with a slash.
    prefix: String,
    pub(crate) vocabulary: Vocabulary,
}

impl Location {
    /// Returns the address of `prefix` in `bucket`. URLs in messages begin with `root`, such as
    /// `s3://`.
    pub fn new(root: &str, bucket: &str, prefix: Option<&str>, vocabulary: Vocabulary) -> Result<Self> {
        let invalid = |subject: &str, message: &str, hint: &str| {
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        if bucket.is_empty() || bucket.contains('/') {
            let hint = "write only its name; set prefix for a folder in it";
            return invalid(bucket, &format!("not a {} name", vocabulary.bucket), hint);
        }
        let prefix = match prefix.map(|prefix| prefix.trim_end_matches('/')) {
            None | Some("") => String::new(),
            Some(prefix) if prefix.len() <= 100 && Key::parse(prefix).is_ok_and(|key| key.is_plain()) => {
                format!("{prefix}/")
            }
            Some(prefix) => {
                let hint = "use at most 100 bytes: folders of A-Z a-z 0-9 . _ % - that do not begin with a dot";
                return invalid(prefix, "invalid prefix", hint);
            }
        };
        Ok(Self { bucket_url: format!("{root}{bucket}"), bucket: bucket.to_owned(), prefix, vocabulary })
    }

    /// Returns the URL of the destination, for messages.
    pub fn url(&self) -> String {
        format!("{}/{}", self.bucket_url, self.prefix).trim_end_matches('/').to_owned()
    }

    /// Returns the name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the prefix of every name: empty, or ending with a slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the error for settings from which no client can be built.
    pub fn invalid_settings(&self, error: object_store::Error) -> Error {
        Error::new(Stage::Config, Kind::Usage, self.url(), "invalid settings")
            .hint(self.vocabulary.credentials)
            .because(error)
    }

    /// Returns the URL of an object, for messages.
    pub(crate) fn object_url(&self, path: &Path) -> String {
        format!("{}/{path}", self.bucket_url)
    }

    /// Returns the object name of a key. Percent signs in keys are kept, not escaped.
    pub(crate) fn path(&self, key: &Key) -> Result<Path> {
        self.raw_path(key.as_str())
    }

    /// Returns the object name of a file that need not be a key, such as a hidden one.
    pub(crate) fn raw_path(&self, name: &str) -> Result<Path> {
        let name = format!("{}{name}", self.prefix);
        let invalid = |error| Error::new(Stage::Ship, Kind::Usage, &name, "invalid object name").because(error);
        Path::parse(&name).map_err(invalid)
    }

    /// Returns the folder of all objects, or `None` if it is the bucket itself.
    pub(crate) fn folder(&self) -> Option<Path> {
        Path::parse(&self.prefix).ok().filter(|folder| !folder.is_root())
    }

    /// Returns the key of an object name, if the name is one.
    pub(crate) fn key(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.prefix)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { bucket: "bucket", credentials: "", address: "" };

    fn location(prefix: Option<&str>) -> Location {
        Location::new("s3://", "acme", prefix, VOCABULARY).unwrap()
    }

    #[test]
    fn keeps_percent_signs_of_keys() {
        let key = Key::parse("main/a%2Fb/x.dump").unwrap();
        for prefix in [None, Some("postgresql"), Some("a%20b/c/")] {
            let location = location(prefix);
            let path = location.path(&key).unwrap();
            assert_eq!(path.as_ref(), format!("{}main/a%2Fb/x.dump", location.prefix()));
            assert_eq!(location.key(path.as_ref()), Some(key.clone()));
        }
    }

    #[test]
    fn returns_no_key_for_foreign_names() {
        let location = location(Some("postgresql"));
        for name in ["main/x", "postgresql2/x", "postgresql", "postgresql/", "postgresql/.hidden", "postgresql/a//b"] {
            assert_eq!(location.key(name), None, "{name}");
        }
        assert_eq!(
            (location.url(), location.folder().unwrap().to_string()),
            ("s3://acme/postgresql".into(), "postgresql".into())
        );
    }

    #[test]
    fn rejects_invalid_buckets_and_prefixes() {
        for (bucket, prefix) in [
            ("", None),
            ("a/b", None),
            ("acme", Some("../x")),
            ("acme", Some("a//b")),
            ("acme", Some("ä")),
            ("acme", Some("a b")),
        ] {
            let error = Location::new("s3://", bucket, prefix, VOCABULARY).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.remedy().is_some());
        }
    }
}
