//! `check` covers everything that a run needs: connections, privileges, the scratch location of a
//! drill.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, Workshop};

#[test]
fn a_check_counts_the_connections_that_a_run_needs() {
    let workshop = Workshop::new();
    workshop.cluster.psql(
        "postgres",
        "create database d; create database e; create role bk login bypassrls; grant pg_read_all_data to bk;",
    );
    let connection = workshop.cluster.connection().replace("user=postgres", "user=bk");
    let dump = "[{ type = 'pg_dump', databases = ['d', 'e'] }]";
    workshop.configure_with_connection(&Job { dump, more: "parallel = 2", ..Job::default() }, &connection);
    let limit = |limit: u32| workshop.cluster.psql("postgres", &format!("alter role bk connection limit {limit}"));
    limit(1);
    workshop.longshore(&["check"]).expect(2).says("role bk: connection limit 1, but a run needs 2");
    limit(2);
    workshop.longshore(&["check"]).expect(0).says("role bk: connection limit 2: 1 of 2 databases are dumped at once");
    workshop.longshore(&["run"]).expect(0).says("1 of 2 databases are dumped at once");
    limit(3);
    workshop.longshore(&["check"]).expect(0).keeps_quiet_about("connection limit");
    workshop.longshore(&["run"]).expect(0).keeps_quiet_about("connection limit");

    workshop.cluster.psql("postgres", "alter database e connection limit 1");
    workshop
        .longshore(&["check"])
        .expect(2)
        .says("\"e\": connection limit 1")
        .says("alter database \"e\" connection limit");
    workshop.cluster.psql("postgres", "alter database e connection limit -1; revoke connect on database e from public");
    workshop.longshore(&["check"]).expect(2).says("\"e\": role bk has no CONNECT privilege");
    workshop.longshore(&["run"]).expect(3).says("grant connect on database \"e\" to \"bk\"");
}

#[test]
fn a_check_names_what_the_place_of_a_drill_lacks() {
    let settings = ["shared_preload_libraries=pg_cron", "cron.database_name=d"];
    let workshop = Workshop::with_cluster(Cluster::start(&Installation::system(), &settings));
    workshop.cluster.create_database("d");
    workshop.cluster.psql("d", "create extension pg_cron");
    let scratch = |settings: &str| format!("[job.nightly.drill]\nscratch = {{ type = 'initdb'{settings} }}");
    workshop.configure(&Job { more: &scratch(""), ..Job::default() });
    let check = workshop.longshore(&["check"]).expect(2);
    check
        .says("extension pg_cron of \"d\" needs library pg_cron in shared_preload_libraries")
        .says("\"cron.database_name\" = \"d\"");
    let preloading = ", settings = { shared_preload_libraries = 'pg_cron', 'cron.database_name' = 'd' }";
    workshop.configure(&Job { more: &scratch(preloading), ..Job::default() });
    workshop.longshore(&["check"]).expect(0);
}
