//! A mistake is reported, with a hint, before anything is read.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, Workshop, files, finish};

#[test]
fn an_older_pg_dump_is_refused() {
    let workshop = Workshop::with_cluster(Cluster::start(&Installation::newer(), &[]));
    let old = Installation::system();
    let cluster = format!("bin_dir = '{}'", old.bin_dir.display());
    workshop.configure(&Job { cluster: &cluster, ..Job::default() });
    let ended = workshop.longshore(&["run"]).expect(1);
    ended.says("is older than the server").says(&format!(
        "postgresql-client-{}",
        workshop.cluster.bin_dir().components().rev().nth(1).unwrap().as_os_str().to_str().unwrap()
    ));
    workshop.longshore(&["check"]).expect(2).says("is older than the server");
    assert_eq!(files(&workshop.local()), [""; 0]);
}

#[test]
fn the_tools_of_the_servers_own_version_are_found() {
    let workshop = Workshop::with_cluster(Cluster::start(&Installation::newer(), &[]));
    let cluster = format!("bin_dir = '{}'", workshop.cluster.bin_dir().display());
    workshop.configure(&Job { cluster: &cluster, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["verify"]).expect(0);
}

#[test]
fn unknown_config_keys_are_refused_with_the_allowed_ones() {
    let workshop = Workshop::new();
    for (job, unknown, allowed) in [
        (Job { more: "retension = 'x'", ..Job::default() }, "retension", "retention"),
        (Job { dump: "[{ type = 'pg_dump', databses = ['x'] }]", ..Job::default() }, "databses", "databases"),
        (Job { cluster: "conection = 'x'", ..Job::default() }, "conection", "connection"),
        (Job { more: "[retention.x]\nkeep_dayly = 1", ..Job::default() }, "keep_dayly", "keep_daily"),
        (Job { more: "[destinations.x]", ..Job::default() }, "destinations", "destination"),
        (Job { encrypt: Some("{ type = 'age', recipent = 'x' }"), ..Job::default() }, "recipent", "recipients"),
    ] {
        workshop.configure(&job);
        let ended = workshop.longshore(&["run"]).expect(1);
        ended.says(&format!("unknown field `{unknown}`")).says(&format!("`{allowed}`")).says("config.toml:");
    }
}

#[test]
fn what_the_configuration_leaves_open_is_asked_for() {
    let workshop = Workshop::new();
    for (job, says) in [
        (Job { dump: "[]", ..Job::default() }, "dumps nothing"),
        (Job { dump: "[{ type = 'mysqldump' }]", ..Job::default() }, "\"pg_dump\", \"pg_dumpall\""),
        (Job { more: "retention = 'x'", ..Job::default() }, "no retention \"x\""),
        (Job { more: "retention = { keep_last = 3 }", ..Job::default() }, "write a policy's name"),
        (Job { more: "compression = { level = true }", ..Job::default() }, "a level's number or \"auto\""),
        (Job { encrypt: Some("{ type = 'age', recipients = [] }"), ..Job::default() }, "recipient"),
        (Job { dump: "[{ type = 'pg_dump', extra_args = ['--file=x'] }]", ..Job::default() }, "--file"),
        (Job { dump: "[{ type = 'pg_dump', extra_args = ['-C'] }]", ..Job::default() }, "--create"),
        (Job { dump: "[{ type = 'pg_dumpall', extra_args = ['--clean'] }]", ..Job::default() }, "--clean"),
        (Job { dump: "[{ type = 'pg_dumpall', extra_args = ['-ELATIN1'] }]", ..Job::default() }, "--encoding"),
        (Job { dump: "[{ type = 'pg_dump', lock_wait_timeout = 'soon' }]", ..Job::default() }, "is not a duration"),
        (Job { dump: "[{ type = 'pg_dumpall', lock_wait_timeout = 'soon' }]", ..Job::default() }, "is not a duration"),
        (Job { dump: "[{ type = 'pg_dump', format = 'directory' }]", ..Job::default() }, "scratch_dir"),
        (Job { dump: "[{ type = 'pg_dump' }, { type = 'pg_dump' }]", ..Job::default() }, "two entries of dump"),
        (Job { dump: "[{ type = 'pg_dump', databases = ['nothing_*'] }]", ..Job::default() }, "nothing_*"),
    ] {
        workshop.configure(&job);
        let ended = workshop.longshore(&["run"]);
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
        ended.says(says);
        assert_eq!(files(&workshop.local()), [""; 0]);
    }
}

#[test]
fn a_configuration_without_an_end_is_refused() {
    let mut endless = std::process::Command::new(env!("CARGO_BIN_EXE_longshore"));
    finish(endless.args(["--config", "/dev/zero", "check"])).expect(1).says("the maximum for a configuration");
}

#[test]
fn a_destination_without_any_patience_is_refused() {
    let workshop = Workshop::new();
    workshop.configure(&Job { terms: &[("local", "stall_timeout = '0s'")], ..Job::default() });
    workshop.longshore(&["check"]).expect(1).says("stall_timeout").says("60s");
}

#[test]
fn check_says_what_only_the_server_would_refuse() {
    let workshop = Workshop::new();
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', lock_wait_timeout = 'soon' }]", ..Job::default() });
    workshop.longshore(&["check"]).expect(2).says("lock_wait_timeout").says("such as \"60s\"");
}

#[test]
fn a_name_of_absurd_length_is_a_mistake() {
    let workshop = Workshop::new();
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    for (section, name, refers) in
        [("job", "nightly", "unused = '"), ("cluster", "main", "cluster = '"), ("destination", "local", "ship = ['")]
    {
        let renamed = |length: usize| {
            let long = "x".repeat(length);
            let config = config.replace(&format!("[{section}.{name}]"), &format!("[{section}.{long}]"));
            config.replace(&format!("{refers}{name}"), &format!("{refers}{long}"))
        };
        std::fs::write(workshop.config_path(), renamed(101)).unwrap();
        workshop.longshore(&["list"]).expect(1).says("at most 100").says("config.toml:");
        std::fs::write(workshop.config_path(), renamed(100)).unwrap();
        workshop.longshore(&["run"]).expect(0);
    }
}

#[test]
fn a_job_without_sealing_must_say_so_aloud() {
    let workshop = Workshop::new();
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    let without: Vec<_> = config.lines().filter(|line| !line.starts_with("encrypt")).collect();
    std::fs::write(workshop.config_path(), without.join("\n")).unwrap();
    workshop.longshore(&["run"]).expect(1).says("has no encrypt").says("{ type = \"none\" }");
    workshop.configure(&Job { encrypt: Some("{ type = 'none' }"), ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["verify"]).expect(0).says("verified: read to its end");
}

#[test]
fn a_recipients_typo_is_refused_before_dumping() {
    let workshop = Workshop::new();
    let typo = workshop.recipient().replacen("age1", "age1x", 1);
    let encrypt = format!("{{ type = 'age', recipients = ['{typo}'] }}");
    workshop.configure(&Job { encrypt: Some(&encrypt), ..Job::default() });
    workshop.longshore(&["run"]).expect(1).says(&typo[..20]);
    assert_eq!(files(&workshop.local()), [""; 0]);
    assert!(!workshop.cluster.log().contains("pg_dump"));
}

#[test]
fn an_unmounted_root_is_refused() {
    let workshop = Workshop::new();
    let unmounted = workshop.path("unmounted");
    workshop.configure(&Job { ship: &[("disk", &unmounted)], ..Job::default() });
    workshop.longshore(&["run"]).expect(6).says("unmounted").says("hint:");
    assert!(!unmounted.exists());
}

#[test]
fn a_pattern_that_matches_nothing_is_said() {
    let workshop = Workshop::new();
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', exclude = ['scratch_*'] }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0).says("\"scratch_*\" matches no database");
}

#[test]
fn a_named_database_that_cannot_be_dumped_makes_the_run_partial() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['appdb', 'shop'] }]",
        ..Job::default()
    });
    let run = workshop.longshore(&["run"]).expect(3);
    run.says("dump \"shop\": the server has no such database").says("the server has: appdb, postgres");
    assert_eq!(workshop.json(&["list", "--json"]).as_array().unwrap().len(), 2, "appdb and the globals");
    workshop.opening(&["drill"]).expect(3).says("the run planned 3 backups, of which 2 exist");
    workshop.longshore(&["check"]).expect(2).says("FAILED   databases").says("the server has no such database");

    workshop.cluster.psql("postgres", "create database shop allow_connections false");
    workshop.longshore(&["run"]).expect(3).says("dump \"shop\": allows no connections");
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(2).says("dump \"shop\": allows no connections");
}
