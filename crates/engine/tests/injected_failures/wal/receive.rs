//! A receiver under failures: nothing is reported as durable that is not, and everything is stored
//! in the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use longshore_engine::wal::receive::{MissingSlot, Partials, ReceiveOptions, receive};
use longshore_testkit::injection::Fault;

use super::server::end;
use super::source::SOURCE;
use super::wal_env::{Answer, WalEnv, faults};
use crate::env::DESTINATIONS;
use crate::on_own_clock;

/// The longest duration of a receiver by its own clock.
const LIMIT: Duration = Duration::from_secs(3600);

/// The number of receivers at the same time, which mostly wait.
const CONCURRENT: usize = 8;

impl WalEnv {
    /// Receives until all WAL is reported as durable, while one call fails. Returns false if the
    /// receiver ended before.
    fn receive(&self, partials: Partials, fault: Option<(usize, Fault)>) -> bool {
        let injector = self.env.shared.injector.clone();
        injector.arm(fault);
        let options = ReceiveOptions { slot: "longshore".to_owned(), missing_slot: MissingSlot::Fail, partials };
        let shared = self.env.shared.clone();
        let received = async move {
            while shared.reported() < end() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let stop = received.boxed_local().shared();
        let received = on_own_clock(async {
            tokio::select! {
                received = receive((&self.env.config, self.archive()), &options, &stop, &|_| {}) => received.is_ok(),
                () = injector.killed() => false,
                () = tokio::time::sleep(LIMIT) => panic!("{fault:?}, {partials:?}: the receiver does not continue"),
            }
        });
        received && self.env.shared.reported() == end()
    }

    /// Checks that all WAL is archived.
    fn expect_everything(&self, context: &str) {
        for name in SOURCE.files.keys() {
            for destination in DESTINATIONS {
                assert_eq!(self.count(destination, name), 1, "{context}: {name} at \"{destination}\"");
            }
        }
        let (name, content) = SOURCE.files.last_key_value().unwrap();
        assert_eq!(self.fetch(name, None), Some(Answer::Content(content.clone())), "{context}");
    }
}

/// Injects every `step`-th fault, with rare and with frequent partial segments.
pub(super) fn receiving_survives_failures(step: usize) {
    let mut all = Vec::new();
    for partials in [Partials::Every(Duration::from_secs(60)), Partials::AtOnce] {
        let reference = WalEnv::new();
        assert!(reference.receive(partials, None));
        let calls = reference.env.shared.injector.calls();
        reference.expect_everything("without a fault");
        // A connection has a time limit of its own.
        let fits = |call: &str, fault: Fault| !fault.hangs() || call != "server connect";
        let faults = faults(calls.len(), step).filter(|(call, fault)| fits(&calls[*call], *fault));
        all.extend(faults.map(|(call, fault)| (partials, call, fault)));
    }
    let queue = Mutex::new(all.into_iter());
    let outcomes = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..CONCURRENT {
            scope.spawn(|| {
                loop {
                    let Some((partials, call, fault)) = queue.lock().unwrap().next() else { break };
                    let context = format!("{fault:?} at call {call}, {partials:?}");
                    let env = WalEnv::new();
                    let is_done = env.receive(partials, Some((call, fault)));
                    if !is_done {
                        assert!(env.receive(partials, None), "the receiver after {context} ends");
                    }
                    env.expect_everything(&context);
                    *outcomes.lock().unwrap().entry(is_done).or_insert(0) += 1;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len(), 2, "some faults are survived, and some end the receiver: {outcomes:?}");
}
