//! Rolls back a restore that creates a database: drops the database, and renames the replaced one
//! back.
//!
//! Each statement that changes the target runs to its end even if the caller is dropped, since the
//! server may complete a statement whose client has disconnected. The rollback waits for the
//! statement, so that it sees the resulting state.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longshore_core::cleanup::{shield, spawn_cleanup};
use longshore_core::error::printable;
use longshore_core::key::Timestamp;
use longshore_core::plugin::{Cleanup, DatabaseTarget};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::leftover;
use longshore_pg_client::server::{identifier, literal};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use crate::database::{self, Create};
use crate::statement::StatementResult;
use crate::target_database::{self, maintenance};

/// The time limit of the rollback after an interruption: shorter than the program's own limit.
const TIMEOUT_AFTER_INTERRUPTION: Duration = Duration::from_secs(12);
/// The time limit of the rollback after an error: enough for a server to recover from a crash.
const TIMEOUT_AFTER_ERROR: Duration = Duration::from_secs(60);
/// The time limit of the rollback in a target that is deleted with the database anyway.
const TIMEOUT_IN_TEMPORARY_TARGET: Duration = Duration::from_secs(5);
/// The delay between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The number of attempts of the last steps.
const ATTEMPTS: u32 = 4;

/// The changes of the target so far.
#[derive(Debug, Default)]
struct Changes {
    /// The name to which the original database was, or may have been, renamed.
    aside: Option<String>,
    /// True if the database may have been created: if it has our mark or is empty, it is ours.
    may_be_created: bool,
    /// True if the database is certainly ours.
    is_created: bool,
}

/// The database that a restore creates.
#[derive(Debug, Clone)]
struct NewDatabase {
    client: Client,
    database: String,
    /// Its comment until the restore is complete.
    mark: String,
}

/// The rollback of a restore. Dropping it rolls back, unless the restore was finished.
#[derive(Debug)]
pub(crate) struct Rollback {
    new_database: NewDatabase,
    stall_timeout: Duration,
    cleanup: Cleanup,
    changes: Arc<Mutex<Changes>>,
    is_finished: bool,
}

impl Rollback {
    /// Returns the rollback of a restore into `database`, before any change.
    pub(crate) fn new(client: &Client, target: &DatabaseTarget, database: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mark = leftover::mark(&format!("process {}, {}", std::process::id(), now.as_nanos()));
        Self {
            new_database: NewDatabase { client: client.clone(), database: database.to_owned(), mark },
            stall_timeout: target.stall_timeout,
            cleanup: target.cleanup,
            changes: Arc::default(),
            is_finished: false,
        }
    }

    /// Waits for the current step, and blocks others.
    async fn lock(&self) -> OwnedMutexGuard<Changes> {
        Arc::clone(&self.changes).lock_owned().await
    }

    /// Renames the existing database, so that its content is kept until its replacement is
    /// complete.
    pub(crate) async fn set_aside(&self, time: Timestamp) -> Result<()> {
        let new_database = self.new_database.clone();
        let aside = target_database::aside_name(&new_database.client, &new_database.database, time).await?;
        let mut changes = self.lock().await;
        shield(async move {
            changes.aside = Some(aside.clone());
            target_database::rename(&new_database.client, &new_database.database, &aside).await
        })
        .await
    }

    /// Creates the database. After a failure of the server, no database of ours exists.
    pub(crate) async fn create(&self, create: Create) -> Result<()> {
        let (new_database, limit, cleanup) = (self.new_database.clone(), self.stall_timeout, self.cleanup);
        let mut changes = self.lock().await;
        shield(async move {
            let mark = match cleanup {
                Cleanup::ByRestore => Some(comment(&new_database.database, &literal(&new_database.mark))),
                Cleanup::WithCluster => None,
            };
            changes.may_be_created = true;
            let name = &new_database.database;
            match database::execute_create(&new_database.client, limit, name, create, mark.as_deref()).await? {
                StatementResult::Success => {
                    changes.is_created = true;
                    Ok(())
                }
                StatementResult::Failed(failure) => {
                    changes.may_be_created = false;
                    Err(database::create_error(name, failure))
                }
            }
        })
        .await
    }

    /// Removes the mark from a complete database, and drops the replaced one. Returns warnings.
    pub(crate) async fn finish(mut self) -> Result<Vec<String>> {
        let (new_database, cleanup) = (self.new_database.clone(), self.cleanup);
        let changes = self.lock().await;
        // The database is complete: no rollback from here on.
        self.is_finished = true;
        shield(async move {
            let mut warnings = Vec::new();
            if cleanup == Cleanup::ByRestore
                && let Err(error) = new_database.remove_mark().await
            {
                warnings.push(format!(
                    "database \"{0}\" is complete, but still has the comment of a running restore: {1}; remove it: {2}",
                    printable(&new_database.database),
                    error.chain(),
                    printable(&comment(&new_database.database, "null"))
                ));
            }
            if let Some(aside) = &changes.aside {
                new_database.drop_aside(aside).await.map_err(|error| new_database.drop_error(aside, error))?;
            }
            Ok(warnings)
        })
        .await
    }

    /// Rolls back after an error, and returns the error, with a hint for the repair of the target
    /// if the rollback failed.
    pub(crate) async fn run(mut self, error: Error) -> Error {
        let new_database = self.new_database.clone();
        let changes = self.lock().await;
        self.is_finished = true;
        let limit = match self.cleanup {
            Cleanup::ByRestore => TIMEOUT_AFTER_ERROR,
            Cleanup::WithCluster => TIMEOUT_IN_TEMPORARY_TARGET,
        };
        match shield(async move { new_database.roll_back(&changes, limit).await }).await {
            Ok(()) => error,
            Err(failure) => {
                let hints = [error.remedy(), failure.remedy()].into_iter().flatten().collect::<Vec<_>>().join("; ");
                if hints.is_empty() { error } else { error.hint(hints) }
            }
        }
    }
}

impl Drop for Rollback {
    fn drop(&mut self) {
        if self.is_finished || self.cleanup == Cleanup::WithCluster {
            return;
        }
        let (new_database, changes) = (self.new_database.clone(), Arc::clone(&self.changes));
        spawn_cleanup(async move {
            let changes = changes.lock().await;
            new_database.roll_back(&changes, TIMEOUT_AFTER_INTERRUPTION).await
        });
    }
}

/// The state of the target.
#[derive(Debug, Deserialize)]
struct TargetState {
    /// The oid of the database with the original name.
    oid: Option<u32>,
    /// True if that database has our mark.
    is_marked: bool,
    /// True if a statement of ours is still running, perhaps from a terminated program.
    is_busy: bool,
    /// True if the original database exists under its other name.
    is_aside: bool,
}

impl NewDatabase {
    /// Restores the original state of the target within `limit`. The error names the remains and
    /// the way to repair them.
    async fn roll_back(&self, changes: &Changes, limit: Duration) -> Result<()> {
        if changes.aside.is_none() && !changes.may_be_created {
            return Ok(());
        }
        let deadline = Instant::now() + limit;
        let mut own_oid = None;
        loop {
            let error = match timeout_at(deadline, self.try_once(changes, &mut own_oid)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => Error::new(Stage::Restore, Kind::Unavailable, &self.database, "the server does not respond"),
            };
            if error.kind() == Kind::Refused || Instant::now() + RETRY_DELAY >= deadline {
                return Err(self.rollback_error(changes, &error));
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// Performs the remaining steps. The result of a previous attempt's statement may have been
    /// lost; `own_oid` is the database that a previous attempt identified as ours.
    async fn try_once(&self, changes: &Changes, own_oid: &mut Option<u32>) -> Result<()> {
        let state = self.query_state(changes.aside.as_deref()).await?;
        if state.is_busy {
            let message = "a statement of the restore is still running";
            return Err(Error::new(Stage::Restore, Kind::Unavailable, &self.database, message));
        }
        if changes.aside.is_some() && !state.is_aside {
            // The database was not renamed, or was already renamed back.
            return Ok(());
        }
        let mut existing = state.oid;
        let is_ours = changes.is_created
            || state.is_marked
            || (existing.is_some()
                && changes.may_be_created
                && self.client.to_database(&self.database).query(target_database::IS_EMPTY).await?);
        if let Some(oid) = existing.filter(|_| is_ours)
            && *own_oid.get_or_insert(oid) == oid
        {
            // The session of a terminated program may remain for a moment.
            let statement = format!("drop database if exists {} with (force)", identifier(&self.database));
            maintenance(&self.client, &self.database).execute(&statement).await?;
            existing = None;
        }
        match (&changes.aside, existing) {
            (Some(aside), None) => target_database::rename(&self.client, aside, &self.database).await,
            (Some(aside), Some(_)) => {
                let message = format!("another database has its name; the original is now \"{}\"", printable(aside));
                Err(Error::new(Stage::Restore, Kind::Refused, &self.database, message))
            }
            (None, _) => Ok(()),
        }
    }

    async fn query_state(&self, aside: Option<&str>) -> Result<TargetState> {
        let exists = |name: &str, more: &str| {
            format!("exists (select from pg_catalog.pg_database where datname = {}{more})", literal(name))
        };
        let marked = format!(" and pg_catalog.shobj_description(oid, 'pg_database') = {}", literal(&self.mark));
        let query = format!(
            "select json_build_object('oid', (select oid::bigint from pg_catalog.pg_database where datname = {}),
                'is_marked', {}, 'is_aside', {},
                'is_busy', exists (select from pg_catalog.pg_stat_activity where application_name = 'longshore'
                    and pid <> pg_backend_pid() and state = 'active' and usename = current_user
                    and query ~* '^ *(create|alter|drop) +database' and position({} in query) > 0))",
            literal(&self.database),
            exists(&self.database, &marked),
            aside.map_or("false".to_owned(), |aside| exists(aside, "")),
            literal(&self.database),
        );
        maintenance(&self.client, "postgres").query(&query).await
    }

    /// Returns the error for a failed rollback.
    fn rollback_error(&self, changes: &Changes, error: &Error) -> Error {
        let name = printable(&identifier(&self.database));
        let repair = match &changes.aside {
            Some(aside) => format!(
                "restore the original database: drop database if exists {name} with (force); \
                 alter database {} rename to {name}",
                printable(&identifier(aside))
            ),
            None => {
                format!("drop the database if the restore created it: drop database if exists {name} with (force)")
            }
        };
        Error::new(Stage::Restore, Kind::Failed, &self.database, "the target could not be rolled back")
            .because(error.chain())
            .hint(format!("{repair}; `longshore check` reports remains in a server that a job dumps"))
    }

    /// Returns the error for a replaced database that could not be dropped.
    fn drop_error(&self, aside: &str, error: Error) -> Error {
        let name = printable(&identifier(aside));
        let hint = format!("the backup is restored; drop the replaced database: drop database {name}");
        error.about(&self.database).hint(hint)
    }

    /// Drops the replaced database. A session may remain there for a moment.
    async fn drop_aside(&self, aside: &str) -> Result<()> {
        for _ in 1..ATTEMPTS {
            if target_database::drop(&self.client, aside).await.is_ok() {
                return Ok(());
            }
            sleep(RETRY_DELAY).await;
        }
        target_database::drop(&self.client, aside).await
    }

    async fn remove_mark(&self) -> Result<()> {
        // The backup may contain a comment of its own.
        if self.query_state(None).await?.is_marked {
            maintenance(&self.client, &self.database).execute(&comment(&self.database, "null")).await?;
        }
        Ok(())
    }
}

/// The statement that comments a database.
fn comment(database: &str, text: &str) -> String {
    format!("comment on database {} is {text}", identifier(database))
}
