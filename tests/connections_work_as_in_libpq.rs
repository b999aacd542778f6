//! Connections work as in libpq, by keywords, a URI, a service, `PG*` variables and `.pgpass`.
//! Longshore asks for passwords on a terminal only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{CommandOutput, Job, TestEnv, finish};

const PASSWORD: &str = "of the back'up \\role";

/// Returns an environment whose server admits the role `backup` by its password only.
fn with_password() -> TestEnv {
    let test_env = TestEnv::new();
    let quoted = PASSWORD.replace('\'', "''");
    test_env.cluster.psql("postgres", &format!("create role backup superuser login password '{quoted}';"));
    let rules = "local all postgres trust\nhost all backup 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(test_env.cluster.data_dir().join("pg_hba.conf"), rules).unwrap();
    test_env.cluster.psql("postgres", "select pg_reload_conf()");
    test_env
}

fn private(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Runs the job with a connection string, in an environment that `prepare` changes.
fn run(test_env: &TestEnv, connection: &str, prepare: impl FnOnce(&mut Command)) -> CommandOutput {
    test_env.configure_with_connection(&Job::default(), &connection.replace('\\', "\\\\"));
    let mut command = test_env.command();
    prepare(command.arg("run"));
    finish(&mut command)
}

#[test]
fn connects_by_every_libpq_method() {
    let test_env = with_password();
    let port = test_env.cluster.port();
    let keywords = format!("host=127.0.0.1 port={port} user=backup");
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    run(&test_env, &format!("{keywords} password='{quoted}'"), |_| {}).expect(0);

    let encoded = PASSWORD.replace(' ', "%20").replace('\'', "%27").replace('\\', "%5C");
    run(&test_env, &format!("postgresql://backup:{encoded}@127.0.0.1:{port}"), |_| {}).expect(0);

    let pgpass = test_env.path(".pgpass");
    private(&pgpass, &format!("127.0.0.1:{port}:*:backup:{}\n", PASSWORD.replace('\\', "\\\\")));
    run(&test_env, &keywords, |_| {}).expect(0);
    std::fs::remove_file(&pgpass).unwrap();

    let services = test_env.path("services.conf");
    private(
        &services,
        &format!("[site]\nhost=127.0.0.1\nport={port}\nuser=backup\npassword={PASSWORD}\ndbname=postgres\n"),
    );
    run(&test_env, "service=site", |command| {
        command.env("PGSERVICEFILE", &services);
    })
    .expect(0);

    run(&test_env, "", |command| {
        command.envs([("PGHOST", "127.0.0.1"), ("PGUSER", "backup"), ("PGPASSWORD", PASSWORD)]);
        command.env("PGPORT", port.to_string());
    })
    .expect(0);
}

#[test]
fn missing_or_wrong_password_has_a_hint() {
    let test_env = with_password();
    let keywords = format!("host=127.0.0.1 port={} user=backup", test_env.cluster.port());
    run(&test_env, &keywords, |_| {}).expect(2).shows("no password supplied").shows(".pgpass").shows("--ask-password");
    let wrong = |command: &mut Command| {
        command.env("PGPASSWORD", "something else");
    };
    run(&test_env, &keywords, wrong).expect(2).shows("password authentication failed").shows("hint:");
}

#[test]
fn asks_for_password_on_a_terminal() {
    let test_env = with_password();
    let keywords = format!("host=127.0.0.1 port={} user=backup", test_env.cluster.port());
    test_env.configure_with_connection(&Job::default(), &keywords);
    // script(1) provides a terminal. The password is typed only after the prompt appears.
    let line = format!(
        "'{}' --config '{}' run --ask-password",
        env!("CARGO_BIN_EXE_longshore"),
        test_env.config_path().display()
    );
    let seen =
        |words: &str| format!("for n in $(seq 600); do grep -qsE '{words}' \"$SEEN\" && break; sleep 0.05; done");
    let person =
        format!("{}; printf '%s\\n' \"$PASSWORD\"; {}", seen("password of the server"), seen("ARTIFACT|error:"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("({person}) | script --quiet --return --flush --command \"$LINE\" \"$SEEN\"")]);
    shell.env("LINE", line).env("PASSWORD", PASSWORD).env("SEEN", test_env.path("seen")).env("HOME", test_env.path(""));
    let result = finish(&mut shell);
    result.expect(0).shows("password of the server").omits(PASSWORD);
    assert!(!test_env.json(&["list", "--json"]).as_array().unwrap().is_empty());
}
