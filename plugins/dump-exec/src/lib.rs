//! Dumps by a program of the operator, as `type = "exec"`: databases of other kinds become series
//! of the same catalog.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `tail.rs` | the last line of the output, which shows that a dump is complete |

mod settings;
mod tail;

use async_trait::async_trait;
use futures_util::StreamExt;
use longshore_core::check::{Check, Finding};
use longshore_core::compress::Compression;
use longshore_core::discovery::{DiscoveredSubject, Discovery};
use longshore_core::format::{Format, FormatName};
use longshore_core::manifest::{Server, Tool};
use longshore_core::plugin::ProgramTarget;
use longshore_core::stage::{Dump, DumpNotes, Dumped, RestorePrograms, RunNeeds};
use longshore_core::stream::OnEnd;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Result, Stage};
use longshore_exec::session::no_input;
use longshore_exec::{Ended, ExecProgram, Request, Role, Session, output};

pub use self::settings::Exec;
use self::tail::Tail;

/// The version of a program that reports none.
const UNKNOWN_VERSION: &str = "unknown";

/// A stage that dumps one subject by a program.
struct ProgramDump {
    program: ExecProgram,
    subject: Subject,
    format: FormatName,
    expect_tail: Option<String>,
    undo: String,
    compression: Compression,
    programs: RestorePrograms,
}

#[async_trait]
impl Check for ProgramDump {
    async fn check(&self) -> Vec<Finding> {
        let RestorePrograms { restore, drill } = &self.programs;
        let more = [restore, drill].into_iter().flatten().map(ExecProgram::of_target);
        let mut findings = vec![self.program.finding(Stage::Dump)];
        findings.extend(more.map(|program| program.finding(Stage::Restore)));
        if drill.is_none() {
            findings.push(Finding::warning(
                self.subject.to_string(),
                "no program drills its backups: only digests show that they are intact",
                "set drill in its entry of dump to a program that restores and checks a copy",
            ));
        }
        findings
    }
}

#[async_trait]
impl Dump for ProgramDump {
    async fn discover(&self) -> Result<Discovery> {
        self.program.check(Stage::Dump)?;
        Ok(Discovery {
            server: Server { server_version: String::new(), system_identifier: None },
            subjects: vec![DiscoveredSubject {
                subject: self.subject.clone(),
                estimated_bytes: None,
                run_needs: RunNeeds::Nothing,
                needs: Vec::new(),
            }],
            missing: Vec::new(),
            not_captured: Vec::new(),
            connections: None,
            is_standby: false,
            warnings: Vec::new(),
        })
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        let request = Request::new(Stage::Dump, subject.to_string(), Role::Dump);
        let request = request.with("subject", subject.to_string());
        let session = Session::start(&self.program, request).await?;
        let tool = match session.name() {
            Some((name, version)) => {
                Tool { name: name.to_owned(), version: version.unwrap_or(UNKNOWN_VERSION).to_owned() }
            }
            None => Tool { name: self.program.name(), version: UNKNOWN_VERSION.to_owned() },
        };
        let notes = OnEnd::new();
        let (on_end, undo) = (notes.clone(), self.undo.clone());
        let tail = Tail::new(self.expect_tail.clone(), subject.to_string());
        let seen = tail.clone();
        let stream = output(session, no_input(), move |ended: Ended| {
            tail.expect()?;
            on_end.set(DumpNotes { warnings: ended.warnings, undo: Some(undo), ..DumpNotes::default() });
            Ok(())
        });
        Ok(Dumped {
            stream: stream.inspect(move |chunk| seen.see(chunk)).boxed(),
            format: Format::Other(self.format.clone()),
            estimated_bytes: None,
            compression: self.compression,
            tool,
            database: None,
            base_manifest: None,
            snapshot: None,
            notes,
        })
    }

    fn dumps_databases(&self) -> bool {
        self.subject.kind() == SubjectKind::Database
    }

    fn foreign_format(&self) -> Option<Format> {
        Some(Format::Other(self.format.clone()))
    }

    fn restore_programs(&self, subject: &Subject, format: &Format) -> Option<RestorePrograms> {
        let is_own = *subject == self.subject && self.foreign_format().as_ref() == Some(format);
        is_own.then(|| self.programs.clone())
    }
}

/// Returns the program that a setting names, in the environment of the dump.
fn target(argv: &Option<Vec<String>>, program: &ExecProgram) -> Result<Option<ProgramTarget>> {
    let Some(argv) = argv else { return Ok(None) };
    let target = ProgramTarget {
        argv: argv.clone(),
        dir: program.dir.clone(),
        env: program.env.clone(),
        stall_timeout: program.stall_timeout,
    };
    ExecProgram::of_target(&target).validate()?;
    Ok(Some(target))
}
