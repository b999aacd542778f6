//! The address of a destination, and the names of its settings.

use longshore_core::key::Key;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;

/// The terms of a kind of store, for messages and their hints.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// The store's term for a bucket, which is also the setting's name.
    pub bucket: &'static str,
    /// The hint for credentials that are missing or insufficient.
    pub credentials: &'static str,
    /// The hint for a wrong store or region.
    pub address: &'static str,
}

/// The address of a destination.
#[derive(Debug, Clone)]
pub struct Place {
    /// The URL without the prefix, for messages, such as `s3://acme-backups`.
    url: String,
    /// The name of the bucket.
    bucket: String,
    /// The prefix of every name: empty, or ending with a slash.
    prefix: String,
    pub(crate) words: Words,
}

impl Place {
    /// Returns the address of `prefix` in `bucket`. URLs in messages begin with `root`, such as
    /// `s3://`.
    pub fn new(root: &str, bucket: &str, prefix: Option<&str>, words: Words) -> Result<Self> {
        let wrong = |subject: &str, message: &str, hint: &str| {
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        if bucket.is_empty() || bucket.contains('/') {
            let hint = "write only its name; set prefix for a folder in it";
            return wrong(bucket, &format!("not a {} name", words.bucket), hint);
        }
        let prefix = match prefix.map(|prefix| prefix.trim_end_matches('/')) {
            None | Some("") => String::new(),
            Some(prefix) if prefix.len() <= 100 && Key::parse(prefix).is_ok() => format!("{prefix}/"),
            Some(prefix) => {
                let hint = "use at most 100 bytes: folders of A-Z a-z 0-9 . _ % - that do not begin with a dot";
                return wrong(prefix, "invalid prefix", hint);
            }
        };
        Ok(Self { url: format!("{root}{bucket}"), bucket: bucket.to_owned(), prefix, words })
    }

    /// Returns the URL of the destination, for messages.
    pub fn name(&self) -> String {
        format!("{}/{}", self.url, self.prefix).trim_end_matches('/').to_owned()
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
    pub fn unfit(&self, error: object_store::Error) -> Error {
        Error::new(Stage::Config, Kind::Usage, self.name(), "invalid settings")
            .hint(self.words.credentials)
            .because(error)
    }

    /// Returns the URL of an object, for messages.
    pub(crate) fn subject(&self, path: &Path) -> String {
        format!("{}/{path}", self.url)
    }

    /// Returns the object name of a key. Percent signs in keys are kept, not escaped.
    pub(crate) fn path(&self, key: &Key) -> Result<Path> {
        self.hidden(key.as_str())
    }

    /// Returns the object name of a hidden file of Longshore, which is not a key.
    pub(crate) fn hidden(&self, name: &str) -> Result<Path> {
        let name = format!("{}{name}", self.prefix);
        let unfit = |error| Error::new(Stage::Ship, Kind::Usage, &name, "invalid object name").because(error);
        Path::parse(&name).map_err(unfit)
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

    const WORDS: Words = Words { bucket: "bucket", credentials: "", address: "" };

    fn place(prefix: Option<&str>) -> Place {
        Place::new("s3://", "acme", prefix, WORDS).unwrap()
    }

    #[test]
    fn a_key_keeps_its_percent_signs() {
        let key = Key::parse("main/a%2Fb/x.dump").unwrap();
        for prefix in [None, Some("postgresql"), Some("a%20b/c/")] {
            let place = place(prefix);
            let path = place.path(&key).unwrap();
            assert_eq!(path.as_ref(), format!("{}main/a%2Fb/x.dump", place.prefix()));
            assert_eq!(place.key(path.as_ref()), Some(key.clone()));
        }
    }

    #[test]
    fn what_is_elsewhere_or_no_key_has_none() {
        let place = place(Some("postgresql"));
        for name in ["main/x", "postgresql2/x", "postgresql", "postgresql/", "postgresql/.hidden", "postgresql/a//b"] {
            assert_eq!(place.key(name), None, "{name}");
        }
        assert_eq!(
            (place.name(), place.folder().unwrap().to_string()),
            ("s3://acme/postgresql".into(), "postgresql".into())
        );
    }

    #[test]
    fn what_cannot_be_a_prefix_or_a_bucket_is_a_mistake_in_writing_it() {
        for (bucket, prefix) in
            [("", None), ("a/b", None), ("acme", Some("../x")), ("acme", Some("a//b")), ("acme", Some("ä"))]
        {
            let error = Place::new("s3://", bucket, prefix, WORDS).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.remedy().is_some());
        }
    }
}
