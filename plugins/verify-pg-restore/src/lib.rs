//! Decodes every archive with `pg_restore` while it is streamed, as `type = "pg_restore"`; plain
//! SQL must end with its completion mark.
//!
//! `pg_restore --list`, which runbooks use for verification, reads only the first pages and accepts
//! truncated archives; a full decode does not.

mod archive;
mod damage;
mod script;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use longshore_core::check::{Check, Finding};
use longshore_core::event::Observer;
use longshore_core::fan_out::fan_out;
use longshore_core::manifest::{Format, Verification};
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::stage::{Verified, Verify, VerifyReport};
use longshore_core::stream::{ByteStream, OnEnd, failed};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use serde::Deserialize;
use tokio::task::{JoinError, JoinSet};

/// Settings of `{ type = "pg_restore", … }`: verifies by decoding with pg_restore.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PgRestore {
    /// The time in seconds for which pg_restore may read no byte, or may run after the last one:
    /// with some damaged archives it never ends. A directory dump, which is read from files, has
    /// one more second per 10 MB.
    pub timeout_seconds: u64,
}

impl Default for PgRestore {
    fn default() -> Self {
        Self { timeout_seconds: 600 }
    }
}

impl Plugin<dyn Verify> for PgRestore {
    const TYPE: &'static str = "pg_restore";

    fn build(self, site: &JobContext) -> Result<Box<dyn Verify>> {
        Ok(Box::new(Decoder {
            client: Client::new(&site.cluster)?,
            scratch_dir: site.scratch_dir.clone(),
            time_limit: Duration::from_secs(self.timeout_seconds),
        }))
    }
}

/// A stage that decodes the passing stream.
#[derive(Clone)]
struct Decoder {
    client: Client,
    scratch_dir: Option<PathBuf>,
    time_limit: Duration,
}

impl Verify for Decoder {
    fn verifies(&self, format: &Format) -> bool {
        format.is_dump()
    }

    fn verify(&self, subject: &Subject, format: Format, plaintext: ByteStream, _: &Arc<dyn Observer>) -> Verified {
        let findings = OnEnd::new();
        if !format.is_dump() {
            let stream = failed(format.unsupported(Stage::Verify, &subject.to_string()));
            return Verified { stream, report: findings };
        }
        let found = findings.clone();
        let (decoder, subject) = (self.clone(), subject.clone());
        let stream = async_stream::try_stream! {
            let plaintext = match format {
                Format::Plain => plaintext,
                _ => damage::fail_if_damaged(plaintext, &subject.to_string()),
            };
            let (mut branches, _) = fan_out(plaintext, 2);
            let (to_verify, mut to_pass_on) = (branches.swap_remove(1), branches.swap_remove(0));
            // A `JoinSet` aborts its tasks when it is dropped with the stream.
            let mut tasks = JoinSet::new();
            tasks.spawn(async move { decoder.run(&subject, format, to_verify).await });
            let mut verification = None;
            loop {
                let step = tokio::select! {
                    result = tasks.join_next(), if verification.is_none() => Step::Verified(task_result(result)),
                    chunk = to_pass_on.next() => Step::Chunk(chunk),
                };
                match step {
                    // Wait for the end of the stream: a damaged archive ends it with an error,
                    // which is more specific than the failure of pg_restore.
                    Step::Verified(Err(error)) if error.kind() == Kind::Corrupt => Err(error)?,
                    Step::Verified(result) => verification = Some(result),
                    Step::Chunk(Some(chunk)) => yield chunk?,
                    Step::Chunk(None) => break,
                }
            }
            let verification = match verification {
                Some(result) => result?,
                None => task_result(tasks.join_next().await)?,
            };
            found.set(VerifyReport { verification, details: serde_json::Map::new(), base: None });
        };
        Verified { stream: stream.boxed(), report: findings }
    }
}

/// The next event while a stream is verified.
enum Step {
    Verified(Result<Verification>),
    Chunk(Option<Result<bytes::Bytes>>),
}

/// Returns the result of a verification task; a panic is a failure.
fn task_result(joined: Option<Result<Result<Verification>, JoinError>>) -> Result<Verification> {
    let unfinished = || Error::new(Stage::Verify, Kind::Failed, "pg_restore", "the verifier did not finish");
    match joined {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(unfinished().because(error)),
        None => Err(unfinished()),
    }
}

impl Decoder {
    async fn run(&self, subject: &Subject, format: Format, plaintext: ByteStream) -> Result<Verification> {
        let label = subject.to_string();
        match format {
            Format::Plain => script::verify(subject, plaintext).await,
            Format::Custom => archive::verify_stream(&self.client, "custom", plaintext, &label, self.time_limit).await,
            Format::Tar => archive::verify_stream(&self.client, "tar", plaintext, &label, self.time_limit).await,
            Format::Directory => {
                archive::verify_folder(&self.client, self.scratch_dir.as_deref(), plaintext, &label, self.time_limit)
                    .await
            }
            Format::Base | Format::Other(_) => Err(format.unsupported(Stage::Verify, &label)),
        }
    }
}

#[async_trait]
impl Check for Decoder {
    async fn check(&self) -> Vec<Finding> {
        match self.client.newest_tool("pg_restore").await {
            Ok(pg_restore) => vec![Finding::good("pg_restore", pg_restore.to_string())],
            Err(error) => vec![Finding::failed("pg_restore", &error)],
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::compress::Compression;
    use longshore_core::event::ignore;
    use longshore_core::format::FormatName;
    use longshore_core::plugin::{Cluster, CompressBy};
    use longshore_core::stream::from_bytes;

    use super::*;

    #[tokio::test]
    async fn format_of_another_program_fails_before_its_first_byte() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let site = JobContext { cluster, compress_by: CompressBy::Pipeline(Compression::None), scratch_dir: None };
        let decoder = PgRestore::default().build(&site).unwrap();
        for format in [Format::Base, Format::Other(FormatName::new("mysqldump").unwrap())] {
            let mut verified = decoder.verify(&Subject::Base, format, from_bytes("bytes"), &ignore());
            let error = verified.stream.next().await.unwrap().unwrap_err();
            assert_eq!((error.stage(), error.kind()), (Stage::Verify, Kind::Usage), "no damage");
            assert!(error.remedy().is_some() && verified.report.get().is_none(), "{error:?}");
        }
    }
}
