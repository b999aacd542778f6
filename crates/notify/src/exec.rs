//! A program that receives the notice as JSON on standard input.

use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_program::Program;

use crate::notice::Notice;
use crate::request::TIMEOUT;
use crate::settings::Exec;

/// The exit status by which a program requests another attempt: that of sysexits for a temporary
/// failure.
const TRY_AGAIN: i32 = 75;

/// A program.
#[derive(Debug)]
pub(crate) struct Sender {
    channel: String,
    program: Program,
}

impl Sender {
    pub(crate) fn new(channel: &str, settings: &Exec) -> Result<Self> {
        let timeout = settings.timeout.map_or(TIMEOUT, |timeout| timeout.duration());
        let program = Program {
            argv: settings.program.clone(),
            dir: settings.dir.clone(),
            env: settings.env.clone(),
            timeout: timeout.max(Duration::from_secs(1)),
        };
        Ok(Self { channel: channel.to_owned(), program })
    }

    /// Checks that only root and this user can replace the program.
    pub(crate) fn check(&self) -> Result<()> {
        self.program.check(Stage::Notify)
    }

    pub(crate) async fn send(&self, notice: &Notice) -> Result<()> {
        let input = serde_json::to_string(notice).map_err(|error| {
            Error::new(Stage::Notify, Kind::Failed, &self.channel, "cannot write the notice as JSON").because(error)
        })?;
        let state = serde_json::to_value(notice.state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
        let variables = [
            ("LONGSHORE_EVENT", notice.event.name().to_owned()),
            ("LONGSHORE_STATE", state.unwrap_or_default()),
            ("LONGSHORE_JOB", notice.job.clone().unwrap_or_default()),
        ];
        let ending = self.program.run(Stage::Notify, &variables, input.as_bytes()).await?;
        match ending.status.code() {
            Some(0) => Ok(()),
            Some(TRY_AGAIN) => {
                let message = "the program ended with exit status 75: a temporary failure";
                Err(Error::new(Stage::Notify, Kind::Unavailable, &self.channel, message))
            }
            _ => Err(ending.error(Stage::Notify, &self.program)),
        }
    }
}
