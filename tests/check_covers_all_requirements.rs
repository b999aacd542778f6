//! `check` covers everything that a run needs: connections, privileges, the scratch location of a
//! drill.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, TestEnv, wait_for};

#[test]
fn check_counts_required_connections() {
    let test_env = TestEnv::new();
    test_env.cluster.psql(
        "postgres",
        "create database d; create database e; create role bk login bypassrls; grant pg_read_all_data to bk;",
    );
    let connection = test_env.cluster.connection().replace("user=postgres", "user=bk");
    let dump = "[{ type = 'pg_dump', databases = ['d', 'e'] }]";
    test_env.configure_with_connection(&Job { dump, more: "parallel = 2", ..Job::default() }, &connection);
    let limit = |limit: u32| test_env.cluster.psql("postgres", &format!("alter role bk connection limit {limit}"));
    // A session that has just ended may still count, and the server then refuses the next one.
    let ends_with = |command: &str, code: i32, text: &str| {
        wait_for("an end without lingering sessions", || {
            let output = test_env.longshore(&[command]);
            let is_shown = output.stdout.contains(text) || output.stderr.contains(text);
            (output.code == Some(code) && is_shown).then_some(output)
        })
    };
    limit(1);
    ends_with("check", 2, "role bk: connection limit 1, but a run needs 2");
    limit(2);
    ends_with("check", 0, "role bk: connection limit 2: 1 of 2 databases are dumped at once");
    ends_with("run", 0, "1 of 2 databases are dumped at once");
    limit(3);
    ends_with("check", 0, "").omits("connection limit");
    ends_with("run", 0, "").omits("connection limit");

    test_env.cluster.psql("postgres", "alter database e connection limit 1");
    test_env
        .longshore(&["check"])
        .expect(2)
        .shows("\"e\": connection limit 1")
        .shows("alter database \"e\" connection limit");
    test_env.cluster.psql("postgres", "alter database e connection limit -1; revoke connect on database e from public");
    test_env.longshore(&["check"]).expect(2).shows("\"e\": role bk has no CONNECT privilege");
    test_env.longshore(&["run"]).expect(3).shows("grant connect on database \"e\" to \"bk\"");
}

#[test]
fn check_reports_missing_drill_requirements() {
    let settings = ["shared_preload_libraries=pg_cron", "cron.database_name=d"];
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::system(), &settings));
    test_env.cluster.create_database("d");
    test_env.cluster.psql("d", "create extension pg_cron");
    let scratch = |settings: &str| format!("[job.nightly.drill]\nscratch = {{ type = 'initdb'{settings} }}");
    test_env.configure(&Job { more: &scratch(""), ..Job::default() });
    let check = test_env.longshore(&["check"]).expect(2);
    check
        .shows("extension pg_cron of \"d\" needs library pg_cron in shared_preload_libraries")
        .shows("\"cron.database_name\" = \"d\"");
    let preloading = ", settings = { shared_preload_libraries = 'pg_cron', 'cron.database_name' = 'd' }";
    test_env.configure(&Job { more: &scratch(preloading), ..Job::default() });
    test_env.longshore(&["check"]).expect(0);
}

#[test]
fn check_reports_a_state_folder_that_cannot_be_written() {
    let test_env = TestEnv::new();
    test_env.configure(&Job::default());
    std::fs::write(test_env.path("state"), "a file").unwrap();
    test_env.longshore(&["check"]).expect(2).shows("state_dir").shows("set state_dir");
}
