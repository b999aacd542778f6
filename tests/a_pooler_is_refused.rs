//! A connection through a pooler is refused before anything is read, however the pooler handles
//! settings. A connection through a proxy is accepted.

use longshore_testkit::pgbouncer::PgBouncer;
use longshore_testkit::proxy::{Fault, Proxy, Way};
use longshore_testkit::session_pool::SessionPool;
use tokio::runtime::Runtime;

use crate::support::{Ended, Job, Workshop, files};

/// Returns a workshop with a table of which a policy shows a tenth to the role `bk`.
fn with_policy() -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("shop");
    workshop.cluster.psql("postgres", "create role bk login; grant pg_read_all_data to bk;");
    workshop.cluster.psql(
        "shop",
        "create table account as select n, n % 10 as tenant from generate_series(1, 1000) n; \
         alter table account enable row level security; create policy own on account using (tenant = 3);",
    );
    workshop
}

const SHOP: &str = "[{ type = 'pg_dump', databases = ['shop'] }]";

/// Expects that `check` and `run` report the pooler, and that the destination stays empty.
fn refused(workshop: &Workshop, connection: &str, dump: &str) {
    workshop.configure_with_connection(&Job { dump, ..Job::default() }, connection);
    for verb in ["check", "run"] {
        let ended: Ended = workshop.longshore(&[verb]);
        assert_ne!(ended.code, Some(0), "{verb} by {connection}: {ended:?}");
        ended.says("connection pooler").says("connect directly to the server");
    }
    assert!(files(&workshop.local()).is_empty());
}

/// Returns PgBouncer's settings for a mode, with startup parameters ignored or refused.
fn lines<'a>(mode: &'a str, settings: &str) -> Vec<&'a str> {
    let mut lines = vec![mode, "default_pool_size = 6"];
    if settings == "ignored" {
        lines.push("ignore_startup_parameters = options,extra_float_digits");
    }
    lines
}

#[test]
fn pgbouncer_is_refused_idle_with_settings_refused_or_ignored() {
    let workshop = with_policy();
    for (mode, settings) in [("pool_mode = session", "refused"), ("pool_mode = transaction", "ignored")] {
        let bouncer = PgBouncer::start(&workshop.cluster, &lines(mode, settings), &["bk"]);
        refused(&workshop, &bouncer.connection("bk"), SHOP);
        refused(&workshop, &bouncer.connection("bk"), "[{ type = 'pg_dumpall', no_role_passwords = true }]");
        // Other clients' sessions keep their settings.
        let connection = format!("{} dbname=shop", bouncer.connection("bk"));
        let path = std::process::Command::new("psql").args(["-XqAt", &connection, "-c", "show search_path"]).output();
        assert_eq!(String::from_utf8(path.unwrap().stdout).unwrap().trim(), "\"$user\", public");
    }
}

#[test]
fn a_restore_through_pgbouncer_is_refused() {
    let workshop = with_policy();
    workshop.configure(&Job { dump: SHOP, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let bouncer = PgBouncer::start(&workshop.cluster, &lines("pool_mode = transaction", "ignored"), &["postgres"]);
    let to = format!("{} dbname=again", bouncer.connection("postgres"));
    let ended = workshop.opening(&["restore", "shop", "--create", "--to", &to]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    ended.says("connection pooler");
    assert_eq!(workshop.cluster.psql("postgres", "select count(*) from pg_database where datname = 'again'"), "0");
}

#[test]
fn a_pool_that_keeps_settings_is_refused() {
    let workshop = with_policy();
    let runtime = Runtime::new().unwrap();
    let pool = runtime.block_on(SessionPool::start(([127, 0, 0, 1], workshop.cluster.port()).into()));
    refused(&workshop, &format!("host=127.0.0.1 port={} user=postgres", pool.address().port()), SHOP);
}

#[test]
fn a_slow_proxy_is_no_pooler() {
    let workshop = with_policy();
    let runtime = Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(([127, 0, 0, 1], workshop.cluster.port()).into()));
    proxy.fault(Way::Up, Fault::Throttle(20_000));
    let connection = format!("host=127.0.0.1 port={} user=postgres", proxy.address().port());
    workshop.configure_with_connection(&Job { dump: SHOP, ..Job::default() }, &connection);
    workshop.longshore(&["check"]).keeps_quiet_about("pooler");
    workshop.longshore(&["run"]).expect(0);
}

#[test]
fn a_connection_that_changes_to_a_pooler_fails_the_run() {
    use std::os::unix::fs::PermissionsExt;
    let workshop = with_policy();
    workshop.cluster.psql("postgres", "alter role bk bypassrls;");
    let bouncer = PgBouncer::start(&workshop.cluster, &lines("pool_mode = session", "ignored"), &["bk"]);
    // The service points to the server until pg_dump has ended, then to the pooler.
    let (service, other) = (workshop.path("service.conf"), workshop.path("other.conf"));
    let lines = |connection: &str| format!("[site]\ndbname=postgres\n{}\n", connection.replace(' ', "\n"));
    std::fs::write(
        &service,
        lines(&format!("{} user=bk", workshop.cluster.tcp_connection().replace(" user=postgres", ""))),
    )
    .unwrap();
    std::fs::write(&other, lines(&bouncer.connection("bk"))).unwrap();
    let bin = workshop.make_folder("bin");
    let pg_dump = bin.join("pg_dump");
    let program = workshop.cluster.bin_dir().join("pg_dump");
    let script = format!(
        "#!/bin/sh\n'{}' \"$@\" || exit\n[ \"$1\" = --version ] || cp '{}' '{}'\n",
        program.display(),
        other.display(),
        service.display()
    );
    std::fs::write(&pg_dump, script).unwrap();
    std::fs::set_permissions(&pg_dump, PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(workshop.cluster.bin_dir().join("psql"), bin.join("psql")).unwrap();
    let cluster = format!("bin_dir = '{}'", bin.display());
    workshop.configure_with_connection(&Job { dump: SHOP, cluster: &cluster, ..Job::default() }, "service=site");
    let ended = crate::support::finish(workshop.command().arg("run").env("PGSERVICEFILE", &service));
    assert_ne!(ended.code, Some(0), "{ended:?}");
    ended.says("connection pooler");
    assert!(files(&workshop.local()).is_empty());
}

mod slow {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Sessions that keep a pool busy until this value is dropped.
    struct Load(Child);

    impl Load {
        fn on(workshop: &Workshop, connection: &str, mode: &str) -> Self {
            let script = workshop.path(&format!("load-{}.sql", mode.len()));
            std::fs::write(&script, "select pg_sleep(0.002);\n").unwrap();
            let mut pgbench = Command::new(workshop.cluster.bin_dir().join("pgbench"));
            pgbench.args(["-n", "-c", "4", "-T", "600", "-f"]).arg(script).arg(format!("{connection} dbname=shop"));
            Self(pgbench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        }
    }

    impl Drop for Load {
        fn drop(&mut self) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }

    #[test]
    fn every_mode_of_pgbouncer_is_refused_idle_and_loaded() {
        let workshop = with_policy();
        for mode in ["session", "transaction", "statement"] {
            for settings in ["refused", "ignored"] {
                let line = format!("pool_mode = {mode}");
                let mut lines = lines(&line, settings);
                lines.extend(["server_round_robin = 1"]);
                let bouncer = PgBouncer::start(&workshop.cluster, &lines, &["bk"]);
                let connection = bouncer.connection("bk");
                refused(&workshop, &connection, SHOP);
                let _load = Load::on(&workshop, &connection, mode);
                // Enough rounds for every order in which the pooler hands out sessions.
                let rounds = if mode == "transaction" { 12 } else { 2 };
                for _ in 0..rounds {
                    refused(&workshop, &connection, SHOP);
                }
            }
        }
    }
}
