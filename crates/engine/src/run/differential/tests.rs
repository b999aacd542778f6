//! The choice between a difference and a full backup.

use bytes::Bytes;
use chrono::TimeDelta;
use longshore_core::difference::EXTENSION;
use longshore_core::event::ignore;
use longshore_core::key::{Key, Timestamp};
use longshore_core::manifest::{Cluster, Server};
use longshore_testkit::fake_stage::{Content, FakeDump, pipeline};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};

use super::*;
use crate::fixture;
use crate::survey::survey;

/// A job of differences to two destinations, with its state.
struct Env {
    _folder: tempfile::TempDir,
    state: std::path::PathBuf,
    config: Config,
    near: MemoryStore,
    far: MemoryStore,
    day: std::cell::Cell<i64>,
}

/// The result of a run.
#[derive(Debug)]
struct Made {
    is_difference: bool,
    name: String,
    warnings: Vec<String>,
}

impl Env {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (MemoryStore::new(), MemoryStore::new());
        let mut config = fixture::config(folder.path(), &near, None);
        let mut job = fixture::job(None);
        job.differential = Some(toml::from_str(settings).unwrap());
        config.jobs.insert(job.name.clone(), job);
        let state = folder.path().join("state").join("differential");
        Self { _folder: folder, state, config, near, far, day: std::cell::Cell::new(0) }
    }

    fn weekly() -> Self {
        Self::new("full_every = '7d'")
    }

    /// Runs the job a day later.
    async fn run(&self, content: &Bytes) -> Made {
        self.run_with(content, Differences::AsConfigured).await
    }

    async fn run_with(&self, content: &Bytes, differences: Differences) -> Made {
        let job = self.config.jobs.values().next().unwrap();
        let start: DateTime<Utc> = "2026-06-01T03:00:00Z".parse().unwrap();
        let time = Timestamp::new(start + TimeDelta::days(self.day.replace(self.day.get() + 1)));
        let pipeline = pipeline([("near", self.near.clone()), ("far", self.far.clone())]);
        let subject = Subject::database("app");
        let dump = FakeDump::new([(subject.clone(), Content::Whole(content.clone()))]).compressed();
        let dump: Arc<dyn Dump> = Arc::new(dump);
        let subjects = survey(&[dump]).await.unwrap().subjects;
        let (differentials, warning) =
            Differentials::plan((&self.config, job), &subjects, &pipeline, differences, time.time()).await.unwrap();
        assert_eq!(warning, None);
        let spec = BackupSpec {
            job: job.name.clone(),
            run: format!("{time}-0"),
            run_backups: 1,
            run_not_captured: Vec::new(),
            time,
            cluster: Cluster {
                name: job.site.cluster.name.clone(),
                server: Server { server_version: "17.4".to_owned(), system_identifier: None },
            },
            subject,
            needs: BTreeMap::new(),
            adopted_from: None,
        };
        let shipped = differentials.unwrap().back_up(&pipeline, &*subjects[0].0, &spec, &ignore()).await.unwrap();
        let manifest = shipped.manifest.unwrap();
        let is_difference = manifest.is_difference();
        assert_eq!(manifest.artifact.key.as_str().contains(EXTENSION), is_difference);
        Made { is_difference, name: shipped.name.to_string(), warnings: shipped.notes.warnings }
    }

    /// Decides about the next run.
    async fn plan(&self) -> Differentials<'_> {
        let job = self.config.jobs.values().next().unwrap();
        let pipeline = pipeline([("near", self.near.clone()), ("far", self.far.clone())]);
        let dump: Arc<dyn Dump> = Arc::new(FakeDump::new([(Subject::database("app"), Content::Whole(Bytes::new()))]));
        let subjects = survey(&[dump]).await.unwrap().subjects;
        let now = "2026-06-03T03:00:00Z".parse().unwrap();
        let configured = Differences::AsConfigured;
        Differentials::plan((&self.config, job), &subjects, &pipeline, configured, now).await.unwrap().0.unwrap()
    }

    /// Returns the only file of the state with this end.
    fn state_file(&self, end: &str) -> std::path::PathBuf {
        let folders = std::fs::read_dir(&self.state).unwrap().map(|entry| entry.unwrap().path());
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    /// Expects that the next run makes a full backup, with this word in its warning, and the one
    /// after it a difference.
    async fn expect_full(&self, word: &str) {
        let made = self.run(&rows(2)).await;
        assert!(!made.is_difference, "{word}: {made:?}");
        assert!(made.warnings.iter().any(|warning| warning.contains(word)), "{word}: {made:?}");
        assert!(self.run(&rows(3)).await.is_difference, "{word}");
    }
}

/// Returns a dump of which one row differs by number.
fn rows(number: u32) -> Bytes {
    let row = |row: u32| format!("{row}\t{}\n", if row == 500 { number } else { row.wrapping_mul(2_654_435_761) });
    (0..10_000).map(row).collect::<String>().into()
}

fn key(name: &str, end: &str) -> Key {
    Key::parse(&format!("{name}{end}")).unwrap()
}

#[tokio::test]
async fn differences_follow_a_full_backup_until_one_is_due() {
    let env = Env::weekly();
    let mut kinds = Vec::new();
    for number in 0..9 {
        let made = env.run(&rows(number)).await;
        assert!(made.warnings.is_empty(), "{made:?}");
        kinds.push(made.is_difference);
    }
    assert_eq!(kinds, [false, true, true, true, true, true, true, false, true]);
    let catalog = Catalog::read(&env.far).await.unwrap();
    let backups: Vec<&Backup> = catalog.backups().collect();
    assert!(backups.iter().all(|backup| backup.is_good()));
    assert!(backups[1..7].iter().all(|backup| backup.manifest.needs == [backups[0].name.clone()]));
    assert_eq!(backups[8].manifest.needs, [backups[7].name.clone()]);
    env.state_file(".blocks");
}

#[tokio::test]
async fn preview_names_the_full_backup() {
    let env = Env::weekly();
    assert_eq!(env.plan().await.preview(), [(None, Vec::new())]);
    let full = env.run(&rows(0)).await.name;
    let plan = env.plan().await;
    assert!(matches!(&plan.preview()[..], [(Some(name), warnings)] if name.as_str() == full && warnings.is_empty()));
    let (needed, free) = plan.space(384_000).unwrap();
    assert!((16_000..17_000).contains(&needed) && free > 0, "{needed} {free}");
    // Half of the digests are no digests.
    let path = env.state_file(".blocks");
    std::fs::write(&path, &std::fs::read(&path).unwrap()[..1000]).unwrap();
    let preview = plan.preview();
    assert!(preview[0].0.is_none() && preview[0].1[0].contains("cannot use the state"), "{preview:?}");
}

#[tokio::test]
async fn unusable_digests_make_a_full_backup() {
    let change = |path: &std::path::Path, change: fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    };
    let env = Env::weekly();
    env.run(&rows(0)).await;
    std::fs::remove_file(env.state_file(".blocks")).unwrap();
    env.expect_full("cannot use the state of differences").await;
    std::fs::remove_file(env.state_file(".json")).unwrap();
    env.expect_full("has no block digests of main/app/app-2026-06-02_030000").await;
    change(&env.state_file(".json"), |bytes| bytes.truncate(9));
    env.expect_full("cannot use the state of differences").await;
    change(&env.state_file(".blocks"), |bytes| bytes.truncate(bytes.len() - 1));
    env.expect_full("the signature is truncated").await;
    change(&env.state_file(".blocks"), |bytes| bytes[100] ^= 1);
    env.expect_full("the signature differs from its digest").await;
    // The digests of another full backup.
    let other = std::fs::read(env.state_file(".blocks")).unwrap();
    env.run_with(&rows(4), Differences::Never).await;
    std::fs::write(env.state_file(".blocks"), other).unwrap();
    env.expect_full("the signature differs from its digest").await;
}

#[tokio::test]
async fn destination_without_a_good_full_backup_makes_one() {
    let env = Env::weekly();
    let full = env.run(&rows(0)).await.name;
    // Pruned by hand at one destination.
    for end in [".json", ".dump.zst"] {
        env.far.lose(&key(&full, end));
    }
    env.expect_full("destination \"far\" lacks").await;
    let full = newest_full(&env.near).await;
    env.near.damage(&key(&full, ".dump.zst"), |bytes| bytes.truncate(9));
    env.expect_full("at destination \"near\" is damaged").await;
}

/// Returns the newest full backup at a destination.
async fn newest_full(store: &MemoryStore) -> String {
    let catalog = Catalog::read(store).await.unwrap();
    let full = catalog.backups().filter(|backup| !backup.manifest.is_difference()).last().unwrap();
    full.name.to_string()
}

#[tokio::test]
async fn unlisted_destination_makes_a_full_backup_unless_trusted() {
    for (settings, is_difference) in
        [("full_every = '7d'", false), ("full_every = '7d'\nparent_unseen = 'trust'", true)]
    {
        let env = Env::new(settings);
        env.run(&rows(0)).await;
        env.far.fault_at(Operation::List, "", Fault::Deny);
        let made = env.run(&rows(1)).await;
        assert_eq!(made.is_difference, is_difference, "{made:?}");
        assert!(made.warnings[0].contains("destination \"far\" does not show"), "{made:?}");
        assert_eq!(env.plan().await.unlisted(), ["far"]);
    }
}

/// Returns a dump that is longer than the part that is held back, so that its kind is decided
/// before its end. Most of it is compressed to nothing; the rest depends on the seed.
fn mostly_blank(seed: u64) -> Bytes {
    let noise =
        (0..30_000_u64).map(|row| format!("{row}\t{}\n", (row ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let blank = |rows: std::ops::Range<u32>| rows.map(|row| format!("{row}{}\n", " ".repeat(500)));
    blank(0..10_000).chain(noise).chain(blank(10_000..20_000)).collect::<String>().into()
}

#[tokio::test]
async fn stored_sizes_decide_when_differences_end() {
    let env = Env::weekly();
    env.run(&mostly_blank(0)).await;
    // A tenth of the dump is most of the stored bytes.
    let made = env.run(&mostly_blank(1)).await;
    assert!(made.is_difference && made.warnings[0].contains("differences save little"), "{made:?}");
    let made = env.run(&mostly_blank(0)).await;
    assert!(!made.is_difference && made.warnings.is_empty(), "{made:?}");
    let made = env.run(&mostly_blank(0)).await;
    assert!(made.is_difference && made.warnings.is_empty(), "{made:?}");
}

#[tokio::test]
async fn small_dump_is_stored_in_full_without_a_warning() {
    let env = Env::weekly();
    env.run(&rows(0)).await;
    let other: Bytes = rows(0).iter().map(|byte| byte ^ 1).collect();
    let made = env.run(&other).await;
    assert!(!made.is_difference && made.warnings.is_empty(), "{made:?}");
    assert!(env.run(&other).await.is_difference);
    // A long one is reported: its beginning should stay.
    env.run_with(&mostly_blank(0), Differences::Never).await;
    let made = env.run(&mostly_blank(0).iter().map(|byte| byte ^ 1).collect()).await;
    assert!(!made.is_difference && made.warnings[0].contains("has nothing in common"), "{made:?}");
}

#[tokio::test]
async fn job_without_databases_is_refused() {
    let env = Env::weekly();
    let (pipeline, job) = (pipeline([("near", env.near.clone())]), env.config.jobs.values().next().unwrap());
    let plan = async |job: &Job| {
        let planned = Differentials::plan((&env.config, job), &[], &pipeline, Differences::AsConfigured, Utc::now());
        planned.await.map(drop)
    };
    let error = plan(job).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.chain().contains("needs a dump of databases"), "{}", error.chain());
    // A server may have none of the selected databases today.
    let mut job = job.clone();
    job.dump = vec![Arc::new(|_| Ok(Box::new(FakeDump::default())))];
    assert!(plan(&job).await.is_ok());
}

#[tokio::test]
async fn run_without_differences_starts_anew() {
    let env = Env::weekly();
    env.run(&rows(0)).await;
    assert!(!env.run_with(&rows(1), Differences::Never).await.is_difference);
    let made = env.run(&rows(2)).await;
    assert!(made.is_difference);
    let manifest = env.near.get(&key(&made.name, ".json")).unwrap();
    assert!(String::from_utf8_lossy(&manifest).contains("main/app/app-2026-06-02_030000"));
}
