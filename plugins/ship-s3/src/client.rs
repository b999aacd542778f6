//! Conversion of the settings to an address, a region and a client.

use std::sync::Arc;

use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{Backend, Bucket, Location, PartSize, RawClient, Transfer, Uploads, Versions, Vocabulary};
use object_store::TagSet;
use object_store::aws::{AmazonS3Builder, Checksum as Algorithm};
use object_store::client::HttpConnector;

use crate::credentials::{self, Resolved};
use crate::object_lock;
use crate::request_hook::S3Hook;
use crate::settings::{Checksum, S3};
use crate::signer::S3Signer;

/// The vocabulary of S3.
const VOCABULARY: Vocabulary = Vocabulary {
    bucket: "bucket",
    credentials: "check the credentials (AWS_* variables, profile, access_key_id) and the bucket's policy",
    address: "check endpoint and region, and that the store is reachable",
};

impl Plugin<dyn Store> for S3 {
    const TYPE: &'static str = "s3";

    fn build(self, context: &StoreContext) -> Result<Box<dyn Store>> {
        let location = Location::new("s3://", &self.bucket, self.prefix.as_deref(), VOCABULARY)?;
        let connection = self.connection()?;
        let Resolved { builder, region } = credentials::resolve(&self)?;
        let hook = Arc::new(S3Hook::new(&region, self.signs_payload()));
        let (connector, options) = (connection.connector(hook.clone()), connection.options()?);
        let invalid = |error| location.invalid_settings(error);
        let client = connector.connect(&options).map_err(invalid)?;
        let mut builder = builder
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_client_options(options)
            .with_http_connector(connector)
            .with_retry(connection.retry())
            .with_unsigned_payload(!self.signs_payload())
            .with_disable_bulk_delete(true);
        builder = self.set_address(builder)?;
        builder = self.set_encryption(builder)?;
        if let Some(algorithm) = self.algorithm() {
            builder = builder.with_checksum_algorithm(algorithm);
        }
        let store = Arc::new(builder.build().map_err(invalid)?);
        hook.set_credentials(store.credentials());

        let raw_client = RawClient { client, signer: Arc::new(S3Signer(store.clone())) };
        let transfer = Transfer { part_size: self.part_sizes(), ..connection.transfer() };
        let lock =
            self.object_lock.map(|lock| lock.lock_request(raw_client.clone(), &location.url(), context.retention));
        let lock = lock.transpose()?;
        let backend = Backend::new(store.clone(), location, transfer, object_lock::HEADERS)
            .with_storage_class(self.storage_class.as_ref());
        Ok(Box::new(Bucket::new(Backend {
            tags: self.tag_set(),
            lock,
            versions: Some(Versions(raw_client.clone())),
            uploads: Some(Uploads { client: raw_client, multipart: store }),
            ..backend
        })))
    }
}

impl S3 {
    /// Over TLS, a checksum protects the bytes of each request, which costs little; without TLS,
    /// the signature must cover them.
    fn signs_payload(&self) -> bool {
        self.checksum == Checksum::None
            || self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    /// Sets the address of the bucket, with the bucket in the path or in the host name.
    fn set_address(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        let virtual_hosted = !self.path_style.unwrap_or(self.endpoint.is_some());
        let builder = builder.with_virtual_hosted_style_request(virtual_hosted);
        Ok(match self.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/')) {
            None => builder,
            Some(endpoint) if !virtual_hosted => builder.with_endpoint(endpoint),
            Some(endpoint) => builder.with_endpoint(endpoint.replacen("://", &format!("://{}.", self.bucket), 1)),
        })
    }

    fn set_encryption(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        let settings = [
            ("aws_server_side_encryption", self.sse.map(|sse| sse.as_str().to_owned())),
            ("aws_sse_kms_key_id", self.kms_key_id.clone()),
            ("aws_sse_bucket_key_enabled", self.bucket_key.map(|enabled| enabled.to_string())),
        ];
        settings.into_iter().try_fold(builder, |builder, (key, value)| {
            let unknown = |error| Error::new(Stage::Config, Kind::Usage, key, "no such setting").because(error);
            Ok(match value {
                Some(value) => {
                    builder.with_config(key.parse().map_err(|error: object_store::Error| unknown(error))?, value)
                }
                None => builder,
            })
        })
    }

    fn algorithm(&self) -> Option<Algorithm> {
        match self.checksum {
            Checksum::Crc64nvme => Some(Algorithm::CRC64NVME),
            Checksum::Sha256 => Some(Algorithm::SHA256),
            Checksum::None => None,
        }
    }

    fn part_sizes(&self) -> PartSize {
        match self.equal_parts {
            true => PartSize::Equal(self.part_size.bytes()),
            false => PartSize::Growing(self.part_size.bytes()),
        }
    }

    fn tag_set(&self) -> TagSet {
        self.tags.iter().fold(TagSet::default(), |mut tags, (name, value)| {
            tags.push(name, value);
            tags
        })
    }
}
