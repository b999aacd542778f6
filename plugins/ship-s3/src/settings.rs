//! The settings as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_core::quantity::Span;
use longshore_objects::settings;
use serde::Deserialize;

settings! {
    /// `{ type = "s3", … }`: a bucket of Amazon S3, or of a store that speaks its language.
    ///
    /// Credentials come from the environment (`AWS_ACCESS_KEY_ID` and its like, web identity), else from the files that Amazon's tools share,
    /// else from the container or the instance; or from what is set here. No secret stands in the configuration.
    pub struct S3 {
        /// The bucket. It must be there.
        pub bucket: String,
        /// Its region; without it the environment's, the profile's, or `us-east-1`.
        pub region: Option<String>,
        /// Whether the bucket stands in the path of addresses, not in the host; without it, where there is an endpoint.
        pub path_style: Option<bool>,
        /// The name of a key whose secret is in `secret_access_key_file`.
        pub access_key_id: Option<String>,
        /// A file with that secret, and nothing else.
        pub secret_access_key_file: Option<PathBuf>,
        /// The file of profiles with their keys, instead of `~/.aws/credentials`.
        pub credentials_file: Option<PathBuf>,
        /// The profile in it.
        pub profile: Option<String>,
        /// Whether all parts have `part_size`, for stores that take no others; 10,000 of them are the most.
        #[serde(default)]
        pub equal_parts: bool,
        /// What the store checks each request by.
        #[serde(default)]
        pub checksum: Checksum,
        /// The storage class of objects, such as `STANDARD_IA`.
        pub storage_class: Option<String>,
        /// Tags of objects.
        #[serde(default)]
        pub tags: BTreeMap<String, String>,
        /// How the store encrypts what lies there.
        pub sse: Option<Sse>,
        /// The key that it does so with, in Amazon's KMS.
        pub kms_key_id: Option<String>,
        /// Whether a key of the bucket's spares requests to KMS.
        pub bucket_key: Option<bool>,
        /// Keeps anybody from removing objects for a time. The bucket must have Object Lock.
        pub object_lock: Option<ObjectLock>,
    }
}

/// What the store checks each request by, besides its signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME: costs next to nothing.
    #[default]
    Crc64nvme,
    /// SHA-256.
    Sha256,
    /// Nothing, for stores that refuse the others.
    None,
}

/// How the store encrypts what lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Sse {
    /// With keys of the store's own.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key in KMS.
    #[serde(rename = "aws:kms")]
    Kms,
    /// Twice, with a key in KMS.
    #[serde(rename = "aws:kms:dsse")]
    KmsTwice,
}

impl Sse {
    /// The word for it on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
            Self::KmsTwice => "aws:kms:dsse",
        }
    }
}

/// Keeps anybody from removing an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// For how long.
    pub retain: Retain,
}

/// For how long a lock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Retain {
    /// So long from the upload, such as `30d`.
    For(Span),
    /// As long as the retention policy of the job keeps it, written `policy`.
    Policy,
}

impl TryFrom<String> for Retain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "policy" => Ok(Self::Policy),
            _ => Span::try_from(text).map(Self::For).map_err(|error| format!("{error}, or \"policy\"")),
        }
    }
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Who has a permission of its own.
    Governance,
    /// Nobody.
    Compliance,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: serde_json::Value) -> Result<S3, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_setting_is_an_error_that_names_the_known_ones() {
        let error = read(json!({ "bucket": "acme", "buket": "x" })).unwrap_err();
        assert!(error.contains("buket") && error.contains("storage_class"), "{error}");
        // A secret is not asked for here, and not quoted.
        let error = read(json!({ "bucket": "acme", "secret_access_key": "hush" })).unwrap_err();
        assert!(error.contains("secret_access_key_file") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn a_lock_says_who_may_lift_it_and_how_long_it_holds() {
        let s3 = read(json!({ "bucket": "acme", "object_lock": { "mode": "governance", "retain": "30d" } })).unwrap();
        let Retain::For(span) = s3.object_lock.unwrap().retain else { panic!("a policy") };
        assert_eq!(span.duration().as_secs(), 30 * 86_400);
        let s3 =
            read(json!({ "bucket": "acme", "object_lock": { "mode": "compliance", "retain": "policy" } })).unwrap();
        assert_eq!(s3.object_lock.unwrap().retain, Retain::Policy);
        for bad in [
            json!({ "mode": "governance" }),
            json!({ "mode": "legal", "retain": "30d" }),
            json!({ "mode": "governance", "retain": "30" }),
        ] {
            assert!(read(json!({ "bucket": "acme", "object_lock": bad })).is_err());
        }
        let error =
            read(json!({ "bucket": "acme", "object_lock": { "mode": "governance", "retain": "30" } })).unwrap_err();
        assert!(error.contains("30d") && error.contains("policy"), "{error}");
    }
}
