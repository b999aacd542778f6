//! Reading backups back: sizes, digests, and, where they can be opened, a decode to the end.

mod remark;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use longshore_core::catalog::Backup;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Verification;
use longshore_core::mark::{Mark, Says};
use longshore_core::meter::Digest;
use longshore_core::pipeline::{Depth, is_damage, read_back};
use longshore_core::plugin::{Cluster, Identities, Packing, Site};
use longshore_core::progress::{Place, Progress};
use longshore_core::stage::{Decrypt, Store, Verify};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use self::remark::{Origins, remarks};
use crate::catalogs::{Catalogued, adopted, catalogs, means, unknown};
use crate::comparison::expect_decoded;
use crate::config::{Config, Job};
use crate::hold::mark;
use crate::origin::OriginCheck;
use crate::problem::Problem;
use crate::record::{expect_named, record};
use crate::registry::Registry;

/// How many backups are read at once at one destination.
const READS: usize = 2;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Which backups to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest of every series.
    Newest,
    /// All.
    All,
    /// So many of a hundred: on each day others, until all were read.
    Sample(Percent),
    /// Those that the words mean; of a series, its newest.
    Named(String),
}

/// From 1 to 100 of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// So many of a hundred, if that is from 1 to 100.
    pub fn new(percent: u8) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }

    /// How many days it takes to read all.
    fn days(self) -> u64 {
        100_u64.div_ceil(self.0.into())
    }

    /// Whether a backup is read on this day, counted from any. Its name decides, so nothing has to be remembered.
    fn takes(self, name: &BackupName, day: u64) -> bool {
        let digest = Digest::of(name.as_str().as_bytes()).hex().to_owned();
        let number = u64::from_str_radix(&digest[..15], 16).unwrap_or_default();
        number % self.days() == day % self.days()
    }
}

/// What became of one backup's read-back.
#[derive(Debug, Serialize)]
pub struct ReadBack {
    /// Where it lies.
    pub destination: String,
    /// The backup, or the key of what should be one.
    pub name: String,
    /// Bytes that were read of it.
    pub bytes: u64,
    /// How deep it was read, if it is sound.
    pub depth: Option<Depth>,
    /// Who judged the plaintext, if it could be opened.
    pub verified: Vec<Verification>,
    /// True if the decoded content was compared with the record of the dump.
    pub compared: bool,
    /// What is wrong, if anything is.
    pub error: Option<Problem>,
    /// Whether what is wrong is damage, rather than a destination that could not be read.
    pub damaged: bool,
    /// Why what was found could not be noted beside the backup, if so: a destination that may only be read.
    pub unmarked: Option<Problem>,
}

/// Who judges for a job, or by default where there is none.
pub(crate) fn judges(registry: &Registry, job: Option<&Job>, site: &Site) -> Result<Vec<Arc<dyn Verify>>> {
    match job.and_then(|job| job.verify.as_ref()) {
        Some(judges) => judges.iter().map(|judge| judge(site).map(Arc::from)).collect(),
        None => Ok(vec![Arc::from(registry.verify.build(registry.default_verify, site)?)]),
    }
}

/// What opens the backup, where it is sealed and there are identities.
pub(crate) fn opener(
    registry: &Registry,
    identities: &Identities,
    backup: &Backup,
) -> Result<Option<Box<dyn Decrypt>>> {
    match &backup.manifest.artifact.encryption {
        Some(encryption) if !identities.is_empty() => registry.decrypt.build(encryption, identities).map(Some),
        _ => Ok(None),
    }
}

/// Who judges what is read back. A job that names nobody wants its dumps unjudged, but whoever asks for a verification wants one.
fn reading_judges(registry: &Registry, job: Option<&Job>, site: &Site) -> Result<Vec<Arc<dyn Verify>>> {
    judges(registry, job.filter(|job| job.verify.as_ref().is_some_and(|judges| !judges.is_empty())), site)
}

/// A site without a server, for judging what was dumped elsewhere.
pub(crate) fn ashore() -> Site {
    Site {
        cluster: Cluster { name: String::new(), connection: String::new().into(), password: None, bin_dir: None },
        packing: Packing::Pipeline(longshore_core::compress::Compression::None),
        scratch_dir: None,
    }
}

/// Reads backups back.
pub struct Reader<'a> {
    /// The destinations, and the jobs whose judges judge.
    pub config: &'a Config,
    /// The plugins.
    pub registry: &'a Registry,
    /// What opens sealed backups.
    pub identities: &'a Identities,
    /// Where to unpack what is no stream, if not where the job does, or where the job is not known here.
    pub scratch_dir: Option<&'a Path>,
    /// Hears how much was read.
    pub progress: Arc<dyn Progress>,
}

impl Reader<'_> {
    /// Reads backups back, from one destination or from all.
    pub async fn read(&self, which: &Which, only: Option<&str>) -> Result<Vec<ReadBack>> {
        let catalogs = catalogs(self.config, only).await?;
        let origins = Origins::of(self.config);
        let reads = catalogs.iter().map(async |(destination, at)| match at {
            Ok(at) => self.at(at, which, &origins).await,
            Err(error) => vec![unread(destination, "", error)],
        });
        let all: Vec<_> = join_all(reads).await.into_iter().flatten().collect();
        match which {
            Which::Named(words) if all.is_empty() => {
                let read = || catalogs.iter().filter_map(|(_, at)| at.as_ref().ok());
                Err(adopted(read(), words).unwrap_or_else(|| unknown(read(), words)))
            }
            _ => Ok(all),
        }
    }

    /// Reads back what lies at one destination.
    async fn at(&self, at: &Catalogued, which: &Which, origins: &Origins<'_>) -> Vec<ReadBack> {
        // A manifest that cannot be read may be the newest of its series, so no choice but another's name leaves it out.
        let unreadable = at.catalog.unreadable.iter().filter(|(key, _)| which.may_mean(key));
        let mut all: Vec<_> = unreadable.map(|(key, error)| unread(&at.name, key.as_str(), error)).collect();
        let backups = chosen(at, which);
        self.progress.planned(backups.iter().map(|backup| self.bytes(backup)).fold(0, u64::saturating_add));
        let reads = backups.into_iter().map(async |backup| {
            let mut read = self.one(at, backup).await?;
            origins.note(backup, &mut read);
            Some(read)
        });
        let read: Vec<_> = futures_util::stream::iter(reads).buffered(READS).collect().await;
        all.extend(read.into_iter().flatten());
        all.extend(remarks(self.config, at, which).await);
        all
    }

    /// How many bytes a read-back of a backup counts: of plaintext where that is decoded, else of what lies there.
    fn bytes(&self, backup: &Backup) -> u64 {
        let artifact = &backup.manifest.artifact;
        let is_opened = artifact.encryption.is_none() || !self.identities.is_empty();
        if is_opened { artifact.plaintext.bytes } else { artifact.sealed.bytes }
    }

    /// What became of one backup's read-back, or nothing if the backup is no more.
    async fn one(&self, at: &Catalogued, backup: &Backup) -> Option<ReadBack> {
        let job = self.config.jobs.get(&backup.manifest.job);
        let mut site = job.map_or_else(ashore, |job| job.site.clone());
        if let Some(scratch_dir) = self.scratch_dir {
            site.scratch_dir = Some(scratch_dir.to_owned());
        }
        let counting = Arc::new(Counting { bytes: AtomicU64::new(0), heard: Arc::clone(&self.progress) });
        let progress: Arc<dyn Progress> = counting.clone();
        // The bytes as they were shipped, unless it is found otherwise.
        let mut found_by = Depth::Sealed;
        let read = async {
            let opener = opener(self.registry, self.identities, backup)?;
            let mut judges = reading_judges(self.registry, job, &site)?;
            judges.insert(0, Arc::new(OriginCheck::new(self.registry, &backup.manifest)?));
            let read = read_back(&*at.store, &backup.manifest, opener.as_deref(), &judges, &progress).await?;
            expect_named(&backup.manifest)?;
            if read.depth == Depth::Decoded {
                found_by = Depth::Decoded;
                // Details of another backup are damage, also where nothing was found to compare.
                record(self.registry, self.identities, &*at.store, backup).await?;
            }
            let compared =
                expect_decoded(self.registry, self.identities, &*at.store, backup, &judges, &read.findings).await?;
            Ok::<_, Error>((read, compared))
        };
        let (read, compared, error) = match read.await {
            Ok((read, compared)) => (Some(read), compared, None),
            Err(error) if is_lost(&error) && is_withdrawn(&*at.store, backup).await => return None,
            Err(error) => (None, false, Some(error)),
        };
        let depth = read.as_ref().map(|read| read.depth);
        let unmarked = note(at, backup, depth.unwrap_or(found_by), error.as_ref()).await.err();
        Some(ReadBack {
            destination: at.name.clone(),
            name: backup.name.to_string(),
            bytes: counting.bytes.load(Ordering::Relaxed),
            depth,
            compared,
            verified: read.into_iter().flat_map(|read| read.findings).map(|found| found.verification).collect(),
            damaged: error.as_ref().is_some_and(is_damage),
            error: error.as_ref().map(Problem::from),
            unmarked: unmarked.as_ref().map(Problem::from),
        })
    }
}

/// Notes beside a backup what a read-back found, where that is new: retention counts on it. Sealed
/// bytes that are as shipped prove nothing against damage that was found by decoding them.
pub(crate) async fn note(at: &Catalogued, backup: &Backup, found_by: Depth, error: Option<&Error>) -> Result<()> {
    let marks = &backup.marks;
    let (says, why) = match error {
        None if found_by == Depth::Sealed && marks.differs() => return Ok(()),
        None if !marks.verified() => (Says::Verified, String::new()),
        Some(error) if is_damage(error) && found_by == Depth::Decoded && !marks.differs() => {
            // The causes name tables: in the open they stand only where the backup does.
            let is_sealed = backup.manifest.artifact.encryption.is_some();
            (Says::Damaged, if is_sealed { error.to_string() } else { error.chain() })
        }
        Some(error) if is_damage(error) && !marks.unreadable() => (Says::Damaged, error.chain()),
        _ => return Ok(()),
    };
    let last = [Says::Verified, Says::Damaged].iter().filter_map(|says| backup.marks.latest(*says)).max();
    let now = Utc::now();
    let time = last.map_or(now, |last| now.max(last.time() + TimeDelta::seconds(1)));
    let mark = Mark { decoded: says == Says::Damaged && found_by == Depth::Decoded, ..mark(None, &why) };
    mark.put(&*at.store, &backup.name, says, time).await.map(drop)
}

/// Counts what is read of one backup, beside whoever hears of all.
struct Counting {
    bytes: AtomicU64,
    heard: Arc<dyn Progress>,
}

impl Progress for Counting {
    fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.heard.read(bytes);
    }

    fn at(&self, place: &Place) {
        self.heard.at(place);
    }
}

impl Which {
    /// Whether the backup whose manifest has this key may be meant, as far as a key tells.
    fn may_mean(&self, manifest: &Key) -> bool {
        let Self::Named(words) = self else { return true };
        let Some(name) = BackupName::of_manifest(manifest) else { return false };
        let subject = manifest.folder().rsplit('/').next().unwrap_or_default();
        [name.as_str(), name.file_name(), manifest.as_str(), manifest.folder(), subject].contains(&words.as_str())
            || Subject::database(words).segment() == subject
    }
}

/// Whether a backup's manifest is gone, too: a prune withdraws it first, and what it leaves behind is no backup.
async fn is_withdrawn(store: &dyn Store, backup: &Backup) -> bool {
    store.fetch(&backup.name.manifest(), None).await.is_err_and(|error| error.kind() == Kind::NotFound)
}

fn chosen<'a>(at: &'a Catalogued, which: &Which) -> Vec<&'a Backup> {
    let series = at.catalog.series.values();
    match which {
        Which::All => series.flatten().collect(),
        Which::Sample(percent) => {
            let day = Utc::now().timestamp().unsigned_abs() / DAY_SECONDS;
            series.flatten().filter(|backup| percent.takes(&backup.name, day)).collect()
        }
        Which::Newest => series.filter_map(|backups| backups.last()).collect(),
        Which::Named(words) => series
            .filter_map(|backups| {
                let exact = backups.iter().find(|b| *words == b.name.as_str() || *words == b.name.file_name());
                exact.or_else(|| backups.last().filter(|backup| means(words, backup)))
            })
            .collect(),
    }
}

fn unread(destination: &str, name: &str, error: &Error) -> ReadBack {
    ReadBack {
        destination: destination.to_owned(),
        name: name.to_owned(),
        bytes: 0,
        depth: None,
        verified: Vec::new(),
        compared: false,
        error: Some(error.into()),
        damaged: is_damage(error),
        unmarked: None,
    }
}

/// Whether a destination has nothing under a key.
fn is_lost(error: &Error) -> bool {
    error.kind() == Kind::NotFound && error.stage() == Stage::Ship
}

#[cfg(test)]
mod tests {
    use longshore_core::plugin::{Ask, Passphrase, Plugin};
    use longshore_testkit::memory::{Fault, Operation};
    use longshore_testkit::stage::Judge;
    use secrecy::SecretString;

    use super::*;
    use crate::sample::{job, with_backup};

    /// Rejects whatever it can open.
    #[derive(Clone, serde::Deserialize)]
    struct Rejects {}

    impl Plugin<dyn Verify> for Rejects {
        const TYPE: &'static str = "rejects";

        fn build(self, _: &Site) -> Result<Box<dyn Verify>> {
            Ok(Box::new(Judge::Rejects))
        }
    }

    struct Nobody;

    impl Ask for Nobody {
        fn secret(&self, _: &str) -> Option<SecretString> {
            None
        }
    }

    fn registry() -> Registry {
        let mut registry = Registry { default_verify: Rejects::TYPE, ..Registry::default() };
        registry.verify.add::<Rejects>();
        registry
    }

    async fn read(at: &Catalogued) -> Option<ReadBack> {
        let registry = registry();
        let config = Config::default();
        let identities =
            Identities { files: Vec::new(), texts: Vec::new(), passphrase: Passphrase::Unused, ask: Arc::new(Nobody) };
        let reader = Reader {
            config: &config,
            registry: &registry,
            identities: &identities,
            scratch_dir: None,
            progress: longshore_core::progress::unwatched(),
        };
        reader.one(at, at.catalog.backups().next().unwrap()).await
    }

    #[tokio::test]
    async fn a_backup_that_is_pruned_while_others_are_read_is_left_out() {
        let (store, at) = with_backup().await;
        assert_eq!(read(&at).await.unwrap().depth, Some(Depth::Sealed));
        for key in at.catalog.backups().next().unwrap().manifest.keys().unwrap() {
            store.lose(&key);
        }
        assert!(read(&at).await.is_none());
    }

    #[tokio::test]
    async fn what_is_found_is_noted_beside_the_backup_once_and_again_when_it_changes() {
        let (store, _) = with_backup().await;
        let artifact = crate::sample::manifest().artifact.key;
        let marks = || async {
            let at = crate::sample::catalogued(&store).await;
            let backup = at.catalog.backups().next().unwrap();
            (backup.marks.names.len(), backup.marks.verified(), backup.is_good())
        };
        for (content, expected) in
            [("abc", (1, true, true)), ("abc", (1, true, true)), ("abd", (2, false, false)), ("abc", (3, true, true))]
        {
            store.put(&artifact, content);
            let at = crate::sample::catalogued(&store).await;
            let read = read(&at).await.unwrap();
            assert!(read.unmarked.is_none(), "{read:?}");
            assert_eq!(marks().await, expected, "{content}");
        }
    }

    #[tokio::test]
    async fn sealed_bytes_take_no_decoded_damage_back() {
        let (store, _) = with_backup().await;
        let differs = Error::new(Stage::Verify, Kind::Corrupt, "appdb", "1 difference").because("table orders");
        let noted = async |found_by, error: Option<&Error>| {
            let at = crate::sample::catalogued(&store).await;
            note(&at, at.catalog.backups().next().unwrap(), found_by, error).await.unwrap();
            let at = crate::sample::catalogued(&store).await;
            let backup = at.catalog.backups().next().unwrap();
            (backup.marks.names.len(), backup.marks.differs(), backup.is_good())
        };
        let unsealed = Error::new(Stage::Verify, Kind::Corrupt, "appdb", "other bytes");
        assert_eq!(noted(Depth::Sealed, Some(&unsealed)).await, (1, false, false));
        assert_eq!(noted(Depth::Decoded, Some(&differs)).await, (2, true, false));
        assert_eq!(noted(Depth::Decoded, Some(&differs)).await, (2, true, false));
        assert_eq!(noted(Depth::Sealed, None).await, (2, true, false));
        assert_eq!(noted(Depth::Decoded, None).await, (3, false, true));
        let at = crate::sample::catalogued(&store).await;
        let names = &at.catalog.backups().next().unwrap().marks.names;
        let marks: Vec<String> = names
            .iter()
            .map(|name| String::from_utf8(store.get(&name.key().unwrap()).unwrap().to_vec()).unwrap())
            .collect();
        assert!(marks.iter().any(|mark| mark.contains("1 difference")), "{marks:?}");
        assert!(!marks.iter().any(|mark| mark.contains("orders")), "{marks:?}");
    }

    #[tokio::test]
    async fn where_nothing_may_be_written_what_is_found_is_told_all_the_same() {
        let (store, at) = with_backup().await;
        store.fault(Operation::Ship, Fault::Deny);
        let read = read(&at).await.unwrap();
        assert!(read.error.is_none() && read.unmarked.is_some());
    }

    #[tokio::test]
    async fn a_backup_that_lost_its_artifact_and_not_its_manifest_is_damaged() {
        let (store, at) = with_backup().await;
        store.lose(&at.catalog.backups().next().unwrap().manifest.artifact.key);
        assert!(read(&at).await.unwrap().damaged);
    }

    #[test]
    fn a_job_that_names_no_judge_leaves_its_runs_unjudged_and_its_read_backs_to_the_default() {
        let job = Job { verify: Some(Vec::new()), ..job(None) };
        assert_eq!(judges(&registry(), Some(&job), &job.site).unwrap().len(), 0);
        assert_eq!(reading_judges(&registry(), Some(&job), &job.site).unwrap().len(), 1);
    }

    #[test]
    fn a_sample_takes_others_each_day_until_all_were_read() {
        let stamp = longshore_core::key::Stamp::parse("2026-06-07_091500").unwrap();
        let names: Vec<_> = (0..500).map(|n| BackupName::new("main", &format!("app{n}"), stamp).unwrap()).collect();
        for (percent, days) in [(100, 1), (50, 2), (30, 4), (10, 10), (1, 100)] {
            let percent = Percent::new(percent).unwrap();
            let taken = |day| names.iter().filter(move |name| percent.takes(name, day)).count();
            assert_eq!((0..days).map(taken).sum::<usize>(), names.len());
            assert_eq!(taken(7), taken(7 + days));
            assert!(taken(3) < names.len() / days as usize * 2 + 10);
        }
        assert!(Percent::new(0).is_none() && Percent::new(101).is_none());
    }

    #[test]
    fn an_unreadable_manifest_is_meant_by_its_name_its_subject_and_its_place() {
        let key = Key::parse("main/my%20app/my%20app-2026-06-07_091500.json").unwrap();
        for words in ["my app", "my%20app", "main/my%20app", "my%20app-2026-06-07_091500", key.as_str()] {
            assert!(Which::Named(words.to_owned()).may_mean(&key), "{words}");
        }
        for words in ["app", "main", "other/my%20app", "my%20app-2026-06-07_091501"] {
            assert!(!Which::Named(words.to_owned()).may_mean(&key), "{words}");
        }
        assert!(Which::Newest.may_mean(&key) && Which::All.may_mean(&key));
    }
}
