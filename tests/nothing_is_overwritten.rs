//! Longshore never overwrites a file, and private files are readable by their owner only.

use std::os::unix::fs::PermissionsExt;

use longshore_testkit::sample::ODD_NAME;

use crate::support::{TestEnv, files, finish};

#[test]
fn runs_within_one_second_make_two_backups() {
    let test_env = TestEnv::new();
    for _ in 0..3 {
        test_env.longshore(&["run"]).expect(0);
    }
    assert_eq!(test_env.json(&["list", "globals", "--json"]).as_array().unwrap().len(), 3);
}

#[test]
fn files_are_private() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    for file in files(&test_env.local()) {
        let path = test_env.local().join(file);
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600, "{path:?}");
        assert_eq!(mode(path.parent().unwrap()), 0o700, "{path:?}");
    }
}

#[test]
fn init_enables_a_first_run_and_overwrites_nothing() {
    let test_env = TestEnv::new();
    let folder = test_env.path("etc");
    let (config, destination) = (folder.join("config.toml"), test_env.path("backups"));
    let longshore = |arguments: &[&str]| {
        let mut command = test_env.command();
        finish(command.args(arguments).arg("--config").arg(&config))
    };
    let connection = test_env.cluster.connection();
    let init = ["init", "--connection", &connection, "--destination", destination.to_str().unwrap()];
    longshore(&init).expect(0).shows("identity.txt").shows("PostgreSQL").omits("AGE-SECRET-KEY");
    let identity = folder.join("identity.txt");
    for private in [&config, &identity] {
        assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (written, key) = (std::fs::read(&config).unwrap(), std::fs::read(&identity).unwrap());
    longshore(&init).expect(6).shows("already exists");
    std::fs::rename(&config, folder.join("moved.toml")).unwrap();
    longshore(&init).expect(6).shows("identity.txt");
    std::fs::rename(folder.join("moved.toml"), &config).unwrap();
    assert_eq!((std::fs::read(&config).unwrap(), std::fs::read(&identity).unwrap()), (written, key));

    longshore(&["check", "--identity", identity.to_str().unwrap()]).expect(0);
    longshore(&["run", "nightly"]).expect(0);
    longshore(&["verify", "--all", "--identity", identity.to_str().unwrap()]).expect(0).shows("verified: ");
}

#[test]
fn init_refuses_bad_recipients_and_foreign_identities() {
    let test_env = TestEnv::new();
    let (config, destination) = (test_env.path("etc/config.toml"), test_env.path("backups"));
    let connection = test_env.cluster.connection();
    let longshore = |recipient: &str| {
        let init = ["init", "--connection", &connection, "--destination", destination.to_str().unwrap()];
        finish(test_env.command().args(init).args(["--recipient", recipient, "--config"]).arg(&config))
    };
    longshore("age1typo").expect(1).shows("age1typo");
    assert!(!config.exists() && !destination.exists());
    std::fs::create_dir(test_env.path("etc")).unwrap();
    std::fs::write(test_env.path("etc/identity.txt"), "another program's file").unwrap();
    longshore(test_env.recipient()).expect(0).omits("identity");
}

/// cron does not provide the variables of a login environment.
#[test]
fn init_records_libpq_variables() {
    let test_env = TestEnv::new();
    let (config, destination) = (test_env.path("etc/config.toml"), test_env.path("backups"));
    let mut init = test_env.command();
    for keyword in test_env.cluster.connection().split(' ') {
        let (keyword, value) = keyword.split_once('=').unwrap();
        init.env(format!("PG{}", keyword.to_uppercase()), value);
    }
    init.env("PGPASSWORD", "never-written").args(["init", "--destination", destination.to_str().unwrap()]);
    let result = finish(init.arg("--config").arg(&config)).expect(0);
    result.shows("choose another with --connection").omits("never-written");
    assert!(!std::fs::read_to_string(&config).unwrap().contains("never-written"));
    finish(test_env.command().args(["run", "--config"]).arg(&config)).expect(0);
}

#[test]
fn init_escapes_database_names() {
    let test_env = TestEnv::new();
    for name in [ODD_NAME, "{connection}", "x\n[job.evil]"] {
        test_env.cluster.create_database(name);
    }
    let (config, destination) = (test_env.path("etc/config.toml"), test_env.path("backups"));
    let longshore = |arguments: &[&str]| {
        let mut command = test_env.command();
        finish(command.args(arguments).arg("--config").arg(&config))
    };
    let connection = test_env.cluster.connection();
    let init = ["init", "--connection", &connection, "--destination", destination.to_str().unwrap()];
    longshore(&init).expect(0).shows("\"x\\n[job.evil]\"");
    let written = std::fs::read_to_string(&config).unwrap();
    let comment = written.lines().find(|line| line.starts_with("# PostgreSQL")).unwrap();
    for shown in [longshore_core::error::printable(ODD_NAME).as_str(), "{connection}", "x\\n[job.evil]"] {
        assert!(comment.contains(&format!("\"{shown}\"")), "{comment}");
    }
    longshore(&["check"]).expect(0);
}

#[test]
fn init_writes_every_requested_destination() {
    let test_env = TestEnv::new();
    let (config, backups) = (test_env.path("etc/config.toml"), test_env.path("backups").display().to_string());
    let connection = test_env.cluster.connection();
    let init = ["init", "--connection", &connection, "--destination", &backups];
    let ship = ["--ship", "ssh://backup@backup1.example.net/srv/backups", "--ship", "s3://acme/postgresql"];
    let result = finish(test_env.command().args(init).args(ship).arg("--config").arg(&config)).expect(0);
    result.shows("ssh://backup@backup1.example.net/srv/backups").shows("s3://acme/postgresql");
    let written = std::fs::read_to_string(&config).unwrap();
    let read: toml::Table = written.parse().unwrap();
    let destinations = read["destination"].as_table().unwrap();
    assert_eq!(destinations.keys().collect::<Vec<_>>(), ["local", "s3", "ssh"]);
    assert_eq!(destinations["ssh"]["host"].as_str(), Some("backup@backup1.example.net"));
    assert!(written.contains("# secret_access_key_file = "), "{written}");
    let ship: Vec<_> = read["job"]["nightly"]["ship"].as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    assert_eq!(ship, ["local", "ssh", "s3"]);
    finish(
        test_env
            .command()
            .args(["retention", "simulate", "--policy", "standard", "--every", "1d", "--for", "9d"])
            .arg("--config")
            .arg(&config),
    )
    .expect(0);
    let mut again = test_env.command();
    let refused = ["--ship", "ftp://host/x", "--config"];
    finish(again.args(init).args(refused).arg(test_env.path("other/config.toml"))).expect(1).shows("ssh://USER@HOST");
}
