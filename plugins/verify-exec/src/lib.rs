//! Verifies dumps with a program of the operator, as `type = "exec"`. The program reads the
//! plaintext on standard input to its end; the bytes that continue are those of the dump, so that a
//! program cannot change them.
//!
//! `type = "digest"` is the verifier of other programs' formats if no program verifies them: the
//! digests in the manifest show that a backup is intact, but no content is checked.

mod digest;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use longshore_core::check::{Check, Finding};
use longshore_core::event::Observer;
use longshore_core::manifest::{Format, Verification};
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::stage::{Verified, Verify, VerifyReport};
use longshore_core::stream::{ByteStream, OnEnd};
use longshore_core::subject::Subject;
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::settings::STALL_TIMEOUT;
use longshore_exec::{ExecProgram, Request, Role, Session, Step};

pub use self::digest::Digest;

longshore_exec::program_settings! {
    /// Settings of `{ type = "exec", … }`: verifies dumps with a program that reads them on
    /// standard input. Exit status 0 means sound, 65 damaged; any other status fails the dump
    /// without proving damage.
    pub struct Exec {
        /// The formats that the program verifies, such as `["x-mariadb", "plain"]`. By default all.
        #[serde(default)]
        formats: Option<Vec<String>>,
        /// The time without progress after which the program is ended, by default `"10m"`.
        #[serde(default)]
        stall_timeout: Option<TimeSpan>,
    }
}

impl Plugin<dyn Verify> for Exec {
    const TYPE: &'static str = "exec";

    fn in_plugin_dir(self, plugin_dir: &Path) -> Self {
        self.locate(plugin_dir)
    }

    fn build(self, _: &JobContext) -> Result<Box<dyn Verify>> {
        let program = self.program(self.stall_timeout.map_or(STALL_TIMEOUT, TimeSpan::duration))?;
        let formats = self.formats.map(|formats| formats.into_iter().map(format).collect::<Result<_>>()).transpose()?;
        Ok(Box::new(ProgramVerifier { program, formats }))
    }
}

/// Parses the name of a format.
fn format(name: String) -> Result<Format> {
    let invalid = |error| {
        Error::new(Stage::Config, Kind::Usage, &name, "formats of an exec verifier names no format")
            .because(error)
            .hint("write custom, plain, tar, directory, base, or the format of an exec dump with x- before it")
    };
    serde_json::from_value(name.clone().into()).map_err(invalid)
}

/// A stage that passes the stream to a program, too.
struct ProgramVerifier {
    program: ExecProgram,
    formats: Option<Vec<Format>>,
}

#[async_trait]
impl Check for ProgramVerifier {
    async fn check(&self) -> Vec<Finding> {
        vec![self.program.finding(Stage::Verify)]
    }
}

impl Verify for ProgramVerifier {
    fn verifies(&self, format: &Format) -> bool {
        self.formats.as_ref().is_none_or(|formats| formats.contains(format))
    }

    fn verify(&self, subject: &Subject, format: Format, mut plaintext: ByteStream, _: &Arc<dyn Observer>) -> Verified {
        let report = OnEnd::new();
        let (on_end, program) = (report.clone(), self.program.clone());
        let request = Request::new(Stage::Verify, subject.to_string(), Role::Verify)
            .with("subject", subject.to_string())
            .with("format", format.to_string());
        let stream = async_stream::try_stream! {
            let mut session = Session::start(&program, request).await?;
            loop {
                match session.step(&mut plaintext).await? {
                    Step::Taken(chunk) => yield chunk,
                    Step::Ended => break,
                    Step::Output(_) | Step::InputEnded | Step::Entry(_) => {}
                }
            }
            let ended = session.finish().await?;
            let by = match ended.name {
                Some((name, version)) => [Some(name), version].into_iter().flatten().collect::<Vec<_>>().join(" "),
                None => program.name(),
            };
            let verification = Verification {
                by: format!("program {by}"),
                method: ended.done.note.unwrap_or_else(|| "exit status 0".to_owned()),
                totals: BTreeMap::new(),
            };
            on_end.set(VerifyReport { verification, details: serde_json::Map::new(), base: None });
        };
        Verified { stream: stream.boxed(), report }
    }
}
