//! Distribution of one stream to many readers: the ciphertext is sent to every destination through
//! bounded buffers.

use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::cleanup::inherit;
use crate::error::Error;
use crate::stream::{self, ByteStream, OnEnd, StreamSender};

/// Copies `source` to `count` streams, at the pace of the slowest reader. Each branch carries the
/// end or error of the source.
///
/// A dropped branch is skipped from then on and does not affect the others; dropping all branches
/// drops the source. The [`OnEnd`] contains the error of the source, if it failed, which
/// distinguishes it from the error of a destination.
pub fn fan_out(source: ByteStream, count: usize) -> (Vec<ByteStream>, OnEnd<Error>) {
    let (senders, branches): (Vec<_>, Vec<_>) = (0..count).map(|_| stream::channel()).unzip();
    let failure = OnEnd::new();
    tokio::spawn(inherit(drive(source, senders, failure.clone())));
    (branches, failure)
}

async fn drive(mut source: ByteStream, mut senders: Vec<StreamSender>, failure: OnEnd<Error>) {
    while !senders.is_empty() {
        let next = tokio::select! {
            next = source.next() => next,
            _ = join_all(senders.iter().map(StreamSender::closed)) => return,
        };
        match next {
            Some(Ok(chunk)) => {
                let sent = join_all(senders.iter().map(|sender| sender.send(chunk.clone()))).await;
                let mut sent = sent.iter();
                senders.retain(|_| sent.next().is_some_and(Result::is_ok));
            }
            Some(Err(error)) => {
                failure.set(error.clone());
                // The send fails only for a branch that was dropped.
                join_all(senders.drain(..).map(|sender| sender.fail(error.clone()))).await;
            }
            None => {
                join_all(senders.drain(..).map(StreamSender::finish)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::error::{Kind, Stage};
    use crate::stream::collect;

    async fn read(branch: ByteStream) -> Result<Bytes, Error> {
        collect(branch, 1 << 20, Stage::Ship, "").await
    }

    #[tokio::test]
    async fn every_branch_gets_every_byte() {
        let (branches, failure) = fan_out(stream::from_bytes("cargo"), 3);
        for read in join_all(branches.into_iter().map(read)).await {
            assert_eq!(read.unwrap(), "cargo");
        }
        assert!(failure.get().is_none());
    }

    #[tokio::test]
    async fn dropped_branch_does_not_block_others() {
        let chunks = futures_util::stream::iter((0..100).map(|_| Ok(Bytes::from_static(b"0123456789"))));
        let (mut branches, _) = fan_out(chunks.boxed(), 2);
        drop(branches.remove(0));
        assert_eq!(read(branches.remove(0)).await.unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn source_error_reaches_every_branch() {
        let error = Error::new(Stage::Dump, Kind::Failed, "appdb", "dead");
        let (branches, failure) = fan_out(stream::failed(error), 2);
        for read in join_all(branches.into_iter().map(read)).await {
            assert_eq!(read.unwrap_err().stage(), Stage::Dump);
        }
        assert!(failure.get().is_some());
    }

    #[tokio::test]
    async fn dropping_all_branches_drops_the_source() {
        let (sender, source) = stream::channel();
        let (branches, _) = fan_out(source, 2);
        drop(branches);
        tokio::time::timeout(std::time::Duration::from_secs(5), sender.closed()).await.unwrap();
    }
}
