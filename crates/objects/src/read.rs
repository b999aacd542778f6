//! The bytes of an object, or of a range of it, through connections that are cut.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use longshore_core::stream::{ByteStream, from_bytes};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};

use crate::bucket::Backend;

/// The longest wait before it is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// An object that is being read. It ends cleanly only after the last byte.
struct Reading {
    backend: Arc<Backend>,
    path: Path,
    /// Which of the objects that had this name; without it nobody can go on where a connection was cut.
    e_tag: Option<String>,
    body: BoxStream<'static, object_store::Result<Bytes>>,
    /// What is still to come.
    left: Range<u64>,
    /// How often it was tried since the last byte.
    tries: usize,
}

/// Begins to read what has a name. It has to have every byte that is asked for.
pub(crate) async fn fetch(backend: Arc<Backend>, path: Path, range: Option<Range<u64>>) -> Result<ByteStream> {
    // Nobody can ask for no bytes; but whether that many are there can be told.
    let asks_nothing = range.as_ref().is_some_and(|range| range.is_empty());
    let options = GetOptions {
        range: range.clone().filter(|_| !asks_nothing).map(GetRange::Bounded),
        head: asks_nothing,
        ..GetOptions::default()
    };
    let short = |told: String| {
        Error::new(Stage::Ship, Kind::Corrupt, backend.place.subject(&path), told)
            .hint("the object was cut: `longshore verify` tells which backups are whole")
    };
    let found = match backend.store.get_opts(&path, options).await {
        Ok(found) => found,
        Err(error) => {
            let error = backend.failure(&path, "cannot read it", error);
            // Stores say in many ways that a range begins behind the end; their sizes say it in one.
            return Err(match (range, error.kind()) {
                (Some(range), Kind::Corrupt | Kind::Failed) => match size(&backend, &path).await {
                    Ok(size) if range.end > size => short(asked(&range, size)).because(error),
                    _ => error,
                },
                _ => error,
            });
        }
    };
    let wanted = range.unwrap_or(0..found.meta.size);
    if wanted.start > wanted.end || wanted.end > found.meta.size {
        return Err(short(asked(&wanted, found.meta.size)));
    }
    if asks_nothing {
        return Ok(from_bytes(""));
    }
    let reading = Reading {
        e_tag: found.meta.e_tag.clone(),
        body: found.into_stream(),
        left: wanted,
        tries: 0,
        backend: Arc::clone(&backend),
        path: path.clone(),
    };
    Ok(stream::try_unfold(reading, Reading::next).boxed())
}

async fn size(backend: &Backend, path: &Path) -> object_store::Result<u64> {
    let head = GetOptions { head: true, ..GetOptions::default() };
    Ok(backend.store.get_opts(path, head).await?.meta.size)
}

fn asked(Range { start, end }: &Range<u64>, size: u64) -> String {
    format!("has {size} bytes, but {start} to {end} were asked for")
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while self.left.start < self.left.end {
            match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    self.left.start += chunk.len() as u64;
                    self.tries = 0;
                    if self.left.start > self.left.end {
                        return Err(self.error(Kind::Corrupt, "more bytes came than there are"));
                    }
                    return Ok(Some((chunk, self)));
                }
                Some(Err(error)) => self.go_on(Some(error)).await?,
                // A body that ends early was cut, however cleanly.
                None => self.go_on(None).await?,
            }
        }
        Ok(None)
    }

    /// Asks for what is left of the same object, if there is hope.
    async fn go_on(&mut self, cut: Option<object_store::Error>) -> Result<()> {
        let cut = match cut {
            Some(error) => self.backend.failure(&self.path, "cannot read it to its end", error),
            None => self.error(Kind::Unavailable, "the connection ended before the object did"),
        };
        if self.e_tag.is_none() || self.tries == self.backend.transfer.retries {
            return Err(cut);
        }
        tokio::time::sleep((Duration::from_millis(200) * (1 << self.tries.min(10))).min(LONGEST_WAIT)).await;
        self.tries += 1;
        let rest = GetOptions {
            range: Some(GetRange::Bounded(self.left.clone())),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        match self.backend.store.get_opts(&self.path, rest).await {
            Ok(found) if found.range == self.left => {
                self.body = found.into_stream();
                Ok(())
            }
            Ok(_) => Err(self.error(Kind::Corrupt, "is shorter than it was")),
            Err(error) => match self.backend.failure(&self.path, "cannot read it to its end", error) {
                error if error.kind() == Kind::AlreadyExists => {
                    Err(self.error(Kind::Corrupt, "was replaced while it was read").because(error))
                }
                // Tried again, as often as that is worth it.
                error if error.kind() == Kind::Unavailable => {
                    self.body = stream::empty().boxed();
                    if self.tries == self.backend.transfer.retries { Err(error) } else { Ok(()) }
                }
                error => Err(error),
            },
        }
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.backend.place.subject(&self.path), message)
    }
}
