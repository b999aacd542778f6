//! A mistake is reported, with a hint, before anything is read.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, TestEnv, files, finish};

#[test]
fn older_pg_dump_is_refused() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::newer(), &[]));
    let old = Installation::system();
    let cluster = format!("bin_dir = '{}'", old.bin_dir.display());
    test_env.configure(&Job { cluster: &cluster, ..Job::default() });
    let result = test_env.longshore(&["run"]).expect(1);
    result.shows("is older than the server").shows(&format!(
        "postgresql-client-{}",
        test_env.cluster.bin_dir().components().rev().nth(1).unwrap().as_os_str().to_str().unwrap()
    ));
    test_env.longshore(&["check"]).expect(2).shows("is older than the server");
    assert_eq!(files(&test_env.local()), [""; 0]);
}

#[test]
fn finds_programs_of_the_server_version() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::newer(), &[]));
    let cluster = format!("bin_dir = '{}'", test_env.cluster.bin_dir().display());
    test_env.configure(&Job { cluster: &cluster, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["verify"]).expect(0);
}

#[test]
fn unknown_config_keys_list_the_known_ones() {
    let test_env = TestEnv::new();
    for (job, unknown, allowed) in [
        (Job { more: "retension = 'x'", ..Job::default() }, "retension", "retention"),
        (Job { dump: "[{ type = 'pg_dump', databses = ['x'] }]", ..Job::default() }, "databses", "databases"),
        (Job { cluster: "conection = 'x'", ..Job::default() }, "conection", "connection"),
        (Job { more: "[retention.x]\nkeep_dayly = 1", ..Job::default() }, "keep_dayly", "keep_daily"),
        (Job { more: "[destinations.x]", ..Job::default() }, "destinations", "destination"),
        (Job { encrypt: Some("{ type = 'age', recipent = 'x' }"), ..Job::default() }, "recipent", "recipients"),
    ] {
        test_env.configure(&job);
        let result = test_env.longshore(&["run"]).expect(1);
        result.shows(&format!("unknown field `{unknown}`")).shows(&format!("`{allowed}`")).shows("config.toml:");
    }
}

#[test]
fn missing_settings_are_requested() {
    let test_env = TestEnv::new();
    for (job, expected) in [
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
        test_env.configure(&job);
        let result = test_env.longshore(&["run"]);
        assert!(matches!(result.code, Some(1 | 2)), "{result:?}");
        result.shows(expected);
        assert_eq!(files(&test_env.local()), [""; 0]);
    }
}

#[test]
fn endless_configuration_is_refused() {
    let mut endless = std::process::Command::new(env!("CARGO_BIN_EXE_longshore"));
    finish(endless.args(["--config", "/dev/zero", "check"])).expect(1).shows("the maximum for a configuration");
}

#[test]
fn zero_stall_timeout_is_refused() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { settings: &[("local", "stall_timeout = '0s'")], ..Job::default() });
    test_env.longshore(&["check"]).expect(1).shows("stall_timeout").shows("60s");
}

#[test]
fn check_reports_server_side_errors() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', lock_wait_timeout = 'soon' }]", ..Job::default() });
    test_env.longshore(&["check"]).expect(2).shows("lock_wait_timeout").shows("such as \"60s\"");
}

#[test]
fn overlong_name_is_a_config_error() {
    let test_env = TestEnv::new();
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    for (section, name, refers) in
        [("job", "nightly", "unused = '"), ("cluster", "main", "cluster = '"), ("destination", "local", "ship = ['")]
    {
        let renamed = |length: usize| {
            let long = "x".repeat(length);
            let config = config.replace(&format!("[{section}.{name}]"), &format!("[{section}.{long}]"));
            config.replace(&format!("{refers}{name}"), &format!("{refers}{long}"))
        };
        std::fs::write(test_env.config_path(), renamed(101)).unwrap();
        test_env.longshore(&["list"]).expect(1).shows("at most 100").shows("config.toml:");
        std::fs::write(test_env.config_path(), renamed(100)).unwrap();
        test_env.longshore(&["run"]).expect(0);
    }
}

#[test]
fn job_without_encryption_must_be_explicit() {
    let test_env = TestEnv::new();
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    let without: Vec<_> = config.lines().filter(|line| !line.starts_with("encrypt")).collect();
    std::fs::write(test_env.config_path(), without.join("\n")).unwrap();
    test_env.longshore(&["run"]).expect(1).shows("has no encrypt").shows("{ type = \"none\" }");
    test_env.configure(&Job { encrypt: Some("{ type = 'none' }"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["verify"]).expect(0).shows("verified: read to its end");
}

#[test]
fn recipient_typo_is_refused_before_dumping() {
    let test_env = TestEnv::new();
    let typo = test_env.recipient().replacen("age1", "age1x", 1);
    let encrypt = format!("{{ type = 'age', recipients = ['{typo}'] }}");
    test_env.configure(&Job { encrypt: Some(&encrypt), ..Job::default() });
    test_env.longshore(&["run"]).expect(1).shows(&typo[..20]);
    assert_eq!(files(&test_env.local()), [""; 0]);
    assert!(!test_env.cluster.log().contains("pg_dump"));
}

#[test]
fn unmounted_root_is_refused() {
    let test_env = TestEnv::new();
    let unmounted = test_env.path("unmounted");
    test_env.configure(&Job { ship: &[("disk", &unmounted)], ..Job::default() });
    test_env.longshore(&["run"]).expect(6).shows("unmounted").shows("hint:");
    assert!(!unmounted.exists());
}

#[test]
fn pattern_without_match_is_reported() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', exclude = ['scratch_*'] }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0).shows("\"scratch_*\" matches no database");
}

#[test]
fn undumpable_named_database_makes_the_run_partial() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['appdb', 'shop'] }]",
        ..Job::default()
    });
    let run = test_env.longshore(&["run"]).expect(3);
    run.shows("dump \"shop\": the server has no such database").shows("the server has: appdb, postgres");
    assert_eq!(test_env.json(&["list", "--json"]).as_array().unwrap().len(), 2, "appdb and the globals");
    test_env.run_with_identity(&["drill"]).expect(3).shows("the run planned 3 backups, of which 2 exist");
    test_env.longshore(&["check"]).expect(2).shows("failed   databases").shows("the server has no such database");

    test_env.cluster.psql("postgres", "create database shop allow_connections false");
    test_env.longshore(&["run"]).expect(3).shows("dump \"shop\": allows no connections");
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(2).shows("dump \"shop\": allows no connections");
}

/// Two jobs may have backups of one database.
#[test]
fn job_chooses_among_backups_of_one_database() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("app");
    let dump = "[{ type = 'pg_dump', databases = ['app'] }]";
    let second =
        format!("[job.second]\ncluster = 'main'\ndump = {dump}\nencrypt = {{ type = 'none' }}\nship = ['local']\n");
    test_env.configure(&Job { dump, more: &second, ..Job::default() });
    test_env.longshore(&["run", "nightly"]).expect(0);
    // Backup names have a resolution of one second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run", "second"]).expect(0);
    let hold = ["hold", "app", "--why", "x"];
    for arguments in [&hold[..], &["inspect", "app"]] {
        test_env.longshore(arguments).expect(1).shows("--job").shows("nightly").shows("second");
    }
    for arguments in [&hold[..], &["unhold", "app"], &["verify", "app"], &["inspect", "app", "--check"]] {
        let arguments = [arguments, &["--job", "second"]].concat();
        test_env.longshore(&arguments).expect(0);
    }
    let verified = test_env.json(&["verify", "app", "--job", "nightly", "--json"]);
    let newest = test_env.json(&["list", "app", "--job", "nightly", "--json"]);
    assert_eq!((verified.as_array().unwrap().len(), &verified[0]["name"]), (1, &newest[0]["name"]));
    let checked = test_env.longshore(&["check"]).expect(0);
    checked.shows("databases of job nightly: ").shows("databases of job second: ");
    test_env.longshore(&["check", "nightly"]).expect(0).omits("databases of job");
}

/// A hint is a command to copy, so it names the configuration that the command used.
#[test]
fn hints_name_the_configuration() {
    let test_env = TestEnv::new();
    let config = test_env.config_path();
    let named = test_env.longshore(&["inspect", "nothing"]).expect(1);
    assert!(named.stderr.contains(&format!("`longshore --config {} list`", config.display())), "{named:?}");
    let odd = test_env.path("my config.toml");
    std::fs::copy(&config, &odd).unwrap();
    let inspect = |command: &mut std::process::Command| finish(command.args(["inspect", "nothing"])).expect(1).stderr;
    let command = || std::process::Command::new(env!("CARGO_BIN_EXE_longshore"));
    let quoted = inspect(command().arg("--config").arg(&odd));
    assert!(quoted.contains(&format!("`longshore --config '{}' list`", odd.display())), "{quoted}");
    // The environment is the same for the next command.
    let default = inspect(command().env("LONGSHORE_CONFIG", &odd));
    assert!(default.contains("`longshore list`"), "{default}");
}
