//! Resumption of a fetch after a lost connection.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use crate::error::{Error, Kind, Result};
use crate::key::Key;
use crate::stage::Store;
use crate::stream::{ByteStream, from_bytes};

/// The pauses before successive attempts without a byte in between.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(3), Duration::from_secs(10)];

/// An object to fetch.
pub(super) struct Wanted {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: Key,
    /// The range to fetch; the whole object if absent.
    pub(super) range: Option<Range<u64>>,
    /// The longest time for the store to answer.
    pub(super) limit: Duration,
}

impl Wanted {
    /// Passes on the bytes of `begun`. If that stream ends because the store is unavailable,
    /// requests the remaining range until the attempts are used up. The caller's digest verifies
    /// that all bytes belong to the same file.
    pub(super) fn follow(
        self,
        mut begun: ByteStream,
        watched: impl Fn(ByteStream) -> ByteStream + Send + Sync + 'static,
    ) -> ByteStream {
        let stream = async_stream::try_stream! {
            let mut at = self.range.as_ref().map_or(0, |range| range.start);
            let mut tries = 0;
            loop {
                match begun.next().await {
                    None => break,
                    Some(Ok(chunk)) => {
                        at += chunk.len() as u64;
                        tries = 0;
                        yield chunk;
                    }
                    Some(Err(error)) if error.kind() == Kind::Unavailable => {
                        begun = watched(self.rest(at, &mut tries, error).await?);
                    }
                    Some(Err(error)) => Err(error)?,
                }
            }
        };
        stream.boxed()
    }

    /// Fetches the bytes from offset `at` on. Returns the original error if the attempts are used
    /// up.
    async fn rest(&self, at: u64, tries: &mut usize, error: Error) -> Result<ByteStream> {
        while let Some(pause) = PAUSES.get(*tries) {
            *tries += 1;
            tokio::time::sleep(*pause).await;
            let again = async {
                let end = match &self.range {
                    Some(range) => range.end,
                    None => self.size().await?,
                };
                if at >= end {
                    // The connection was lost after the last byte.
                    return Ok(from_bytes(""));
                }
                self.store.fetch(&self.key, Some(at..end)).await
            };
            match tokio::time::timeout(self.limit, again).await {
                Ok(Ok(rest)) => return Ok(rest),
                Ok(Err(again)) if again.kind() != Kind::Unavailable => return Err(again),
                Ok(Err(_)) => {}
                // A store that does not even answer is not tried again.
                Err(_) => break,
            }
        }
        Err(error)
    }

    /// Returns the size of the file, from a listing.
    async fn size(&self) -> Result<u64> {
        let mut entries = self.store.list().await?;
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if entry.key == self.key {
                return Ok(entry.bytes);
            }
        }
        let gone = "the object was deleted during the read";
        Err(Error::new(crate::Stage::Ship, Kind::NotFound, self.key.as_str(), gone))
    }
}
