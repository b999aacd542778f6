//! Decryption.

use std::path::Path;

use async_trait::async_trait;
use longshore_core::plugin::{Identities, Plugin};
use longshore_core::stage::Decrypt;
use longshore_core::stream::ByteStream;
use longshore_core::unit::TimeSpan;
use longshore_core::{Result, Stage};
use longshore_exec::settings::STALL_TIMEOUT;
use longshore_exec::{ExecProgram, Request, Role};

use crate::filter::decrypted;

longshore_exec::program_settings! {
    /// `[decrypt.NAME]` with `type = "exec"`: a program that reads a file of the encryption NAME on
    /// standard input, and writes the plaintext to standard output. Exit status 0 means success.
    pub struct ExecDecrypt {
        /// The time without progress after which the program is ended, by default `"10m"`.
        #[serde(default)]
        stall_timeout: Option<TimeSpan>,
    }
}

impl Plugin<dyn Decrypt> for ExecDecrypt {
    const TYPE: &'static str = "exec";

    fn in_plugin_dir(self, plugin_dir: &Path) -> Self {
        self.locate(plugin_dir)
    }

    fn build(self, _: &Identities) -> Result<Box<dyn Decrypt>> {
        let program = self.program(self.stall_timeout.map_or(STALL_TIMEOUT, TimeSpan::duration))?;
        Ok(Box::new(ProgramDecrypt { program }))
    }
}

/// A stage that decrypts by a program.
struct ProgramDecrypt {
    program: ExecProgram,
}

#[async_trait]
impl Decrypt for ProgramDecrypt {
    async fn decrypt(&self, ciphertext: ByteStream, subject: &str) -> Result<ByteStream> {
        // A program that others could replace is an error here, and not in the first chunk.
        self.program.check(Stage::Decrypt)?;
        Ok(decrypted(self.program.clone(), Request::new(Stage::Decrypt, subject, Role::Decrypt), ciphertext))
    }

    fn is_authenticated(&self) -> bool {
        false
    }
}
