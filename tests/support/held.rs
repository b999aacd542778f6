//! A locked table, which makes a dump wait.

use std::process::{Child, Command, Stdio};

use super::{Workshop, wait_for};

/// A session that locks a table until this value is dropped.
pub(crate) struct Held<'a> {
    workshop: &'a Workshop,
    session: Child,
}

impl Workshop {
    /// Locks a table of a database.
    pub(crate) fn hold(&self, database: &str, table: &str) -> Held<'_> {
        let mut session = Command::new(self.cluster.bin_dir().join("psql"));
        session.arg(format!("{} dbname={database}", self.cluster.connection()));
        session.args(["-Xqc", &format!("begin; lock table {table} in access exclusive mode; select pg_sleep(60)")]);
        let session = session.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let held = Held { workshop: self, session };
        let asked = format!(
            "select count(*) from pg_locks join pg_database on database = pg_database.oid \
             where datname = '{database}' and mode = 'AccessExclusiveLock' and relation is not null and granted"
        );
        wait_for("the lock", || (self.cluster.psql("postgres", &asked) != "0").then_some(()));
        held
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // A server does not notice that a sleeping client has disconnected.
        let ended = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'begin; lock table%'";
        self.workshop.cluster.psql("postgres", ended);
        self.session.wait().unwrap();
    }
}
