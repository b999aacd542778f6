//! Fake stages for tests: a dump of given bytes, a verifier with a given result, and a trivial
//! encryption.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use longshore_core::base::BaseFacts;
use longshore_core::check::{Check, Finding};
use longshore_core::compress::{Compression, DEFAULT_LEVEL};
use longshore_core::event::Observer;
use longshore_core::key::Timestamp;
use longshore_core::manifest::{Cluster, Format, Server, Tool, Verification};
use longshore_core::pipeline::{BackupSpec, Destination, Pipeline};
use longshore_core::stage::{
    Decrypt, DiscoveredSubject, Discovery, Dump, DumpNotes, Dumped, Encrypt, RunNeeds, Store, Verified, Verify,
    VerifyReport,
};
use longshore_core::stream::{ByteStream, OnEnd, from_bytes};
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::{Map, Value};

use crate::stream::fails_after;

/// Returns an order for the backup of `subject` in the cluster `main`, by `job`, at a time such as
/// `2026-06-07_091500`.
///
/// # Panics
/// If `time` has another format.
pub fn order(job: &str, subject: &Subject, time: &str) -> BackupSpec {
    let server = server();
    BackupSpec {
        job: job.to_owned(),
        run: format!("{time}-test"),
        run_backups: 1,
        run_not_captured: Vec::new(),
        time: Timestamp::parse(time).unwrap(),
        cluster: Cluster { name: "main".to_owned(), server },
        subject: subject.clone(),
        needs: Default::default(),
        adopted_from: None,
    }
}

/// Returns a pipeline without verification and encryption, to stores with the given names.
pub fn pipeline<S: Store + 'static>(stores: impl IntoIterator<Item = (&'static str, S)>) -> Pipeline {
    let destinations =
        stores.into_iter().map(|(name, store)| Destination { name: name.to_owned(), store: Arc::new(store) });
    Pipeline { verify: Vec::new(), encrypt: None, destinations: destinations.collect(), needed_wal: None }
}

/// Returns an uncompressed dump of the given stream.
pub fn dumped(stream: ByteStream) -> Dumped {
    let notes = OnEnd::new();
    notes.set(DumpNotes::default());
    Dumped {
        stream,
        format: Format::Custom,
        estimated_bytes: None,
        compression: Compression::None,
        tool: Tool { name: "testkit".to_owned(), version: "1".to_owned() },
        database: None,
        base_manifest: None,
        snapshot: None,
        notes,
    }
}

fn server() -> Server {
    Server { server_version: "17.4".to_owned(), system_identifier: Some("7512345678901234567".to_owned()) }
}

/// A [`Dump`] of given subjects.
#[derive(Debug, Clone, Default)]
pub struct FakeDump {
    subjects: Vec<(Subject, Content)>,
    is_compressed: bool,
}

/// The content of a subject in a [`FakeDump`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes.
    Whole(Bytes),
    /// This number of bytes, after which the dump fails with [`crate::stream::failure`].
    FailsAfter(u64),
}

impl FakeDump {
    /// Returns a dump of these subjects, in this order.
    pub fn new(subjects: impl IntoIterator<Item = (Subject, Content)>) -> Self {
        Self { subjects: subjects.into_iter().collect(), is_compressed: false }
    }

    /// Returns the dump with the default compression of its backups.
    pub fn compressed(self) -> Self {
        Self { is_compressed: true, ..self }
    }
}

/// Returns a subject as pg_dump and pg_dumpall discover it: databases need the globals of the run.
pub fn discovered(subject: Subject) -> DiscoveredSubject {
    let run_needs = match subject.kind() {
        SubjectKind::Database => RunNeeds::Globals,
        SubjectKind::ClusterSql | SubjectKind::ClusterFiles => RunNeeds::Nothing,
    };
    DiscoveredSubject { subject, estimated_bytes: None, run_needs, needs: Vec::new() }
}

#[async_trait]
impl Check for FakeDump {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good("testkit", "dumps the given content")]
    }
}

#[async_trait]
impl Dump for FakeDump {
    fn dumps_databases(&self) -> bool {
        self.subjects.iter().all(|(subject, _)| subject.kind() == SubjectKind::Database)
    }

    async fn discover(&self) -> Result<Discovery> {
        let subjects = self.subjects.iter().map(|(subject, _)| discovered(subject.clone()));
        Ok(Discovery {
            server: server(),
            subjects: subjects.collect(),
            missing: Vec::new(),
            not_captured: Vec::new(),
            connections: None,
            is_standby: false,
            warnings: Vec::new(),
        })
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        let content = self.subjects.iter().find(|(known, _)| known == subject);
        match content {
            Some((_, Content::Whole(bytes))) => {
                let zstd = Compression::Zstd { level: DEFAULT_LEVEL, threads: 1 };
                let compression = if self.is_compressed { zstd } else { Compression::None };
                Ok(Dumped { compression, ..dumped(from_bytes(bytes.clone())) })
            }
            Some((_, Content::FailsAfter(length))) => Ok(dumped(fails_after(*length))),
            None => Err(Error::new(Stage::Dump, Kind::NotFound, subject.to_string(), "no such subject")),
        }
    }
}

/// A [`Verify`] with a given result, returned at the end of the bytes.
#[derive(Debug, Clone)]
pub enum FakeVerify {
    /// The bytes are damaged.
    Rejects,
    /// The bytes are good, and these are the confidential details.
    Finds(Map<String, Value>),
    /// The bytes are a good base backup with these facts.
    FindsBase(Box<BaseFacts>),
}

#[async_trait]
impl Check for FakeVerify {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good("testkit", "returns the given result")]
    }
}

impl Verify for FakeVerify {
    fn verifies(&self, _: &Format) -> bool {
        true
    }

    fn verify(&self, subject: &Subject, _: Format, plaintext: ByteStream, _: &Arc<dyn Observer>) -> Verified {
        let findings = OnEnd::new();
        let (found, judge, subject) = (findings.clone(), self.clone(), subject.to_string());
        let result = stream::once(async move {
            match &judge {
                Self::Rejects => {
                    let error = Error::new(Stage::Verify, Kind::Corrupt, subject, "rejected on purpose");
                    stream::iter(Some(Err(error)))
                }
                Self::Finds(_) | Self::FindsBase(_) => {
                    let verification = Verification {
                        by: "testkit".to_owned(),
                        method: "told".to_owned(),
                        totals: Default::default(),
                    };
                    let (details, base) = match judge {
                        Self::FindsBase(base) => (Map::new(), Some(*base)),
                        Self::Finds(details) => (details, None),
                        Self::Rejects => (Map::new(), None),
                    };
                    found.set(VerifyReport { verification, details, base });
                    stream::iter(None)
                }
            }
        });
        Verified { stream: until_error(plaintext.chain(result.flatten()).boxed()), report: findings }
    }
}

/// Ends a stream after its first error.
fn until_error(stream: ByteStream) -> ByteStream {
    stream
        .scan(false, |failed, item| {
            let over = std::mem::replace(failed, item.is_err());
            async move { (!over).then_some(item) }
        })
        .boxed()
}

/// An encryption that protects nothing: each byte is XORed with `0x5A`, and the name ends with
/// `.xor`. For tests only.
#[derive(Debug, Clone, Copy)]
pub struct Xor;

#[async_trait]
impl Check for Xor {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::warning("testkit", "encrypts nothing", "use it only in tests")]
    }
}

impl Encrypt for Xor {
    fn name(&self) -> &'static str {
        "xor"
    }

    fn extension(&self) -> &'static str {
        ".xor"
    }

    fn recipients(&self) -> Vec<String> {
        vec!["00000000000000aa".to_owned()]
    }

    fn encrypt(&self, plaintext: ByteStream, _: &str) -> ByteStream {
        flip(plaintext)
    }
}

#[async_trait]
impl Decrypt for Xor {
    async fn decrypt(&self, ciphertext: ByteStream, _: &str) -> Result<ByteStream> {
        Ok(flip(ciphertext))
    }
}

fn flip(stream: ByteStream) -> ByteStream {
    stream.map(|chunk| chunk.map(|chunk| chunk.iter().map(|byte| byte ^ 0x5A).collect())).boxed()
}
