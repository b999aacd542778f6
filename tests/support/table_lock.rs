//! A locked table, which makes a dump wait.

use std::process::{Child, Command, Stdio};

use super::{TestEnv, wait_for};

/// A session that locks a table until this value is dropped.
pub(crate) struct TableLock<'a> {
    test_env: &'a TestEnv,
    session: Child,
}

impl TestEnv {
    /// Locks a table of a database.
    pub(crate) fn lock_table(&self, database: &str, table: &str) -> TableLock<'_> {
        let mut session = Command::new(self.cluster.bin_dir().join("psql"));
        session.arg(format!("{} dbname={database}", self.cluster.connection()));
        session.args(["-Xqc", &format!("begin; lock table {table} in access exclusive mode; select pg_sleep(60)")]);
        let session = session.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let table_lock = TableLock { test_env: self, session };
        let query = format!(
            "select count(*) from pg_locks join pg_database on database = pg_database.oid \
             where datname = '{database}' and mode = 'AccessExclusiveLock' and relation is not null and granted"
        );
        wait_for("the lock", || (self.cluster.psql("postgres", &query) != "0").then_some(()));
        table_lock
    }
}

impl Drop for TableLock<'_> {
    fn drop(&mut self) {
        // A server does not notice that a sleeping client has disconnected.
        let query = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'begin; lock table%'";
        self.test_env.cluster.psql("postgres", query);
        self.session.wait().unwrap();
    }
}
