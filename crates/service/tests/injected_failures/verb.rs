//! The verbs as the command line calls them, and the results that they report.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use longshore_core::Result;
use longshore_core::drill::Verdict;
use longshore_core::key::Key;
use longshore_core::plugin::{Scripts, Target, TargetDatabase};
use longshore_core::progress::unwatched;
use longshore_service::drill::Driller;
use longshore_service::hold::hold;
use longshore_service::prune::{Despite, Mode, Pruned, Request, prune};
use longshore_service::report::Outcome;
use longshore_service::restore::{self, Compare, Globals, Restorer, What, choose};
use longshore_service::run::run;
use longshore_service::sync::{Repair, sync};
use longshore_service::unsealed::{Sealing, Unsealed};
use longshore_service::verify::{Reader, Which};
use longshore_service::{hold, watch};

use crate::stage::{content, subjects};
use crate::world::{Contents, DESTINATIONS, TIMES, World, baseline, identities};

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
pub(crate) struct Told {
    /// True if everything succeeded.
    pub(crate) success: bool,
    /// Backups reported as intact, by destination and name.
    pub(crate) sound: BTreeSet<(String, String)>,
    /// Backups reported as damaged.
    pub(crate) damaged: BTreeSet<(String, String)>,
    /// The report, for the message of a failed assertion.
    pub(crate) words: String,
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
                let world = World::new(&baseline(&TIMES[..2]).await);
                let wish = hold::Wish::Hold { until: None, why: "audit".to_owned() };
                hold(&world.config, "app", None, &wish).await.unwrap();
                world.contents()
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
    pub(crate) async fn act(self, world: &World) -> Result<Told> {
        let job = world.config.job(None)?;
        match self {
            Self::Run => {
                let report = run(&world.config, &world.registry, job, Arc::new(watch::Nobody)).await?;
                let arrived = report.artifacts.iter().filter_map(|artifact| Some((artifact.name.as_ref()?, artifact)));
                let sound = arrived.flat_map(|(name, artifact)| {
                    let at = artifact.destinations.iter().filter(|at| at.error.is_none());
                    at.map(|at| (at.destination.clone(), name.to_string()))
                });
                let sound: BTreeSet<_> = sound.collect();
                let success = report.outcome() == Outcome::Done;
                assert!(!success || sound.len() == DESTINATIONS.len() * subjects().len(), "{report:?}");
                Ok(Told { success, sound, words: format!("{report:?}"), ..Told::default() })
            }
            Self::Prune => {
                let pruned = prune(&world.config, &request()).await?;
                let success = !pruned.is_empty() && pruned.iter().all(Pruned::succeeded);
                Ok(Told { success, words: format!("{pruned:?}"), ..Told::default() })
            }
            Self::Sync => {
                let synced = sync(&world.config, job, Repair::Yes, Mode::Act, unwatched()).await?;
                let copied = synced.copies.iter().filter(|copied| copied.error.is_none());
                let sound = copied.map(|copied| (copied.to.clone(), copied.name.to_string())).collect();
                Ok(Told { success: synced.succeeded(), sound, words: format!("{synced:?}"), ..Told::default() })
            }
            Self::Verify => {
                let reader = Reader {
                    config: &world.config,
                    registry: &world.registry,
                    identities: &identities(),
                    scratch_dir: None,
                    progress: unwatched(),
                };
                let reads = reader.read(&Which::All, None).await?;
                let of = |damaged: bool| {
                    let those = reads.iter().filter(move |read| read.damaged == damaged);
                    those.filter(move |read| damaged || read.error.is_none())
                };
                let named = |damaged| of(damaged).map(|read| (read.destination.clone(), read.name.clone())).collect();
                Ok(Told {
                    // One backup is damaged: success means finding and marking it, and no other.
                    success: reads.iter().all(|read| (read.error.is_none() || read.damaged) && read.unmarked.is_none()),
                    sound: named(false),
                    damaged: named(true),
                    words: format!("{reads:?}"),
                })
            }
            Self::Hold | Self::Release => {
                let wish = match self {
                    Self::Hold => hold::Wish::Hold { until: None, why: "audit".to_owned() },
                    _ => hold::Wish::Release,
                };
                let marked = hold(&world.config, "app", None, &wish).await?;
                let success = marked.iter().all(|marked| marked.error.is_none());
                Ok(Told { success, words: format!("{marked:?}"), ..Told::default() })
            }
            Self::Restore => restored(world).await,
            Self::Drill => {
                let driller = Driller {
                    config: &world.config,
                    registry: &world.registry,
                    identities: &identities(),
                    jobs: 1,
                    scripts: Scripts::Harmless,
                    scratch_dir: None,
                    unsealed: Unsealed::Refused,
                    progress: unwatched(),
                };
                let report = driller.drill(&longshore_service::drill::Wish::default(), &|_| {}).await?;
                let damaged = report.drills.iter().filter(|drill| drill.verdict == Verdict::Damaged);
                let damaged = damaged.map(|drill| (drill.destination.clone(), drill.backup.to_string())).collect();
                let success = report.verdict() == Verdict::Good
                    && report.drills.len() == subjects().len()
                    && report.unmarked.is_empty()
                    && report.left.is_none();
                Ok(Told { success, damaged, words: format!("{report:?}"), ..Told::default() })
            }
        }
    }

    /// Returns true if the promises of a successful verb hold, apart from intact backups.
    pub(crate) fn is_done(self, world: &World, after: &Contents) -> bool {
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
                let restored = world.shared.restored.lock().unwrap();
                subjects().iter().all(|subject| restored.get(&subject.segment()) == Some(&content(subject)))
            }
            Self::Verify => after["second"].keys().any(|key| key.as_str().contains(".damaged.")),
            Self::Run | Self::Prune | Self::Sync => true,
        }
    }
}

async fn restored(world: &World) -> Result<Told> {
    let what = What::Subject { words: "app".to_owned(), job: None, at: None, globals: Globals::First };
    let identities = identities();
    let sealing = Sealing::new(&world.config, &identities, Unsealed::Refused);
    let choice = choose(&world.config, &what, None, &sealing).await?;
    let target = Target { database: TargetDatabase::Create, ..Target::new(world.cluster.clone()) };
    let restorer = Restorer {
        registry: &world.registry,
        target: &target,
        identities: &identities,
        parallel: 1,
        compare: Compare::Recorded,
        watch: Arc::new(restore::Nobody),
    };
    let restored = restorer.restore(&choice.backups).await?;
    // A failed comparison is only a note, but here it is no success.
    let whole = |restored: &restore::Restored| restored.as_ref().is_ok_and(|outcome| outcome.notes.is_empty());
    let success = restored.len() == subjects().len() && restored.iter().all(whole);
    Ok(Told { success, words: format!("{restored:?}"), ..Told::default() })
}

/// Returns a request that applies all policies at all destinations.
fn request() -> Request<'static> {
    Request { job: None, destination: None, mode: Mode::Act, despite: Despite::default(), retire: None }
}

/// Prunes without a fault, which removes leftovers of interrupted writers.
pub(crate) async fn clean_up(world: &World) {
    let pruned = prune(&world.config, &request()).await.unwrap();
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
