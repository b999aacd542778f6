//! Connections work as in libpq, by keywords, a URI, a service, `PG*` variables and `.pgpass`.
//! Longshore asks for passwords on a terminal only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Ended, Job, Workshop, finish};

const PASSWORD: &str = "of the back'up \\role";

/// Returns a workshop whose server admits the role `backup` by its password only.
fn with_password() -> Workshop {
    let workshop = Workshop::new();
    let quoted = PASSWORD.replace('\'', "''");
    workshop.cluster.psql("postgres", &format!("create role backup superuser login password '{quoted}';"));
    let rules = "local all postgres trust\nhost all backup 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(workshop.cluster.data_dir().join("pg_hba.conf"), rules).unwrap();
    workshop.cluster.psql("postgres", "select pg_reload_conf()");
    workshop
}

fn private(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Runs the job with a connection string, in an environment that `prepare` changes.
fn run(workshop: &Workshop, connection: &str, prepare: impl FnOnce(&mut Command)) -> Ended {
    workshop.configure_with_connection(&Job::default(), &connection.replace('\\', "\\\\"));
    let mut command = workshop.command();
    prepare(command.arg("run"));
    finish(&mut command)
}

#[test]
fn by_keywords_a_uri_a_service_variables_and_a_password_file() {
    let workshop = with_password();
    let port = workshop.cluster.port();
    let keywords = format!("host=127.0.0.1 port={port} user=backup");
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    run(&workshop, &format!("{keywords} password='{quoted}'"), |_| {}).expect(0);

    let encoded = PASSWORD.replace(' ', "%20").replace('\'', "%27").replace('\\', "%5C");
    run(&workshop, &format!("postgresql://backup:{encoded}@127.0.0.1:{port}"), |_| {}).expect(0);

    let pgpass = workshop.path(".pgpass");
    private(&pgpass, &format!("127.0.0.1:{port}:*:backup:{}\n", PASSWORD.replace('\\', "\\\\")));
    run(&workshop, &keywords, |_| {}).expect(0);
    std::fs::remove_file(&pgpass).unwrap();

    let services = workshop.path("services.conf");
    private(
        &services,
        &format!("[site]\nhost=127.0.0.1\nport={port}\nuser=backup\npassword={PASSWORD}\ndbname=postgres\n"),
    );
    run(&workshop, "service=site", |command| {
        command.env("PGSERVICEFILE", &services);
    })
    .expect(0);

    run(&workshop, "", |command| {
        command.envs([("PGHOST", "127.0.0.1"), ("PGUSER", "backup"), ("PGPASSWORD", PASSWORD)]);
        command.env("PGPORT", port.to_string());
    })
    .expect(0);
}

#[test]
fn a_password_that_is_missing_or_wrong_is_said_with_the_way_out() {
    let workshop = with_password();
    let keywords = format!("host=127.0.0.1 port={} user=backup", workshop.cluster.port());
    run(&workshop, &keywords, |_| {}).expect(2).says("no password supplied").says(".pgpass").says("--ask-password");
    let wrong = |command: &mut Command| {
        command.env("PGPASSWORD", "something else");
    };
    run(&workshop, &keywords, wrong).expect(2).says("password authentication failed").says("hint:");
}

#[test]
fn a_password_is_asked_for_on_a_terminal() {
    let workshop = with_password();
    let keywords = format!("host=127.0.0.1 port={} user=backup", workshop.cluster.port());
    workshop.configure_with_connection(&Job::default(), &keywords);
    // script(1) provides a terminal. The password is typed only after the prompt appears.
    let line = format!(
        "'{}' --config '{}' run --ask-password",
        env!("CARGO_BIN_EXE_longshore"),
        workshop.config_path().display()
    );
    let seen =
        |words: &str| format!("for n in $(seq 600); do grep -qsE '{words}' \"$SEEN\" && break; sleep 0.05; done");
    let person =
        format!("{}; printf '%s\\n' \"$PASSWORD\"; {}", seen("password of the server"), seen("ARTIFACT|error:"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("({person}) | script --quiet --return --flush --command \"$LINE\" \"$SEEN\"")]);
    shell.env("LINE", line).env("PASSWORD", PASSWORD).env("SEEN", workshop.path("seen")).env("HOME", workshop.path(""));
    let ended = finish(&mut shell);
    ended.expect(0).says("password of the server").keeps_quiet_about(PASSWORD);
    assert!(!workshop.json(&["list", "--json"]).as_array().unwrap().is_empty());
}
