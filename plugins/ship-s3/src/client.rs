//! Conversion of the settings to an address, a region and a client.

use std::sync::Arc;

use longshore_core::plugin::Plugin;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{Asking, Backend, Bucket, PartSize, Place, Transfer, Uploads, Versions, Words};
use object_store::TagSet;
use object_store::aws::{AmazonS3Builder, Checksum as Algorithm};
use object_store::client::HttpConnector;

use crate::bucket::Requests;
use crate::credentials::{self, Found};
use crate::dress::Dressed;
use crate::lock;
use crate::settings::{Checksum, S3};

/// The vocabulary of S3.
const WORDS: Words = Words {
    bucket: "bucket",
    credentials: "check the credentials (AWS_* variables, profile, access_key_id) and the bucket's policy",
    address: "check endpoint and region, and that the store is reachable",
};

impl Plugin<dyn Store> for S3 {
    const TYPE: &'static str = "s3";

    fn build(self, (): &()) -> Result<Box<dyn Store>> {
        let place = Place::new("s3://", &self.bucket, self.prefix.as_deref(), WORDS)?;
        let reach = self.reach()?;
        let Found { builder, region } = credentials::find(&self)?;
        let dress = Arc::new(Dressed::new(&region, self.signs_payload()));
        let (wire, options) = (reach.wire(dress.clone()), reach.options()?);
        let unfit = |error| place.unfit(error);
        let client = wire.connect(&options).map_err(unfit)?;
        let mut builder = builder
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_client_options(options)
            .with_http_connector(wire)
            .with_retry(reach.retry())
            .with_unsigned_payload(!self.signs_payload())
            .with_disable_bulk_delete(true);
        builder = self.addressed(builder)?;
        builder = self.encrypted(builder)?;
        if let Some(algorithm) = self.algorithm() {
            builder = builder.with_checksum_algorithm(algorithm);
        }
        let store = Arc::new(builder.build().map_err(unfit)?);
        dress.sign_with(store.credentials());

        let asking = Asking { client, asks: Arc::new(Requests(store.clone())) };
        let transfer = Transfer { part: self.part(), ..reach.transfer() };
        let backend = Backend::new(store.clone(), place, transfer, lock::HEADERS).in_class(self.storage_class.as_ref());
        Ok(Box::new(Bucket::new(Backend {
            tags: self.tag_set(),
            lock: self.object_lock.map(|lock| lock.lock(asking.clone())),
            versions: Some(Versions(asking.clone())),
            uploads: Some(Uploads { asking, aborts: store }),
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
    fn addressed(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        let virtual_hosted = !self.path_style.unwrap_or(self.endpoint.is_some());
        let builder = builder.with_virtual_hosted_style_request(virtual_hosted);
        Ok(match self.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/')) {
            None => builder,
            Some(endpoint) if !virtual_hosted => builder.with_endpoint(endpoint),
            Some(endpoint) => builder.with_endpoint(endpoint.replacen("://", &format!("://{}.", self.bucket), 1)),
        })
    }

    fn encrypted(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        let settings = [
            ("aws_server_side_encryption", self.sse.map(|sse| sse.word().to_owned())),
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

    fn part(&self) -> PartSize {
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
