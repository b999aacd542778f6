//! Passwords, and refused connections.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use longshore_pg_replication::{Error, connect};
use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{ServerFolder, fast, parameters, run, try_connect, versions};

const PASSWORD: &str = "hunter2-\u{e9}";

/// Starts a server with a role for each method of authentication, each with its name in
/// `pg_hba.conf`.
fn start(version: &Installation) -> (Cluster, ServerFolder) {
    let folder = ServerFolder::new();
    let hba = "local all all trust\nlocal replication all trust\nhost replication scram 127.0.0.1/32 scram-sha-256\n\
               host replication md5 127.0.0.1/32 md5\nhost replication clear 127.0.0.1/32 password\n\
               host replication plain 127.0.0.1/32 trust\nhost replication gss 127.0.0.1/32 gss\n";
    let hba = folder.write("hba", hba.as_bytes());
    let cluster = Cluster::start(version, &[&format!("hba_file={}", hba.display())]);
    cluster.psql(
        "postgres",
        &format!(
            "CREATE ROLE scram LOGIN REPLICATION PASSWORD '{PASSWORD}';
             CREATE ROLE clear LOGIN REPLICATION PASSWORD '{PASSWORD}'; CREATE ROLE plain LOGIN;
             CREATE ROLE gss LOGIN REPLICATION;
             SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN REPLICATION PASSWORD '{PASSWORD}'"
        ),
    );
    (cluster, folder)
}

fn keywords(cluster: &Cluster, user: &str, more: &str) -> String {
    format!("host=127.0.0.1 port={} user={user} sslmode=disable {more}", cluster.port())
}

#[tokio::test]
async fn passwords_authenticate() {
    for version in versions() {
        let (cluster, _folder) = start(&version);
        for user in ["scram", "md5", "clear"] {
            let connected = try_connect(&keywords(&cluster, user, &format!("password={PASSWORD}"))).await;
            connected.unwrap_or_else(|error| panic!("{user}: {error:?}")).identify_system().await.unwrap();
            let error = try_connect(&keywords(&cluster, user, "password=wrong")).await.unwrap_err();
            assert_eq!(error.server().unwrap().sqlstate, "28P01", "{user}: {error}");
            let error = try_connect(&keywords(&cluster, user, "")).await.unwrap_err();
            assert!(matches!(error, Error::NoPassword { .. }), "{user}: {error:?}");
            assert!(error.remedy().is_some());
        }
    }
}

#[tokio::test]
async fn password_comes_from_a_password_file() {
    let [version, _] = versions();
    let (cluster, folder) = start(&version);
    let passfile = folder.path("pgpass");
    let lines = format!("*:1:*:*:wrong\n127.0.0.1:{}:replication:scram:{PASSWORD}\n", cluster.port());
    fs::write(&passfile, lines).unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    let keywords = keywords(&cluster, "scram", &format!("passfile={}", passfile.display()));
    try_connect(&keywords).await.unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(try_connect(&keywords).await, Err(Error::NoPassword { .. })), "others can read it");
}

#[tokio::test]
async fn require_auth_excludes_methods() {
    let [version, _] = versions();
    let (cluster, _folder) = start(&version);
    let password = format!("password={PASSWORD}");
    for (user, accepted, refused) in [
        ("scram", "scram-sha-256", "!scram-sha-256"),
        ("md5", "md5", "scram-sha-256"),
        ("clear", "password", "!password"),
    ] {
        let with = |methods: &str| keywords(&cluster, user, &format!("{password} require_auth={methods}"));
        assert!(try_connect(&with(accepted)).await.is_ok(), "{user}");
        let error = try_connect(&with(refused)).await.unwrap_err();
        assert!(matches!(error, Error::Authentication { .. }), "{user}: {error:?}");
    }
    let trusted = format!("{} require_auth=scram-sha-256", cluster.connection());
    assert!(matches!(try_connect(&trusted).await, Err(Error::Authentication { .. })));
    assert!(try_connect(&format!("{} require_auth=none", cluster.connection())).await.is_ok());
}

#[tokio::test]
async fn unsupported_method_is_named() {
    let (cluster, _folder) = start(&Installation::system());
    let error = try_connect(&keywords(&cluster, "gss", "")).await.unwrap_err();
    let Error::UnsupportedAuthentication { method } = &error else { panic!("{error:?}") };
    assert_eq!(method, "GSSAPI");
    assert!(error.remedy().unwrap().contains("pg_basebackup"));
}

#[tokio::test]
async fn role_without_replication_is_refused() {
    for version in versions() {
        let (cluster, _folder) = start(&version);
        let error = try_connect(&keywords(&cluster, "plain", "")).await.unwrap_err();
        assert_eq!(error.server().unwrap().sqlstate, "42501", "{error}");
    }
}

#[tokio::test]
async fn password_is_printed_nowhere() {
    let [version, _] = versions();
    let (cluster, _folder) = start(&version);
    for password in [PASSWORD, "hunter2-wrong"] {
        for user in ["scram", "md5", "clear"] {
            let parameters = parameters(&keywords(&cluster, user, &format!("password={password}")));
            let mut printed = format!("{parameters:?}");
            match connect(&parameters).await {
                Ok(connection) => {
                    printed += &format!("{connection:?}");
                    let backup = connection.base_backup(&fast()).await.unwrap();
                    printed += &format!("{backup:?}");
                }
                Err(error) => printed += &format!("{error:?} {error}"),
            }
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }
}

#[tokio::test]
async fn requirepeer_names_the_servers_user() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let owner = run(Command::new("stat").args(["-c", "%U"]).arg(cluster.data_dir()));
    let uid = fs::metadata(cluster.data_dir()).unwrap().uid();
    let with = |name: &str| format!("{} requirepeer={name}", cluster.connection());
    assert!(try_connect(&with(owner.trim())).await.is_ok());
    for name in ["daemon", "no_such_user"] {
        let error = try_connect(&with(name)).await.unwrap_err();
        assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
        assert!(error.to_string().contains(&uid.to_string()), "{error}");
    }
}
