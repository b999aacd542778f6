//! Longshore never overwrites a file, and private files are readable by their owner only.

use std::os::unix::fs::PermissionsExt;

use longshore_testkit::sample::ODD_NAME;

use crate::support::{Workshop, files, finish};

#[test]
fn runs_within_one_second_make_two_backups() {
    let workshop = Workshop::new();
    for _ in 0..3 {
        workshop.longshore(&["run"]).expect(0);
    }
    assert_eq!(workshop.json(&["list", "globals", "--json"]).as_array().unwrap().len(), 3);
}

#[test]
fn files_are_their_owners_alone() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    for file in files(&workshop.local()) {
        let path = workshop.local().join(file);
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600, "{path:?}");
        assert_eq!(mode(path.parent().unwrap()), 0o700, "{path:?}");
    }
}

#[test]
fn init_leads_to_a_first_run_and_overwrites_nothing() {
    let workshop = Workshop::new();
    let folder = workshop.path("etc");
    let (config, destination) = (folder.join("config.toml"), workshop.path("backups"));
    let longshore = |arguments: &[&str]| {
        let mut command = workshop.command();
        finish(command.args(arguments).arg("--config").arg(&config))
    };
    let connection = workshop.cluster.connection();
    let init = ["init", "--connection", &connection, "--destination", destination.to_str().unwrap()];
    longshore(&init).expect(0).says("identity.txt").says("PostgreSQL").keeps_quiet_about("AGE-SECRET-KEY");
    let identity = folder.join("identity.txt");
    for private in [&config, &identity] {
        assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (written, key) = (std::fs::read(&config).unwrap(), std::fs::read(&identity).unwrap());
    longshore(&init).expect(6).says("already exists");
    std::fs::rename(&config, folder.join("moved.toml")).unwrap();
    longshore(&init).expect(6).says("identity.txt");
    std::fs::rename(folder.join("moved.toml"), &config).unwrap();
    assert_eq!((std::fs::read(&config).unwrap(), std::fs::read(&identity).unwrap()), (written, key));

    longshore(&["check", "--identity", identity.to_str().unwrap()]).expect(0);
    longshore(&["run", "nightly"]).expect(0);
    longshore(&["verify", "--all", "--identity", identity.to_str().unwrap()]).expect(0).says("verified: ");
}

#[test]
fn init_takes_no_recipient_that_seals_nothing_and_names_no_identity_that_it_has_not_made() {
    let workshop = Workshop::new();
    let (config, destination) = (workshop.path("etc/config.toml"), workshop.path("backups"));
    let connection = workshop.cluster.connection();
    let longshore = |recipient: &str| {
        let init = ["init", "--connection", &connection, "--destination", destination.to_str().unwrap()];
        finish(workshop.command().args(init).args(["--recipient", recipient, "--config"]).arg(&config))
    };
    longshore("age1typo").expect(1).says("age1typo");
    assert!(!config.exists() && !destination.exists());
    std::fs::create_dir(workshop.path("etc")).unwrap();
    std::fs::write(workshop.path("etc/identity.txt"), "another program's file").unwrap();
    longshore(workshop.recipient()).expect(0).keeps_quiet_about("identity");
}

/// cron does not provide the variables of a login environment.
#[test]
fn init_writes_down_what_the_environment_says() {
    let workshop = Workshop::new();
    let (config, destination) = (workshop.path("etc/config.toml"), workshop.path("backups"));
    let mut init = workshop.command();
    for keyword in workshop.cluster.connection().split(' ') {
        let (keyword, value) = keyword.split_once('=').unwrap();
        init.env(format!("PG{}", keyword.to_uppercase()), value);
    }
    init.env("PGPASSWORD", "never-written").args(["init", "--destination", destination.to_str().unwrap()]);
    let ended = finish(init.arg("--config").arg(&config)).expect(0);
    ended.says("choose another with --connection").keeps_quiet_about("never-written");
    assert!(!std::fs::read_to_string(&config).unwrap().contains("never-written"));
    finish(workshop.command().args(["run", "--config"]).arg(&config)).expect(0);
}

#[test]
fn a_databases_name_cannot_break_the_configuration_that_init_writes() {
    let workshop = Workshop::new();
    for name in [ODD_NAME, "{connection}", "x\n[job.evil]"] {
        workshop.cluster.create_database(name);
    }
    let (config, destination) = (workshop.path("etc/config.toml"), workshop.path("backups"));
    let longshore = |arguments: &[&str]| {
        let mut command = workshop.command();
        finish(command.args(arguments).arg("--config").arg(&config))
    };
    let connection = workshop.cluster.connection();
    let init = ["init", "--connection", &connection, "--destination", destination.to_str().unwrap()];
    longshore(&init).expect(0).says("\"x\\n[job.evil]\"");
    let written = std::fs::read_to_string(&config).unwrap();
    let comment = written.lines().find(|line| line.starts_with("# PostgreSQL")).unwrap();
    for shown in [longshore_core::error::printable(ODD_NAME).as_str(), "{connection}", "x\\n[job.evil]"] {
        assert!(comment.contains(&format!("\"{shown}\"")), "{comment}");
    }
    longshore(&["check"]).expect(0);
}

#[test]
fn init_writes_every_destination_that_is_asked_for() {
    let workshop = Workshop::new();
    let (config, backups) = (workshop.path("etc/config.toml"), workshop.path("backups").display().to_string());
    let connection = workshop.cluster.connection();
    let init = ["init", "--connection", &connection, "--destination", &backups];
    let ship = ["--ship", "ssh://backup@backup1.example.net/srv/backups", "--ship", "s3://acme/postgresql"];
    let ended = finish(workshop.command().args(init).args(ship).arg("--config").arg(&config)).expect(0);
    ended.says("ssh://backup@backup1.example.net/srv/backups").says("s3://acme/postgresql");
    let written = std::fs::read_to_string(&config).unwrap();
    let read: toml::Table = written.parse().unwrap();
    let destinations = read["destination"].as_table().unwrap();
    assert_eq!(destinations.keys().collect::<Vec<_>>(), ["local", "s3", "ssh"]);
    assert_eq!(destinations["ssh"]["host"].as_str(), Some("backup@backup1.example.net"));
    assert!(written.contains("# secret_access_key_file = "), "{written}");
    let ship: Vec<_> = read["job"]["nightly"]["ship"].as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    assert_eq!(ship, ["local", "ssh", "s3"]);
    finish(
        workshop
            .command()
            .args(["retention", "simulate", "--policy", "standard", "--every", "1d", "--for", "9d"])
            .arg("--config")
            .arg(&config),
    )
    .expect(0);
    let mut again = workshop.command();
    let refused = ["--ship", "ftp://host/x", "--config"];
    finish(again.args(init).args(refused).arg(workshop.path("other/config.toml"))).expect(1).says("ssh://USER@HOST");
}
