//! The settings.

use std::path::Path;

use longshore_core::format::FormatName;
use longshore_core::plugin::{CompressBy, JobContext, Plugin};
use longshore_core::stage::{Dump, RestorePrograms};
use longshore_core::subject::Subject;
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::settings::{STALL_TIMEOUT, locate};

use crate::{ProgramDump, target};

longshore_exec::program_settings! {
    /// Settings of `{ type = "exec", … }`: dumps by a program, such as the dump program of another
    /// database.
    pub struct Exec {
        /// The name of the subject in the destinations, such as the name of the database.
        #[schemars(length(min = 1))]
        subject: String,
        /// The name of the format: at most 32 of `a-z`, `0-9` and `-`. Files are named `.x-FORMAT`.
        #[schemars(length(min = 1, max = 32))]
        format: String,
        /// The beginning of the last line of a complete dump, such as `"-- Dump completed"`.
        #[serde(default)]
        expect_tail: Option<String>,
        /// The way to restore the dump by hand, for the manifest: a command that reads it on
        /// standard input, or a sentence.
        #[schemars(length(min = 1))]
        undo: String,
        /// The program that `longshore restore --program` starts, which reads the dump on standard
        /// input: a list as in `program`.
        #[serde(default)]
        restore: Option<Vec<String>>,
        /// The program that `longshore drill` starts, which reads the dump on standard input,
        /// restores it to a temporary place, checks the result, and cleans up: a list as in
        /// `program`.
        #[serde(default)]
        drill: Option<Vec<String>>,
        /// The time without progress after which the program is ended, by default `"10m"`.
        #[serde(default)]
        stall_timeout: Option<TimeSpan>,
    }
}

impl Plugin<dyn Dump> for Exec {
    const TYPE: &'static str = "exec";

    fn in_plugin_dir(mut self, plugin_dir: &Path) -> Self {
        for argv in [&mut self.restore, &mut self.drill].into_iter().flatten() {
            locate(argv, plugin_dir);
        }
        self.locate(plugin_dir)
    }

    fn build(self, site: &JobContext) -> Result<Box<dyn Dump>> {
        let usage =
            |message: &str, hint: &str| Err(Error::new(Stage::Config, Kind::Usage, &self.subject, message).hint(hint));
        if self.subject.is_empty() {
            return usage("subject of an exec dump is empty", "name what the program dumps: subject = \"wiki\"");
        }
        if self.undo.trim().is_empty() {
            return usage("undo of an exec dump is empty", "write how to restore it by hand: undo = \"mariadb wiki\"");
        }
        if self.expect_tail.as_ref().is_some_and(String::is_empty) {
            return usage("expect_tail is empty", "write the beginning of the last line, or omit the setting");
        }
        let compression = match site.compress_by {
            CompressBy::Pipeline(compression) => compression,
            CompressBy::Tool { .. } => {
                return usage(
                    "compression by the dump program needs pg_dump",
                    "set compression = { by = \"longshore\" }, or let the program compress and name that in undo",
                );
            }
        };
        let program = self.program(self.stall_timeout.map_or(STALL_TIMEOUT, TimeSpan::duration))?;
        let programs =
            RestorePrograms { restore: target(&self.restore, &program)?, drill: target(&self.drill, &program)? };
        Ok(Box::new(ProgramDump {
            program,
            format: FormatName::new(&self.format)?,
            subject: Subject::database(self.subject),
            expect_tail: self.expect_tail,
            undo: self.undo,
            compression,
            programs,
        }))
    }
}
