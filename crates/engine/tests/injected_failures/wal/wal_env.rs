//! An environment with an archive, and with a data directory whose `pg_wal` has files to archive.

use std::fs;
use std::path::PathBuf;

use longshore_engine::wal::fetch::{Fetched, fetch};
use longshore_engine::wal::push::push;
use longshore_testkit::injection::Fault;

use super::source::SOURCE;
use crate::env::{Contents, TestEnv, identities};
use crate::on_own_clock;

/// The archive of the environment.
const ARCHIVE: &str = "[cluster.main.wal]\nship = ['first', 'second']\nencrypt = { type = 'xor' }\n\
                       recovery_window = '5d'\n";

pub(super) struct WalEnv {
    pub(super) env: TestEnv,
    data: PathBuf,
}

/// The result of a request that was not killed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Content(Vec<u8>),
    Absent,
    Failed(String),
}

impl WalEnv {
    pub(super) fn new() -> Self {
        let env = TestEnv::with(&Contents::new(), ARCHIVE);
        let data = env.folder().join("data");
        fs::create_dir_all(data.join("pg_wal")).unwrap();
        fs::create_dir(data.join("global")).unwrap();
        fs::write(data.join("global/pg_control"), &SOURCE.control[0]).unwrap();
        Self { env, data }
    }

    pub(super) fn archive(&self) -> &longshore_config::WalArchive {
        self.env.config.wal_archive(None).unwrap()
    }

    /// Pushes a file while one call fails. Returns true if the server would recycle it.
    pub(super) fn push(&self, name: &str, content: &[u8], fault: Option<(usize, Fault)>) -> bool {
        let path = self.data.join("pg_wal").join(name);
        fs::write(&path, content).unwrap();
        // A server of the second timeline has its history.
        let history = self.data.join("pg_wal/00000002.history");
        let timeline = usize::from(name.starts_with("00000002"));
        if timeline == 1 {
            fs::write(&history, &SOURCE.files["00000002.history"]).unwrap();
        }
        fs::write(self.data.join("global/pg_control"), &SOURCE.control[timeline]).unwrap();
        let injector = self.env.shared.injector.clone();
        injector.arm(fault);
        let pushed = on_own_clock(async {
            tokio::select! {
                pushed = push(&self.env.config, self.archive(), &path) => Some(pushed),
                () = injector.killed() => None,
            }
        });
        for file in [path, history] {
            if file.exists() {
                fs::remove_file(file).unwrap();
            }
        }
        pushed.and_then(Result::ok).is_some_and(|pushed| pushed.is_archived)
    }

    /// Fetches a file while one call fails. Returns `None` if the process was killed.
    pub(super) fn fetch(&self, name: &str, fault: Option<(usize, Fault)>) -> Option<Answer> {
        let target = self.data.join("pg_wal/RECOVERYXLOG");
        let injector = self.env.shared.injector.clone();
        injector.arm(fault);
        let identities = identities();
        let fetched = on_own_clock(async {
            let wanted = (name.parse().unwrap(), target.as_path());
            tokio::select! {
                fetched = fetch(&self.env.config, &self.env.registry, self.archive(), &identities, wanted) => Some(fetched),
                () = injector.killed() => None,
            }
        })?;
        Some(match fetched {
            Ok(Fetched::Delivered) => {
                let content = fs::read(&target).unwrap();
                fs::remove_file(&target).unwrap();
                Answer::Content(content)
            }
            Ok(Fetched::Absent) => Answer::Absent,
            Err(error) => {
                assert!(!target.exists(), "a file was delivered in spite of {error}");
                Answer::Failed(error.chain())
            }
        })
    }

    /// Returns the number of calls of the last operation.
    pub(super) fn calls(&self) -> usize {
        self.env.shared.injector.calls().len()
    }

    /// Removes one archived file of a segment at one destination. Returns true if there was one.
    pub(super) fn lose(&self, destination: &str, name: &str) -> bool {
        let store = self.env.shared.stores[destination].inner();
        let found = store.keys().into_iter().find(|key| key.file_name().starts_with(&format!("{name}-")));
        found.inspect(|key| store.lose(key)).is_some()
    }

    /// Returns the number of archived files of this name at a destination.
    pub(super) fn count(&self, destination: &str, name: &str) -> usize {
        let store = self.env.shared.stores[destination].inner();
        store.keys().into_iter().filter(|key| key.file_name().starts_with(&format!("{name}-"))).count()
    }
}

/// Returns every `step`-th fault of each call.
pub(super) fn faults(calls: usize, step: usize) -> impl Iterator<Item = (usize, Fault)> {
    (0..calls).flat_map(|call| Fault::ALL.map(|fault| (call, fault))).step_by(step)
}
