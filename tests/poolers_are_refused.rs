//! A connection through a pooler is refused before anything is read, however the pooler handles
//! settings. A connection through a proxy is accepted.

use longshore_testkit::pgbouncer::PgBouncer;
use longshore_testkit::proxy::{Direction, Fault, Proxy};
use longshore_testkit::session_pool::SessionPool;
use tokio::runtime::Runtime;

use crate::support::{CommandOutput, Job, TestEnv, files};

/// Returns an environment with a table of which a policy shows a tenth to the role `bk`.
fn with_policy() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("postgres", "create role bk login; grant pg_read_all_data to bk;");
    test_env.cluster.psql(
        "shop",
        "create table account as select n, n % 10 as tenant from generate_series(1, 1000) n; \
         alter table account enable row level security; create policy own on account using (tenant = 3);",
    );
    test_env
}

const SHOP: &str = "[{ type = 'pg_dump', databases = ['shop'] }]";

/// Expects that `check` and `run` report the pooler, and that the destination stays empty.
fn refused(test_env: &TestEnv, connection: &str, dump: &str) {
    test_env.configure_with_connection(&Job { dump, ..Job::default() }, connection);
    for verb in ["check", "run"] {
        let result: CommandOutput = test_env.longshore(&[verb]);
        assert_ne!(result.code, Some(0), "{verb} by {connection}: {result:?}");
        result.shows("connection pooler").shows("connect directly to the server");
    }
    assert!(files(&test_env.local()).is_empty());
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
fn idle_pgbouncer_is_refused() {
    let test_env = with_policy();
    for (mode, settings) in [("pool_mode = session", "refused"), ("pool_mode = transaction", "ignored")] {
        let bouncer = PgBouncer::start(&test_env.cluster, &lines(mode, settings), &["bk"]);
        refused(&test_env, &bouncer.connection("bk"), SHOP);
        refused(&test_env, &bouncer.connection("bk"), "[{ type = 'pg_dumpall', no_role_passwords = true }]");
        // Other clients' sessions keep their settings.
        let connection = format!("{} dbname=shop", bouncer.connection("bk"));
        let path = std::process::Command::new("psql").args(["-XqAt", &connection, "-c", "show search_path"]).output();
        assert_eq!(String::from_utf8(path.unwrap().stdout).unwrap().trim(), "\"$user\", public");
    }
}

#[test]
fn restore_through_pgbouncer_is_refused() {
    let test_env = with_policy();
    test_env.configure(&Job { dump: SHOP, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let bouncer = PgBouncer::start(&test_env.cluster, &lines("pool_mode = transaction", "ignored"), &["postgres"]);
    let to = format!("{} dbname=again", bouncer.connection("postgres"));
    let result = test_env.run_with_identity(&["restore", "shop", "--create", "--to", &to]);
    assert_ne!(result.code, Some(0), "{result:?}");
    result.shows("connection pooler");
    assert_eq!(test_env.cluster.psql("postgres", "select count(*) from pg_database where datname = 'again'"), "0");
}

#[test]
fn settings_preserving_pool_is_refused() {
    let test_env = with_policy();
    let runtime = Runtime::new().unwrap();
    let pool = runtime.block_on(SessionPool::start(([127, 0, 0, 1], test_env.cluster.port()).into()));
    refused(&test_env, &format!("host=127.0.0.1 port={} user=postgres", pool.address().port()), SHOP);
}

#[test]
fn slow_proxy_is_not_a_pooler() {
    let test_env = with_policy();
    let runtime = Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(([127, 0, 0, 1], test_env.cluster.port()).into()));
    proxy.fault(Direction::Up, Fault::Throttle(20_000));
    let connection = format!("host=127.0.0.1 port={} user=postgres", proxy.address().port());
    test_env.configure_with_connection(&Job { dump: SHOP, ..Job::default() }, &connection);
    test_env.longshore(&["check"]).omits("pooler");
    test_env.longshore(&["run"]).expect(0);
}

#[test]
fn switch_to_a_pooler_fails_the_run() {
    use std::os::unix::fs::PermissionsExt;
    let test_env = with_policy();
    test_env.cluster.psql("postgres", "alter role bk bypassrls;");
    let bouncer = PgBouncer::start(&test_env.cluster, &lines("pool_mode = session", "ignored"), &["bk"]);
    // The service points to the server until pg_dump has ended, then to the pooler.
    let (service, other) = (test_env.path("service.conf"), test_env.path("other.conf"));
    let lines = |connection: &str| format!("[site]\ndbname=postgres\n{}\n", connection.replace(' ', "\n"));
    std::fs::write(
        &service,
        lines(&format!("{} user=bk", test_env.cluster.tcp_connection().replace(" user=postgres", ""))),
    )
    .unwrap();
    std::fs::write(&other, lines(&bouncer.connection("bk"))).unwrap();
    let bin = test_env.make_folder("bin");
    let pg_dump = bin.join("pg_dump");
    let program = test_env.cluster.bin_dir().join("pg_dump");
    let script = format!(
        "#!/bin/sh\n'{}' \"$@\" || exit\n[ \"$1\" = --version ] || cp '{}' '{}'\n",
        program.display(),
        other.display(),
        service.display()
    );
    std::fs::write(&pg_dump, script).unwrap();
    std::fs::set_permissions(&pg_dump, PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(test_env.cluster.bin_dir().join("psql"), bin.join("psql")).unwrap();
    let cluster = format!("bin_dir = '{}'", bin.display());
    test_env.configure_with_connection(&Job { dump: SHOP, cluster: &cluster, ..Job::default() }, "service=site");
    let result = crate::support::finish(test_env.command().arg("run").env("PGSERVICEFILE", &service));
    assert_ne!(result.code, Some(0), "{result:?}");
    result.shows("connection pooler");
    assert!(files(&test_env.local()).is_empty());
}

mod slow {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Sessions that keep a pool busy until this value is dropped.
    struct Load(Child);

    impl Load {
        fn on(test_env: &TestEnv, connection: &str, mode: &str) -> Self {
            let script = test_env.path(&format!("load-{}.sql", mode.len()));
            std::fs::write(&script, "select pg_sleep(0.002);\n").unwrap();
            let mut pgbench = Command::new(test_env.cluster.bin_dir().join("pgbench"));
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
    fn every_pgbouncer_mode_is_refused() {
        let test_env = with_policy();
        for mode in ["session", "transaction", "statement"] {
            for settings in ["refused", "ignored"] {
                let line = format!("pool_mode = {mode}");
                let mut lines = lines(&line, settings);
                lines.extend(["server_round_robin = 1"]);
                let bouncer = PgBouncer::start(&test_env.cluster, &lines, &["bk"]);
                let connection = bouncer.connection("bk");
                refused(&test_env, &connection, SHOP);
                let _load = Load::on(&test_env, &connection, mode);
                // Enough rounds for every order in which the pooler hands out sessions.
                let rounds = if mode == "transaction" { 12 } else { 2 };
                for _ in 0..rounds {
                    refused(&test_env, &connection, SHOP);
                }
            }
        }
    }
}
