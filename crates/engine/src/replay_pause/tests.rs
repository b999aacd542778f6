use std::sync::Mutex;

use async_trait::async_trait;
use longshore_core::check::{Check, Outcome};
use longshore_core::cleanup::CleanupScope;
use longshore_core::stage::{Discovery, Dumped};
use longshore_core::subject::Subject;

use super::*;
use crate::fixture;

/// A standby whose replay can be paused.
#[derive(Clone)]
struct FakeStandby(Arc<Mutex<Replay>>);

impl FakeStandby {
    fn new() -> Self {
        let replay = Replay { server: "1796.5".into(), paused: false, may_pause: true, caught_up: true };
        Self(Arc::new(Mutex::new(replay)))
    }

    fn dump(&self) -> Arc<dyn Dump> {
        Arc::new(self.clone())
    }

    fn is_paused(&self) -> bool {
        self.0.lock().unwrap().paused
    }

    fn set(&self, change: impl FnOnce(&mut Replay)) {
        change(&mut self.0.lock().unwrap());
    }
}

#[async_trait]
impl Standby for FakeStandby {
    async fn replay_state(&self) -> Result<Option<Replay>> {
        Ok(Some(self.0.lock().unwrap().clone()))
    }

    async fn pause(&self) -> Result<Paused> {
        self.set(|replay| replay.paused = true);
        Ok(Paused::Stopped)
    }

    async fn resume(&self) -> Result<()> {
        self.set(|replay| replay.paused = false);
        Ok(())
    }

    async fn settings(&self) -> Result<Finding> {
        Ok(Finding::warning("cluster main", "cancels dumps", "pause it"))
    }

    async fn conflicts(&self, _: &str) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Check for FakeStandby {
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl Dump for FakeStandby {
    async fn discover(&self) -> Result<Discovery> {
        Err(Error::new(Stage::Dump, Kind::Failed, "", "not asked here"))
    }

    async fn dump(&self, _: &Subject) -> Result<Dumped> {
        Err(Error::new(Stage::Dump, Kind::Failed, "", "not asked here"))
    }

    fn standby(&self) -> Option<&dyn Standby> {
        Some(self)
    }
}

/// Returns a configuration with its own state folder, and a job with this setting.
fn configured(pause_replay: bool) -> (Config, Job, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { state_dir: Some(folder.path().to_owned()), ..Config::default() };
    (config, Job { pause_replay, ..fixture::job(None) }, folder)
}

async fn begun(config: &Config, job: &Job, standby: &FakeStandby) -> (Option<Pause>, Vec<String>) {
    begin(config, job, &standby.dump()).await.unwrap()
}

/// Simulates a pause whose run was killed: its lock ends, its record stays.
async fn killed(config: &Config, job: &Job, standby: &FakeStandby) {
    let mut pause = begun(config, job, standby).await.0.unwrap();
    drop(pause.0.take());
}

#[tokio::test]
async fn replay_stays_paused_until_last_run_ends() {
    let ((config, job, _folder), standby) = (configured(true), FakeStandby::new());
    let first = begun(&config, &job, &standby).await.0.unwrap();
    let second = begun(&config, &job, &standby).await.0.unwrap();
    assert!(standby.is_paused());
    first.finish().await.unwrap();
    assert!(standby.is_paused(), "another run uses the pause");
    second.finish().await.unwrap();
    assert!(!standby.is_paused());
    assert!(!is_any_recorded(&config));
}

#[tokio::test]
async fn dropped_run_resumes_replay() {
    let ((config, job, _folder), standby) = (configured(true), FakeStandby::new());
    let scope = CleanupScope::default();
    scope.run(async { drop(begun(&config, &job, &standby).await.0.unwrap()) }).await;
    scope.wait().await;
    assert!(!standby.is_paused());
}

#[tokio::test]
async fn foreign_pause_is_never_resumed() {
    let ((config, job, _folder), standby) = (configured(true), FakeStandby::new());
    standby.set(|replay| replay.paused = true);
    let (pause, warnings) = begun(&config, &job, &standby).await;
    assert!(pause.is_none() && warnings[0].contains("not by this host"), "{warnings:?}");
    assert!(standby.is_paused());
    let found = check_replay(&config, &job, &standby).await;
    assert!(
        found.iter().any(|finding| finding.outcome == Outcome::Warning && finding.message.contains("not by this host"))
    );
}

#[tokio::test]
async fn next_run_resumes_pause_of_killed_run() {
    for pause_replay in [true, false] {
        let ((config, job, _folder), standby) = (configured(true), FakeStandby::new());
        killed(&config, &job, &standby).await;
        assert!(standby.is_paused());
        let found = check_replay(&config, &job, &standby).await;
        assert!(found.iter().any(|finding| finding.message.contains("left paused by a run of job")), "{found:?}");

        let next = Job { pause_replay, ..fixture::job(None) };
        let (pause, warnings) = begun(&config, &next, &standby).await;
        assert!(warnings[0].contains("it was resumed"), "{warnings:?}");
        assert_eq!((standby.is_paused(), pause.is_some()), (pause_replay, pause_replay));
        if let Some(pause) = pause {
            pause.finish().await.unwrap();
        }
        assert!(!standby.is_paused());
    }
}

#[tokio::test]
async fn pause_of_restarted_server_is_foreign() {
    let ((config, job, _folder), standby) = (configured(true), FakeStandby::new());
    killed(&config, &job, &standby).await;
    // The server was restarted, and paused by hand.
    standby.set(|replay| replay.server = "1797.5".into());
    let (pause, _) = begun(&config, &job, &standby).await;
    assert!(pause.is_none() && standby.is_paused());
}

#[tokio::test]
async fn check_and_run_reject_role_without_pause_permission() {
    let ((config, job, _folder), standby) = (configured(true), FakeStandby::new());
    standby.set(|replay| replay.may_pause = false);
    assert_eq!(begin(&config, &job, &standby.dump()).await.err().unwrap().kind(), Kind::Denied);
    assert_eq!(check_replay(&config, &job, &standby).await[0].outcome, Outcome::Failed);
    assert!(!is_any_recorded(&config));
}

#[tokio::test]
async fn cluster_without_pause_setting_is_never_paused() {
    let ((config, job, folder), standby) = (configured(false), FakeStandby::new());
    assert!(begun(&config, &job, &standby).await.0.is_none() && !standby.is_paused());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(check_replay(&config, &job, &standby).await[0].message, "cancels dumps");
}
