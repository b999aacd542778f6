//! A drill's server reaches no other server, and starts nothing by itself: no scheduler,
//! subscription, foreign server or trigger.

use std::fs;
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::Value;

use crate::drills_restore_and_compare::{path_with, scratch_dir};
use crate::support::{Job, TestEnv, finish};

/// A function that returns whether a connection string reaches a server.
const REACH: &str = "create extension dblink; create extension postgres_fdw;
    create function reach(target text) returns text language plpgsql as $$
    begin
      perform public.dblink_connect('probe', target);
      perform public.dblink_disconnect('probe');
      return 'reached';
    exception when others then return 'out of reach';
    end $$;";

/// Objects that would act in the drill's cluster and leave a trace in a table.
const ACTING: &str = "create table audit (what text); insert into audit values ('by hand');
    create function note() returns event_trigger language plpgsql as
      $$ begin insert into public.audit values ('by itself'); end $$;
    create function count_up() returns trigger language plpgsql as
      $$ begin insert into public.audit values ('a row'); return new; end $$;
    create table orders (n int primary key); insert into orders select generate_series(1, 10);
    create trigger counting after insert on orders for each row execute function count_up();
    create materialized view totals as select count(*) from orders;
    create event trigger noting on ddl_command_end execute function note();";

/// Returns the configuration table of a query and its expected answer.
fn query_table(sql: &str, answer: &str) -> String {
    format!("[[job.nightly.drill.query]]\ndatabase = 'shop'\nsql = \"{sql}\"\nanswer = '{answer}'\n")
}

/// Returns the connection strings of a cluster: by TCP, and by its socket folder.
fn connections(cluster: &Cluster) -> [String; 2] {
    [cluster.tcp_connection(), cluster.connection()].map(|way| format!("{way} dbname=shop connect_timeout=5"))
}

/// Returns an environment whose source contains all these objects, and its drill queries.
fn acting(installation: &Installation) -> (TestEnv, String) {
    let test_env = TestEnv::with_cluster(Cluster::start(installation, &[]));
    let source = &test_env.cluster;
    source.create_database("shop");
    source.psql("shop", REACH);
    source.psql("shop", ACTING);
    let [tcp, socket] = connections(source);
    source.psql(
        "shop",
        &format!("create materialized view ways as select reach('{tcp}') tcp, reach('{socket}') socket;"),
    );
    assert_eq!(source.psql("shop", "select * from ways"), "reached|reached", "the connections reach the source");
    source.psql(
        "shop",
        &format!(
            "create server far foreign data wrapper postgres_fdw options (host '127.0.0.1', port '{}', dbname 'shop');
             create user mapping for postgres server far options (user 'postgres', password 'sesame');
             create subscription following connection '{tcp}' publication news with (connect = false, slot_name = 'none');
             alter table audit owner to postgres; delete from audit where what <> 'by hand';",
            source.port()
        ),
    );
    let questions = [
        query_table("select tcp || ', ' || socket from ways", "out of reach, out of reach"),
        query_table(&format!("select reach('{tcp}')"), "out of reach"),
        query_table(&format!("select reach('{socket}')"), "out of reach"),
        query_table("select count(*) from audit", "1"),
        query_table("select count(*) from pg_stat_activity where backend_type ~ 'cron|replication'", "0"),
        query_table("select count(*) from pg_foreign_server, pg_subscription, pg_event_trigger", "1"),
    ];
    (test_env, questions.concat())
}

/// Drills the usual job, and returns the report.
fn drilled(test_env: &TestEnv, installation: &Installation) -> Value {
    let scratch = scratch_dir();
    let mut drill = test_env.command();
    drill.env("PATH", path_with(installation)).args(["drill", "--json", "--scratch-dir"]).arg(scratch.path());
    let result = finish(drill.arg("--identity").arg(test_env.identity())).expect(0);
    serde_json::from_str(&result.stdout).unwrap()
}

/// Returns the record of database `shop`.
fn of_shop(report: &Value) -> &Value {
    let drills = report["drills"].as_array().unwrap();
    drills.iter().find(|drill| drill["backup"].as_str().unwrap().contains("/shop/")).unwrap()
}

#[test]
fn restored_database_has_no_side_effects() {
    let installation = Installation::system();
    let (test_env, questions) = acting(&installation);
    test_env.configure(&Job { more: &format!("[job.nightly.drill]\n{questions}"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let report = drilled(&test_env, &installation);
    let drill = of_shop(&report);
    assert_eq!(drill["verdict"], "good", "{drill:#}");
    assert_eq!(drill["answers"].as_array().unwrap().len(), 6, "{drill:#}");
    assert!(drill["scratch"].as_str().unwrap().contains("in namespaces of its own"), "{drill:#}");
    assert_eq!(report["warnings"].as_array().unwrap().len(), 0, "{report:#}");
}

#[test]
fn scheduler_starts_no_job() {
    let installation = Installation::system();
    let preload = ["shared_preload_libraries=pg_cron", "cron.database_name=shop"];
    let test_env = TestEnv::with_cluster(Cluster::start(&installation, &preload));
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create extension pg_cron; select cron.schedule('each', '* * * * *', 'select 1');");
    let more = format!(
        "[job.nightly.drill]\nscratch = {{ type = 'initdb', settings = {{ shared_preload_libraries = 'pg_cron', \
         'cron.database_name' = 'shop', max_worker_processes = '8' }} }}\n{}{}",
        query_table("select count(*) from cron.job where active", "1"),
        query_table("select count(*) from pg_stat_activity where backend_type ~ 'cron'", "0"),
    );
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let report = drilled(&test_env, &installation);
    let answers = of_shop(&report)["answers"].as_array().unwrap().clone();
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer["good"] == true), "{report:#}");
    assert!(report["warnings"].to_string().contains("max_worker_processes of scratch is"), "{report:#}");
}

#[test]
fn unprivileged_user_drills_in_isolation() {
    let installation = Installation::system();
    let (test_env, questions) = acting(&installation);
    test_env.configure(&Job { more: &format!("[job.nightly.drill]\n{questions}"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    if !rustix::process::geteuid().is_root() {
        assert_eq!(of_shop(&drilled(&test_env, &installation))["verdict"], "good");
        return;
    }
    // The checkout may be in a folder that only root can enter.
    let binary = test_env.path("longshore");
    fs::copy(env!("CARGO_BIN_EXE_longshore"), &binary).unwrap();
    let folder = test_env.path("");
    assert!(Command::new("chown").args(["-R", "postgres"]).arg(&folder).status().unwrap().success());
    let mut drill = Command::new("setpriv");
    drill.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(&binary);
    drill.env("HOME", &folder).arg("--config").arg(test_env.config_path());
    drill.args(["drill", "--json", "--scratch-dir"]).arg(test_env.make_folder("scratch"));
    assert!(Command::new("chown").args(["-R", "postgres"]).arg(&folder).status().unwrap().success());
    let result = finish(drill.arg("--identity").arg(test_env.identity())).expect(0);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    let drill = of_shop(&report);
    assert_eq!(drill["verdict"], "good", "{drill:#}");
    assert!(drill["scratch"].as_str().unwrap().contains("in namespaces of its own"), "{drill:#}");
}

#[test]
fn drill_without_isolation_warns_or_fails() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    let none = "[job.nightly.drill]\nscratch = { type = 'initdb', isolation = 'none' }";
    let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
    test_env.configure(&Job { dump, more: none, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let scratch = scratch_dir();
    let scratch_dir = scratch.path().to_str().unwrap();
    let drill = ["drill", "--scratch-dir", scratch_dir];
    test_env.run_with_identity(&drill).expect(0).shows("warning: the drill's server is not isolated");
    test_env.longshore(&["check"]).shows("not isolated: isolation = \"none\"");
    // An existing server cannot be isolated, so objects that connect on their own are refused.
    let source = &test_env.cluster;
    source.psql("shop", "create extension postgres_fdw; create server far foreign data wrapper postgres_fdw;");
    source.psql(
        "shop",
        "create function few(n int) returns bool language sql immutable as 'select n < 9';
         create table counted (n int check (few(n)));
         create subscription \"Fol low\" connection 'host=127.0.0.1 port=1' publication p
           with (connect = false, slot_name = 'kept');",
    );
    let server = Cluster::start(&Installation::system(), &[]);
    for (isolation, code) in [("", 6), (", isolation = 'none'", 0)] {
        let connection = server.connection();
        let more =
            format!("[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{connection}'{isolation} }}");
        test_env.configure(&Job { dump, more: &more, ..Job::default() });
        std::thread::sleep(std::time::Duration::from_millis(1100));
        test_env.longshore(&["run"]).expect(0);
        test_env.run_with_identity(&["drill"]).expect(code).shows("foreign servers \"far\"");
        let left = "select count(*) from pg_database where datname like 'longshore%'";
        assert_eq!(server.psql("postgres", left), "0", "a subscription kept a database");
    }
}

mod slow {
    use super::*;

    /// A trigger that records each login.
    const LOGINS: &str = "create table logins (at timestamptz default now());
        create function welcome() returns event_trigger language plpgsql as
          $$ begin insert into public.logins default values; end $$;
        create event trigger welcoming on login execute function welcome();
        alter event trigger welcoming enable always;";

    #[test]
    fn no_trigger_fires_in_any_release() {
        for major in [16, 17, 18] {
            let installation = Installation::of_major(major);
            let test_env = TestEnv::with_cluster(Cluster::start(&installation, &[]));
            let source = &test_env.cluster;
            source.create_database("shop");
            source.psql("shop", ACTING);
            let [tcp, _] = connections(source);
            source.psql(
                "shop",
                &format!(
                    "create subscription following connection '{tcp}' publication news
                       with (connect = false, slot_name = 'none');
                     delete from audit where what <> 'by hand';"
                ),
            );
            if major >= 17 {
                source.psql("shop", LOGINS);
                source.psql("shop", "delete from audit where what <> 'by hand'");
            }
            let questions = [
                query_table("select count(*) from audit", "1"),
                query_table("select count(*) from pg_stat_activity where backend_type ~ 'replication'", "0"),
            ];
            let bin_dir = format!("bin_dir = '{}'", installation.bin_dir.display());
            let more = format!("[job.nightly.drill]\n{}", questions.concat());
            test_env.configure(&Job { cluster: &bin_dir, more: &more, ..Job::default() });
            test_env.longshore(&["run"]).expect(0);
            let report = drilled(&test_env, &installation);
            assert_eq!(of_shop(&report)["verdict"], "good", "{major}: {report:#}");
        }
    }

    #[test]
    fn cron_job_runs_only_in_the_source() {
        let installation = Installation::system();
        let preload = ["shared_preload_libraries=pg_cron", "cron.database_name=shop", "cron.host=127.0.0.1"];
        let test_env = TestEnv::with_cluster(Cluster::start(&installation, &preload));
        let source = &test_env.cluster;
        source.create_database("shop");
        source.psql(
            "shop",
            "create extension pg_cron; create table hit (at timestamptz default now());
             select cron.schedule('each', '* * * * *', 'insert into hit default values');",
        );
        let more = format!(
            "[job.nightly.drill]\nscratch = {{ type = 'initdb', settings = {{ shared_preload_libraries = 'pg_cron', \
             'cron.database_name' = 'shop', 'cron.host' = '127.0.0.1' }} }}\n{}",
            query_table("select count(*) >= 0 from pg_sleep(130)", "t"),
        );
        let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
        test_env.configure(&Job { dump, more: &more, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        drilled(&test_env, &installation);
        let runs = "select count(*) from hit group by date_trunc('minute', at) order by 1 desc limit 1";
        assert_eq!(source.psql("shop", runs), "1");
    }
}
