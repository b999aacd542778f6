//! A fetch that goes on where a connection was cut.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use crate::error::{Error, Kind, Result};
use crate::key::Key;
use crate::stage::Store;
use crate::stream::{ByteStream, from_bytes};

/// How long to wait before the rest is asked for, each time that no byte came in between.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(3), Duration::from_secs(10)];

/// What is fetched.
pub(super) struct Wanted {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: Key,
    /// The bytes of it; all without.
    pub(super) range: Option<Range<u64>>,
    /// How long the store may take to answer.
    pub(super) limit: Duration,
}

impl Wanted {
    /// Passes on what `begun` brings. Where that ends because the store cannot be reached, the rest is asked for, by its range, as long as
    /// there is hope. Whether all bytes are of the same file, their digest tells whoever has it.
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

    /// What comes from byte `at` on; the error that it began with where it is not to be had.
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
                    // All of it was there before the connection went.
                    return Ok(from_bytes(""));
                }
                self.store.fetch(&self.key, Some(at..end)).await
            };
            match tokio::time::timeout(self.limit, again).await {
                Ok(Ok(rest)) => return Ok(rest),
                Ok(Err(again)) if again.kind() != Kind::Unavailable => return Err(again),
                Ok(Err(_)) => {}
                // One that does not even answer is given up.
                Err(_) => break,
            }
        }
        Err(error)
    }

    /// The size of the file, which a listing tells.
    async fn size(&self) -> Result<u64> {
        let mut entries = self.store.list().await?;
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if entry.key == self.key {
                return Ok(entry.bytes);
            }
        }
        let gone = "is no more: it was removed while it was read";
        Err(Error::new(crate::Stage::Ship, Kind::NotFound, self.key.as_str(), gone))
    }
}
