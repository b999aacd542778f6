//! `longshore config` checks a configuration without touching anything, and prints its JSON Schema.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{CommandOutput, Job, TestEnv, files, finish};

/// Runs Longshore without a configuration.
fn longshore(arguments: &[&str]) -> CommandOutput {
    finish(Command::new(env!("CARGO_BIN_EXE_longshore")).args(arguments))
}

fn config(arguments: &[&str]) -> CommandOutput {
    longshore(&[&["config"], arguments].concat())
}

#[test]
fn file_is_checked_before_its_keys_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.toml");
    let text = "[cluster.main]
        connection = 'host=db.invalid'
        [destination.disk]
        type = 'local'
        path = '/nonexistent/backups'
        [destination.offsite]
        type = 's3'
        bucket = 'acme'
        secret_access_key_file = '/nonexistent/key'
        [job.nightly]
        cluster = 'main'
        dump = [{ type = 'pg_dump' }]
        encrypt = { type = 'age', recipients_file = '/nonexistent/recipients' }
        ship = ['disk', 'offsite']
    ";
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let result = config(&["check", file]).expect(0);
    assert_eq!(result.stdout, format!("{file} is valid: 1 job, 2 destinations\n"));
    let result = config(&["check", file, "--json"]).expect(0);
    let contents: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(contents, json!({ "file": file, "jobs": ["nightly"], "destinations": ["disk", "offsite"] }));
    assert_eq!(files(folder.path()), ["new.toml"]);

    fs::write(&path, text.replace("secret_access_key_file", "secret_acess_key_file")).unwrap();
    let result = config(&["check", file]).expect(1);
    result.shows("new.toml:9:9").shows("unknown field `secret_acess_key_file`").shows("`secret_access_key_file`");
    fs::write(&path, text.replace("'pg_dump'", "'pg_dump', extra_args = ['--file=x']")).unwrap();
    config(&["check", file]).expect(1).shows("--file");
    config(&["check", "/nonexistent/new.toml"]).expect(1).shows("cannot read the configuration");

    // A channel that could never send is found before the first alarm; its secrets may be missing.
    let channel = |settings: &str| {
        fs::write(&path, format!("{text}[notify.post]\n{settings}\n")).unwrap();
        config(&["check", file])
    };
    channel("type = 'webhook'\nurl_file = '/nonexistent/url'").expect(0);
    for wrong in [
        "type = 'webhook'",
        "type = 'webhook'\nurl = '127.0.0.1:1/x'",
        "type = 'webhook'\nurl = 'http://127.0.0.1:1/x'\ntemplate = '{{ titel }}'",
        "type = 'mail'\nfrom = 'me'\nto = ['you@example.org']\nhost = 'mail.example.org'",
    ] {
        channel(wrong).expect(1).shows("post");
    }
}

#[test]
fn check_without_file_reads_the_configuration() {
    let test_env = TestEnv::new();
    test_env.configure(&Job::default());
    test_env.longshore(&["config", "check"]).expect(0).shows("config.toml is valid: 1 job");
    test_env.configure(&Job { more: "retension = 'x'", ..Job::default() });
    test_env.longshore(&["config", "check"]).expect(1).shows("unknown field `retension`");
    assert_eq!(files(&test_env.local()), [""; 0]);
}

#[test]
fn file_of_init_is_valid_by_the_schema() {
    let test_env = TestEnv::new();
    let schema: Value = serde_json::from_str(&config(&["schema"]).expect(0).stdout).unwrap();
    let path = test_env.path("made/config.toml");
    let destination = test_env.path("backups");
    let connection = test_env.cluster.connection();
    let init = ["--config", path.to_str().unwrap(), "init", "--connection", &connection];
    let places =
        ["--destination", destination.to_str().unwrap(), "--ship", "s3://acme/pg", "--ship", "ssh://nas/srv/pg"];
    longshore(&[&init[..], &places].concat()).expect(0);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().next().unwrap().contains("schema"), "{text}");
    let value: Value = toml::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0]);
    config(&["check", path.to_str().unwrap()]).expect(0).shows("1 job, 3 destinations");
}
