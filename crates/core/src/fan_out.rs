//! Distribution of one stream to many readers: the ciphertext is sent to every destination through
//! bounded buffers.

use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::error::Error;
use crate::stream::{self, Afterword, ByteStream, Feeder};

/// Copies `source` to `count` streams, at the pace of the slowest reader. Each branch carries the
/// end or error of the source.
///
/// A dropped branch is skipped from then on and does not affect the others; dropping all branches
/// drops the source. The afterword contains the error of the source, if it failed, which
/// distinguishes it from the error of a destination.
pub fn fan_out(source: ByteStream, count: usize) -> (Vec<ByteStream>, Afterword<Error>) {
    let (feeders, branches): (Vec<_>, Vec<_>) = (0..count).map(|_| stream::channel()).unzip();
    let failure = Afterword::new();
    tokio::spawn(drive(source, feeders, failure.clone()));
    (branches, failure)
}

async fn drive(mut source: ByteStream, mut feeders: Vec<Feeder>, failure: Afterword<Error>) {
    while !feeders.is_empty() {
        let next = tokio::select! {
            next = source.next() => next,
            _ = join_all(feeders.iter().map(Feeder::closed)) => return,
        };
        match next {
            Some(Ok(chunk)) => {
                let fed = join_all(feeders.iter().map(|feeder| feeder.feed(chunk.clone()))).await;
                let mut fed = fed.iter();
                feeders.retain(|_| fed.next().is_some_and(Result::is_ok));
            }
            Some(Err(error)) => {
                failure.set(error.clone());
                // The send fails only for a branch that was dropped.
                join_all(feeders.drain(..).map(|feeder| feeder.fail(error.clone()))).await;
            }
            None => {
                join_all(feeders.drain(..).map(Feeder::finish)).await;
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
    async fn a_branch_that_is_dropped_hinders_nobody() {
        let chunks = futures_util::stream::iter((0..100).map(|_| Ok(Bytes::from_static(b"0123456789"))));
        let (mut branches, _) = fan_out(chunks.boxed(), 2);
        drop(branches.remove(0));
        assert_eq!(read(branches.remove(0)).await.unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn a_source_that_fails_fails_every_branch_and_says_so() {
        let error = Error::new(Stage::Dump, Kind::Failed, "appdb", "dead");
        let (branches, failure) = fan_out(stream::failed(error), 2);
        for read in join_all(branches.into_iter().map(read)).await {
            assert_eq!(read.unwrap_err().stage(), Stage::Dump);
        }
        assert!(failure.get().is_some());
    }

    #[tokio::test]
    async fn when_all_branches_are_dropped_so_is_the_source() {
        let (feeder, source) = stream::channel();
        let (branches, _) = fan_out(source, 2);
        drop(branches);
        tokio::time::timeout(std::time::Duration::from_secs(5), feeder.closed()).await.unwrap();
    }
}
