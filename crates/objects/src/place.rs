//! Where the destination is, and what its settings are called.

use longshore_core::key::Key;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;

/// What a kind of store calls things, for messages and their hints.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// What it calls a bucket, which is also the setting's name.
    pub bucket: &'static str,
    /// The way out where nobody may do this with these credentials.
    pub credentials: &'static str,
    /// The way out where the store or its region is another.
    pub address: &'static str,
}

/// Where the destination is.
#[derive(Debug, Clone)]
pub struct Place {
    /// As a person would write it, without the prefix, such as `s3://acme-backups`.
    url: String,
    /// The bucket's own name.
    bucket: String,
    /// What every name begins with; empty, or ending with a slash.
    prefix: String,
    pub(crate) words: Words,
}

impl Place {
    /// The place `prefix` in `bucket`; the names that people see begin with `root`, such as `s3://`.
    pub fn new(root: &str, bucket: &str, prefix: Option<&str>, words: Words) -> Result<Self> {
        let wrong = |subject: &str, message: &str, hint: &str| {
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        if bucket.is_empty() || bucket.contains('/') {
            let hint = "write its name alone; a folder in it is the prefix";
            return wrong(bucket, &format!("not the name of a {}", words.bucket), hint);
        }
        let prefix = match prefix.map(|prefix| prefix.trim_end_matches('/')) {
            None | Some("") => String::new(),
            Some(prefix) if prefix.len() <= 100 && Key::parse(prefix).is_ok() => format!("{prefix}/"),
            Some(prefix) => {
                let hint = "at most 100 bytes: folders of A-Z a-z 0-9 . _ % - that do not begin with a dot";
                return wrong(prefix, "not a prefix", hint);
            }
        };
        Ok(Self { url: format!("{root}{bucket}"), bucket: bucket.to_owned(), prefix, words })
    }

    /// The whole destination, for people.
    pub fn name(&self) -> String {
        format!("{}/{}", self.url, self.prefix).trim_end_matches('/').to_owned()
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What every name begins with; empty, or ending with a slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The error of settings that no client can be made of.
    pub fn unfit(&self, error: object_store::Error) -> Error {
        Error::new(Stage::Config, Kind::Usage, self.name(), "these settings make no client")
            .hint(self.words.credentials)
            .because(error)
    }

    /// Something in it, for people.
    pub(crate) fn subject(&self, path: &Path) -> String {
        format!("{}/{path}", self.url)
    }

    /// The name that a key has in the bucket. Keys hold percent signs of their own, which stay as they are.
    pub(crate) fn path(&self, key: &Key) -> Result<Path> {
        self.hidden(key.as_str())
    }

    /// The name of something of ours that is no key.
    pub(crate) fn hidden(&self, name: &str) -> Result<Path> {
        let name = format!("{}{name}", self.prefix);
        let unfit = |error| Error::new(Stage::Ship, Kind::Usage, &name, "no name for an object").because(error);
        Path::parse(&name).map_err(unfit)
    }

    /// The folder that everything is in; nothing if it is the bucket itself.
    pub(crate) fn folder(&self) -> Option<Path> {
        Path::parse(&self.prefix).ok().filter(|folder| !folder.is_root())
    }

    /// The key that has this name, if it is one.
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
