//! Stages in memory: a server to dump, an encryption, and a restore target. Each call of a stage
//! passes the injector of its environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use longshore_core::Result;
use longshore_core::check::{Check, Finding};
use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_core::event::Observer;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::{Format, Manifest, Verification};
use longshore_core::meter::{Algorithm, Digest, meter};
use longshore_core::plugin::{Cluster, Identities, JobContext, Plugin, RestorePlugin, StoreContext, Target};
use longshore_core::stage::{
    Decrypt, DiscoveredSubject, Discovery, Dump, Dumped, Encrypt, Examine, Restore, RestoreRequest, Restored, Scratch,
    ScratchCluster, Store, Verified, Verify, VerifyReport, WalSource,
};
use longshore_core::stream::{ByteStream, OnEnd, collect};
use longshore_core::subject::Subject;
use longshore_testkit::fake_stage::{FakeDump, Xor, discovered, dumped};
use longshore_testkit::injection::faulty_store::FaultyStore;
use longshore_testkit::stream::random_bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::env::Shared;

/// The size of a chunk of plaintext, in bytes.
const CHUNK_BYTES: usize = 100;

/// The subjects of every run, globals first.
pub(crate) fn subjects() -> [Subject; 2] {
    [Subject::Globals, Subject::database("app")]
}

/// Returns the plaintext of a subject.
pub(crate) fn content(subject: &Subject) -> Bytes {
    random_bytes(subject.segment().len() as u64, 400)
}

/// A destination of an environment.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    env: String,
    name: String,
}

impl Plugin<dyn Store> for Memory {
    const TYPE: &'static str = "memory";

    fn build(self, _: &StoreContext) -> Result<Box<dyn Store>> {
        let store: FaultyStore = Shared::of(&self.env).stores[self.name.as_str()].clone();
        Ok(Box::new(store))
    }
}

/// The server of an environment.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct Server {
    env: String,
}

impl Plugin<dyn Dump> for Server {
    const TYPE: &'static str = "server";

    fn build(self, _: &JobContext) -> Result<Box<dyn Dump>> {
        Ok(Box::new(Source(Shared::of(&self.env))))
    }
}

/// The server, which is dumped, or whose WAL is received.
pub(crate) struct Source(pub(crate) Arc<Shared>);

#[async_trait]
impl Check for Source {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good("server", "is reachable")]
    }
}

#[async_trait]
impl Dump for Source {
    async fn discover(&self) -> Result<Discovery> {
        let turn = self.0.injector.begin("server survey".to_owned()).await?;
        let mut survey = FakeDump::default().discover().await?;
        let surveyed =
            subjects().into_iter().map(|subject| DiscoveredSubject { estimated_bytes: Some(1), ..discovered(subject) });
        survey.subjects = surveyed.collect();
        turn.end().await.map(|()| survey)
    }

    fn wal_source(&self) -> Option<&dyn WalSource> {
        Some(self)
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        let turn = self.0.injector.begin(format!("server dump {subject}")).await?;
        let content = content(subject);
        Ok(dumped(turn.items(content.chunks(CHUNK_BYTES).map(|chunk| Ok(content.slice_ref(chunk))).collect())))
    }
}

/// A verifier that records the digest of the plaintext in the details.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct Digests {}

impl Plugin<dyn Verify> for Digests {
    const TYPE: &'static str = "digests";

    fn build(self, _: &JobContext) -> Result<Box<dyn Verify>> {
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Check for Digests {
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

impl Verify for Digests {
    fn verifies(&self, _: &Format) -> bool {
        true
    }

    fn verify(&self, _: &Subject, _: Format, plaintext: ByteStream, _: &Arc<dyn Observer>) -> Verified {
        let findings = OnEnd::new();
        let (stream, digest) = meter(plaintext, Algorithm::Sha256, |_| {});
        let found = findings.clone();
        let end = futures_util::stream::once(async move {
            // A stream that failed has no digest.
            if let Some(digest) = digest.get() {
                let details = Map::from_iter([("content".to_owned(), Value::from(digest.hex()))]);
                let verification =
                    Verification { by: "testkit".to_owned(), method: "digested".to_owned(), totals: BTreeMap::new() };
                found.set(VerifyReport { verification, details, base: None });
            }
            None
        });
        Verified { stream: stream.map(Some).chain(end).filter_map(async |item| item).boxed(), report: findings }
    }
}

/// The encryption of every job.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct XorEncryption {}

impl Plugin<dyn Encrypt> for XorEncryption {
    const TYPE: &'static str = "xor";

    fn build(self, (): &()) -> Result<Box<dyn Encrypt>> {
        Ok(Box::new(Xor))
    }
}

impl Plugin<dyn Decrypt> for XorEncryption {
    const TYPE: &'static str = "xor";

    fn build(self, _: &Identities) -> Result<Box<dyn Decrypt>> {
        Ok(Box::new(Xor))
    }
}

/// A restore into the server of the environment that the connection names.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct Restores {}

impl Plugin<dyn Restore> for Restores {
    const TYPE: &'static str = "restores";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        let target = target.expect_database(Self::TYPE)?;
        Ok(Box::new(Restorer(Shared::at(&target.cluster))))
    }
}

impl RestorePlugin for Restores {
    const FORMATS: &'static [Format] = &[Format::Custom];
}

struct Restorer(Arc<Shared>);

#[async_trait]
impl Restore for Restorer {
    async fn prepare(&self, _: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
        let turn = self.0.injector.begin("target prepare".to_owned()).await?;
        turn.end().await.map(|()| Vec::new())
    }

    async fn restore(&self, wanted: RestoreRequest<'_>, plaintext: ByteStream) -> Result<Restored> {
        let subject = &wanted.manifest.subject;
        let turn = self.0.injector.begin(format!("target restore {subject}")).await?;
        let mut bytes = collect(plaintext, 1 << 20, longshore_core::Stage::Restore, "plaintext").await?;
        if turn.is_half() {
            bytes.truncate(bytes.len() / 2);
        }
        self.0.restored.lock().unwrap().insert(subject.segment(), bytes);
        turn.end().await.map(|()| Restored { database: Some(subject.segment()), ..Restored::default() })
    }

    async fn contents(&self, _: &Manifest, _: ByteStream) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn comparable_details(&self, details: &Map<String, Value>, _: &[LeftOut]) -> Option<Map<String, Value>> {
        Some(details.clone())
    }
}

/// An examiner of the server of the environment that the connection names.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct Examines {}

impl Plugin<dyn Examine> for Examines {
    const TYPE: &'static str = "asks";

    fn build(self, cluster: &Cluster) -> Result<Box<dyn Examine>> {
        Ok(Box::new(Examiner(Shared::at(cluster))))
    }
}

struct Examiner(Arc<Shared>);

#[async_trait]
impl Examine for Examiner {
    async fn compare(&self, database: &str, _: &Manifest, details: &Map<String, Value>) -> Result<Vec<Comparison>> {
        let turn = self.0.injector.begin(format!("target compare {database}")).await?;
        let bytes = self.0.restored.lock().unwrap().get(database).cloned().unwrap_or_default();
        let found = Digest::of(&bytes).hex().to_owned();
        let expected = details["content"].as_str().unwrap_or_default().to_owned();
        let outcome = if found == expected { ComparisonOutcome::Same } else { ComparisonOutcome::Different };
        let comparison = Comparison {
            subject: database.to_owned(),
            aspect: "content".to_owned(),
            expected: Some(expected),
            found: Some(found),
            outcome,
        };
        turn.end().await.map(|()| vec![comparison])
    }

    async fn ask(&self, _: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let turn = self.0.injector.begin(format!("target ask {query}")).await?;
        turn.end().await.map(|()| Vec::new())
    }
}

/// Scratch servers in memory.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
pub(crate) struct ScratchServers {}

impl Plugin<dyn Scratch> for ScratchServers {
    const TYPE: &'static str = "places";

    fn build(self, site: &JobContext) -> Result<Box<dyn Scratch>> {
        Ok(Box::new(ScratchMaker(site.cluster.clone())))
    }
}

struct ScratchMaker(Cluster);

#[async_trait]
impl Check for ScratchMaker {
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl Scratch for ScratchMaker {
    async fn make(&self, _: &[RestoreRequest<'_>]) -> Result<Box<dyn ScratchCluster>> {
        let shared = Shared::at(&self.0);
        let turn = shared.injector.begin("scratch make".to_owned()).await?;
        let folder = tempfile::tempdir_in(&shared.scratch).unwrap();
        let place = ScratchServer { cluster: self.0.clone(), folder, shared };
        turn.end().await?;
        Ok(Box::new(place))
    }
}

struct ScratchServer {
    cluster: Cluster,
    folder: TempDir,
    shared: Arc<Shared>,
}

#[async_trait]
impl ScratchCluster for ScratchServer {
    fn description(&self) -> String {
        "a scratch server in memory".to_owned()
    }

    fn version(&self) -> String {
        "17.4".to_owned()
    }

    fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    fn database(&self, name: &str) -> String {
        name.to_owned()
    }

    fn accepts_globals(&self) -> bool {
        true
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        let turn = self.shared.injector.begin("scratch remove".to_owned()).await?;
        self.folder.close().unwrap();
        turn.end().await
    }
}
