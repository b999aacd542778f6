//! The verbs as the command line calls them, and the results that they report.

use std::collections::BTreeSet;

use bytes::Bytes;
use longshore_core::Result;
use longshore_core::drill::Verdict;
use longshore_core::event::ignore;
use longshore_core::key::Key;
use longshore_core::plugin::{DatabaseTarget, Scripts, Target, TargetDatabase};
use longshore_engine::drill::Driller;
use longshore_engine::encryption_policy::{EncryptionPolicy, Unsealed};
use longshore_engine::hold;
use longshore_engine::hold::hold;
use longshore_engine::hook::RunLock;
use longshore_engine::prune::{Mode, Overrides, Pruned, Request, prune};
use longshore_engine::report::Outcome;
use longshore_engine::restore::{self, Compare, Globals, Restorer, Selector, choose};
use longshore_engine::run::{Differences, run};
use longshore_engine::sync::{Repair, sync};
use longshore_engine::verify::{BackupVerifier, Scope};

use crate::env::{Contents, DESTINATIONS, TIMES, TestEnv, baseline, identities};
use crate::stage::{content, subjects};

/// A verb under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Run,
    /// Prunes, with an adopt of another program's files.
    Prune,
    /// Syncs, and repairs a damaged backup.
    Sync,
    /// Verifies destinations with a damaged backup.
    Verify,
    Hold,
    Release,
    Restore,
    Drill,
}

/// The result that a verb reports.
#[derive(Debug, Default)]
pub(crate) struct VerbReport {
    /// True if everything succeeded.
    pub(crate) success: bool,
    /// Backups reported as intact, by destination and name.
    pub(crate) intact: BTreeSet<(String, String)>,
    /// Backups reported as damaged.
    pub(crate) damaged: BTreeSet<(String, String)>,
    /// The report, for the message of a failed assertion.
    pub(crate) text: String,
}

impl Verb {
    pub(crate) const ALL: [Self; 8] =
        [Self::Run, Self::Prune, Self::Sync, Self::Verify, Self::Hold, Self::Release, Self::Restore, Self::Drill];

    /// Returns the contents of the destinations before the verb.
    pub(crate) async fn before(self) -> Contents {
        match self {
            Self::Run => baseline(&TIMES[..3]).await,
            Self::Prune => baseline(&TIMES).await,
            Self::Sync => {
                let mut contents = baseline(&TIMES[..3]).await;
                damage(&mut contents);
                let second = contents.get_mut("second").unwrap();
                second.retain(|key, _| !key.as_str().contains(TIMES[2]));
                contents
            }
            Self::Verify => {
                let mut contents = baseline(&TIMES[..2]).await;
                damage(&mut contents);
                contents
            }
            Self::Release => {
                let env = TestEnv::new(&baseline(&TIMES[..2]).await);
                let change = hold::HoldChange::Hold { until: None, why: "audit".to_owned() };
                hold(&env.config, "app", None, &change).await.unwrap();
                env.contents()
            }
            Self::Hold | Self::Restore | Self::Drill => baseline(&TIMES[..2]).await,
        }
    }

    /// Returns the backups that are damaged before the verb, by destination and name.
    pub(crate) fn damaged_before(self) -> BTreeSet<(String, String)> {
        match self {
            Self::Sync | Self::Verify => [("second".to_owned(), damaged_name())].into(),
            _ => BTreeSet::new(),
        }
    }

    /// Runs the verb.
    pub(crate) async fn run(self, env: &TestEnv) -> Result<VerbReport> {
        let job = env.config.job(None)?;
        match self {
            Self::Run => {
                let lock = RunLock::take(&env.config, job).await?;
                let report = run(&env.config, &env.registry, job, &lock, Differences::AsConfigured, ignore()).await?;
                let arrived = report.artifacts.iter().filter_map(|artifact| Some((artifact.name.as_ref()?, artifact)));
                let intact = arrived.flat_map(|(name, artifact)| {
                    let at = artifact.destinations.iter().filter(|at| at.error.is_none());
                    at.map(|at| (at.destination.clone(), name.to_string()))
                });
                let intact: BTreeSet<_> = intact.collect();
                let success = report.outcome() == Outcome::Done;
                assert!(!success || intact.len() == DESTINATIONS.len() * subjects().len(), "{report:?}");
                Ok(VerbReport { success, intact, text: format!("{report:?}"), ..VerbReport::default() })
            }
            Self::Prune => {
                let pruned = prune(&env.config, &prune_request()).await?;
                let success = !pruned.is_empty() && pruned.iter().all(Pruned::succeeded);
                Ok(VerbReport { success, text: format!("{pruned:?}"), ..VerbReport::default() })
            }
            Self::Sync => {
                let synced = sync(&env.config, job, Repair::Yes, Mode::Act, ignore()).await?;
                let copied = synced.copies.iter().filter(|copied| copied.error.is_none());
                let intact = copied.map(|copied| (copied.to.clone(), copied.name.to_string())).collect();
                Ok(VerbReport {
                    success: synced.succeeded(),
                    intact,
                    text: format!("{synced:?}"),
                    ..VerbReport::default()
                })
            }
            Self::Verify => {
                let verifier = BackupVerifier {
                    config: &env.config,
                    registry: &env.registry,
                    identities: &identities(),
                    job: None,
                    scratch_dir: None,
                    observer: ignore(),
                };
                let reads = verifier.verify(&Scope::All, None).await?;
                let of = |damaged: bool| {
                    let those = reads.iter().filter(move |read| read.damaged == damaged);
                    those.filter(move |read| damaged || read.error.is_none())
                };
                let named = |damaged| of(damaged).map(|read| (read.destination.clone(), read.name.clone())).collect();
                Ok(VerbReport {
                    // One backup is damaged: success means finding and marking it, and no other.
                    success: reads.iter().all(|read| (read.error.is_none() || read.damaged) && read.unmarked.is_none()),
                    intact: named(false),
                    damaged: named(true),
                    text: format!("{reads:?}"),
                })
            }
            Self::Hold | Self::Release => {
                let change = match self {
                    Self::Hold => hold::HoldChange::Hold { until: None, why: "audit".to_owned() },
                    _ => hold::HoldChange::Release,
                };
                let marked = hold(&env.config, "app", None, &change).await?;
                let success = marked.iter().all(|marked| marked.error.is_none());
                Ok(VerbReport { success, text: format!("{marked:?}"), ..VerbReport::default() })
            }
            Self::Restore => restored(env).await,
            Self::Drill => {
                let driller = Driller {
                    config: &env.config,
                    registry: &env.registry,
                    identities: &identities(),
                    jobs: 1,
                    scripts: Scripts::Harmless,
                    scratch_dir: None,
                    unsealed: Unsealed::Refused,
                    recover_to: None,
                    observer: ignore(),
                };
                let report = driller.drill(&longshore_engine::drill::Request::default()).await?;
                let damaged = report.drills.iter().filter(|drill| drill.verdict == Verdict::Damaged);
                let damaged = damaged.map(|drill| (drill.destination.clone(), drill.backup.to_string())).collect();
                let success = report.verdict() == Verdict::Good
                    && report.drills.len() == subjects().len()
                    && report.unmarked.is_empty()
                    && report.left.is_none();
                Ok(VerbReport { success, damaged, text: format!("{report:?}"), ..VerbReport::default() })
            }
        }
    }

    /// Returns true if the promises of a successful verb hold, apart from intact backups.
    pub(crate) fn is_done(self, env: &TestEnv, after: &Contents) -> bool {
        let has_mark = |word: &str| {
            let has = |files: &std::collections::BTreeMap<Key, Bytes>| {
                files.keys().any(|key| key.as_str().contains(&format!("app/app-{}.{word}.", TIMES[1])))
            };
            after.values().all(has)
        };
        match self {
            Self::Hold => has_mark("hold"),
            Self::Release => has_mark("released"),
            Self::Restore | Self::Drill => {
                let restored = env.shared.restored.lock().unwrap();
                subjects().iter().all(|subject| restored.get(&subject.segment()) == Some(&content(subject)))
            }
            Self::Verify => after["second"].keys().any(|key| key.as_str().contains(".damaged.")),
            Self::Run | Self::Prune | Self::Sync => true,
        }
    }
}

async fn restored(env: &TestEnv) -> Result<VerbReport> {
    let selector = Selector::Subject { words: "app".to_owned(), job: None, at: None, globals: Globals::First };
    let identities = identities();
    let policy = EncryptionPolicy::new(&env.config, &identities, Unsealed::Refused);
    let choice = choose(&env.config, &selector, None, &policy).await?;
    let target = DatabaseTarget { database: TargetDatabase::Create, ..DatabaseTarget::new(env.cluster.clone()) };
    let target = Target::Database(target);
    let restorer = Restorer {
        registry: &env.registry,
        target: &target,
        identities: &identities,
        parallel: 1,
        compare: Compare::Recorded,
        observer: ignore(),
    };
    let restored = restorer.restore(&choice.backups).await?;
    // A failed comparison is only a note, but here it is no success.
    let intact = |restored: &restore::RestoreResult| restored.as_ref().is_ok_and(|outcome| outcome.notes.is_empty());
    let success = restored.len() == subjects().len() && restored.iter().all(intact);
    Ok(VerbReport { success, text: format!("{restored:?}"), ..VerbReport::default() })
}

/// Returns a request that applies all policies at all destinations.
pub(crate) fn prune_request() -> Request<'static> {
    Request { job: None, destination: None, mode: Mode::Act, overrides: Overrides::default(), retire: None }
}

/// Prunes without a fault, which removes leftovers of interrupted writers.
pub(crate) async fn clean_up(env: &TestEnv) {
    let pruned = prune(&env.config, &prune_request()).await.unwrap();
    assert!(pruned.iter().all(Pruned::succeeded), "{pruned:?}");
}

/// Returns the name of the damaged backup at the second destination. The policy keeps this backup,
/// so a sync must repair it.
fn damaged_name() -> String {
    format!("main/app/app-{}", TIMES[1])
}

/// Changes a byte of a backup at the second destination.
fn damage(contents: &mut Contents) {
    let artifact = contents.get_mut("second").unwrap().iter_mut();
    let is_artifact = |key: &Key| key.as_str().starts_with(&damaged_name()) && key.as_str().ends_with(".xor");
    let (_, bytes) =
        artifact.into_iter().find(|(key, _)| is_artifact(key) && !key.as_str().contains("details")).unwrap();
    let mut changed = bytes.to_vec();
    changed[200] ^= 1;
    *bytes = changed.into();
}
