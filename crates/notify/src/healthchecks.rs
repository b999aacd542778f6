//! Healthchecks, a dead man's switch: <https://healthchecks.io/docs/http_api/>

use longshore_core::Result;
use longshore_core::meter::Digest;

use crate::notice::{Notice, State};
use crate::request::{Call, Receiver};
use crate::settings::Healthchecks;
use crate::webhook::url;

/// The size of a body that the service stores, in bytes.
const MAX_BODY_BYTES: usize = 100_000;

/// A check.
#[derive(Debug)]
pub(crate) struct Sender {
    receiver: Receiver,
}

impl Sender {
    pub(crate) fn new(channel: &str, settings: &Healthchecks) -> Result<Self> {
        let url = url(channel, settings.url.as_ref(), settings.url_file.as_ref())?;
        Ok(Self { receiver: Receiver::new(channel, &url)? })
    }

    pub(crate) async fn send(&self, notice: &Notice) -> Result<()> {
        let mut body = notice.body();
        body.truncate(body.floor_char_boundary(MAX_BODY_BYTES));
        let signal = match (notice.state, notice.exit_code) {
            (State::Started, _) => "start".to_owned(),
            // The service records it, and the state of the check stays the same.
            (State::Test | State::Skipped, _) => "log".to_owned(),
            (State::Success | State::Recovered, _) => "0".to_owned(),
            // A failure has an exit code other than 0.
            (_, code) => code.unwrap_or(1).max(1).to_string(),
        };
        let query: Vec<_> = notice.run.iter().map(|run| ("rid", uuid(run))).collect();
        let call = Call { segments: &[&signal], query: &query, content_type: "text/plain", ..Call::json(body) };
        self.receiver.send(call).await
    }
}

/// Returns the id of a run in the form that the service expects: a UUID of version 8.
fn uuid(run: &str) -> String {
    let digest = Digest::of(run.as_bytes());
    let hex = digest.hex();
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_a_run_is_a_uuid() {
        let id = uuid("2026-06-07_091500-run-1f0c9a7e");
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(id, uuid("2026-06-07_091500-run-1f0c9a7e"));
        assert_ne!(id, uuid("2026-06-07_091500-run-1f0c9a7f"));
    }
}
