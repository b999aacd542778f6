//! The settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_core::unit::TimeSpan;
use longshore_objects::settings;
use serde::Deserialize;

settings! {
    /// `{ type = "s3", … }`: a bucket of Amazon S3, or of a compatible store.
    ///
    /// Credentials come from these settings, from the environment (`AWS_ACCESS_KEY_ID` and similar,
    /// web identity), from the files of Amazon's tools, or from the container or the instance, in
    /// this order. Secrets are never in the configuration.
    pub struct S3 {
        /// The bucket, which must exist.
        pub bucket: String,
        /// The region of the bucket; the default is from the environment, from the profile, or
        /// `us-east-1`.
        pub region: Option<String>,
        /// True if addresses contain the bucket in the path, not in the host name; the default is
        /// true with an endpoint.
        pub path_style: Option<bool>,
        /// The id of a key whose secret is in `secret_access_key_file`.
        pub access_key_id: Option<String>,
        /// A file with the secret only.
        pub secret_access_key_file: Option<PathBuf>,
        /// A file with profiles and their keys, instead of `~/.aws/credentials`.
        pub credentials_file: Option<PathBuf>,
        /// The profile in the file.
        pub profile: Option<String>,
        /// True if all parts have the size `part_size`, for stores that require this; limits an
        /// upload to 10,000 parts of this size.
        #[serde(default)]
        pub equal_parts: bool,
        /// The checksum by which the store verifies each request.
        #[serde(default)]
        pub checksum: Checksum,
        /// The storage class of objects, such as `STANDARD_IA`.
        pub storage_class: Option<String>,
        /// Tags of objects.
        #[serde(default)]
        pub tags: BTreeMap<String, String>,
        /// The encryption of objects by the store.
        pub sse: Option<Sse>,
        /// The key of Amazon's KMS used for this encryption.
        pub kms_key_id: Option<String>,
        /// True if a bucket key reduces the number of requests to KMS.
        pub bucket_key: Option<bool>,
        /// Protects objects from deletion for a time. The bucket must have Object Lock.
        pub object_lock: Option<ObjectLock>,
    }
}

/// The checksum by which the store verifies each request, besides its signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME, with negligible cost.
    #[default]
    Crc64nvme,
    /// SHA-256.
    Sha256,
    /// None, for stores that reject the others.
    None,
}

/// The encryption of objects by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum Sse {
    /// Encryption with keys of the store.
    #[serde(rename = "AES256")]
    Aes256,
    /// Encryption with a key in KMS.
    #[serde(rename = "aws:kms")]
    Kms,
    /// Double encryption with a key in KMS.
    #[serde(rename = "aws:kms:dsse")]
    KmsDsse,
}

impl Sse {
    /// Returns the value of the header.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
            Self::KmsDsse => "aws:kms:dsse",
        }
    }
}

/// The protection of objects from deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// The permission needed to lift the lock.
    pub mode: LockMode,
    /// The duration of the lock.
    pub retain: Retain,
}

/// The duration of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^(policy|[0-9]+\s*[smhdwy])$"))]
pub enum Retain {
    /// A fixed time from the upload, such as `30d`.
    For(TimeSpan),
    /// The time for which the job's retention policy keeps the object, written as `policy`.
    Policy,
}

impl TryFrom<String> for Retain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "policy" => Ok(Self::Policy),
            _ => TimeSpan::try_from(text).map(Self::For).map_err(|error| format!("{error}, or \"policy\"")),
        }
    }
}

/// The permission needed to lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// A special permission.
    Governance,
    /// No permission suffices.
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
    fn rejects_unknown_settings_and_names_known_ones() {
        let error = read(json!({ "bucket": "acme", "buket": "x" })).unwrap_err();
        assert!(error.contains("buket") && error.contains("storage_class"), "{error}");
        // Secrets are not accepted here, and not quoted.
        let error = read(json!({ "bucket": "acme", "secret_access_key": "hush" })).unwrap_err();
        assert!(error.contains("secret_access_key_file") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn parses_object_lock() {
        let s3 = read(json!({ "bucket": "acme", "object_lock": { "mode": "governance", "retain": "30d" } })).unwrap();
        let Retain::For(span) = s3.object_lock.unwrap().retain else { panic!("not a fixed duration") };
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
