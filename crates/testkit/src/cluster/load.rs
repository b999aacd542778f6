//! Work that a server does during a test.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::Cluster;

/// A script that is run again and again.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// The database to connect to.
    pub database: &'a str,
    /// The statements, for psql.
    pub script: &'a str,
    /// The pause after each round. On a fast machine, it alone bounds what the server writes.
    pub pause: Duration,
}

impl Cluster {
    /// Does `work` while the server runs each load. Returns the result, and the number of rounds
    /// that each load did.
    ///
    /// The loads end with `work`, also if it panics.
    ///
    /// # Panics
    /// If `work` or a script of a load fails.
    pub fn under_load<T>(&self, loads: &[Load<'_>], work: impl FnOnce() -> T) -> (T, Vec<u32>) {
        thread::scope(|scope| {
            // A load ends when its sender is dropped.
            let (senders, threads): (Vec<_>, Vec<_>) = loads
                .iter()
                .map(|&load| {
                    let (sender, ended) = mpsc::channel::<()>();
                    (sender, scope.spawn(move || self.repeat(load, &ended)))
                })
                .unzip();
            let result = work();
            drop(senders);
            (result, threads.into_iter().map(|thread| thread.join().expect("the load succeeds")).collect())
        })
    }

    fn repeat(&self, load: Load<'_>, ended: &mpsc::Receiver<()>) -> u32 {
        let mut rounds = 0;
        loop {
            self.psql(load.database, load.script);
            rounds += 1;
            if ended.recv_timeout(load.pause) == Err(RecvTimeoutError::Disconnected) {
                return rounds;
            }
        }
    }
}
