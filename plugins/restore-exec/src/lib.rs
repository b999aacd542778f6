//! Restores backups in other programs' formats by the program that the job names: it reads the
//! plaintext on standard input, and exits with 0.

use std::time::Instant;

use async_trait::async_trait;
use longshore_core::check::Finding;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::Manifest;
use longshore_core::phase::Phase;
use longshore_core::plugin::{Plugin, Target};
use longshore_core::stage::{Restore, RestoreRequest, Restored};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::{ExecProgram, Request, Role, feed};
use serde_json::{Map, Value};

/// Settings of the restore by a program: none, since the target names the program.
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {}

impl Plugin<dyn Restore> for Exec {
    const TYPE: &'static str = "exec";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        Ok(Box::new(ProgramRestore { program: ExecProgram::of_target(target.expect_program()?) }))
    }
}

/// A stage that passes the plaintext to a program.
struct ProgramRestore {
    program: ExecProgram,
}

#[async_trait]
impl Restore for ProgramRestore {
    async fn prepare(&self, _: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
        Ok(vec![self.program.finding(Stage::Restore)])
    }

    async fn restore(&self, request: RestoreRequest<'_>, plaintext: ByteStream) -> Result<Restored> {
        let begun = Instant::now();
        let work = Request::new(Stage::Restore, request.manifest.subject.to_string(), Role::Restore);
        let ended = feed(&self.program, work, plaintext).await?;
        let phase = Phase { name: "restore".to_owned(), seconds: begun.elapsed().as_secs_f64(), restores: true };
        Ok(Restored { phases: vec![phase], warnings: ended.warnings, ..Restored::default() })
    }

    async fn contents(&self, manifest: &Manifest, _: ByteStream) -> Result<Vec<String>> {
        let message = format!("Longshore cannot list the contents of format \"{}\"", manifest.artifact.format);
        Err(Error::new(Stage::Restore, Kind::Usage, manifest.subject.to_string(), message)
            .hint("write the backup to a file with --output FILE"))
    }

    fn comparable_details(&self, _: &Map<String, Value>, _: &[LeftOut]) -> Option<Map<String, Value>> {
        None
    }
}
