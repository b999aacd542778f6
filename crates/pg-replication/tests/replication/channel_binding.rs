//! SCRAM with and without channel binding.

use longshore_pg_replication::Error;
use longshore_testkit::cluster::{Cluster, Installation};

use crate::certificate::{Certificates, EC_KEY, RSA_KEY};
use crate::support::{try_connect, versions};

/// Starts a server with a certificate, and a role for each method of authentication.
fn start(version: &Installation, certificates: &Certificates, name: &str) -> Cluster {
    let hba = "local all all trust\nhost replication scram 127.0.0.1/32 scram-sha-256\n\
               host replication md5 127.0.0.1/32 md5\nhost replication trust 127.0.0.1/32 trust\n";
    let hba = certificates.0.write("hba", hba.as_bytes());
    let mut settings = certificates.settings(name);
    settings.push(format!("hba_file={}", hba.display()));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let cluster = Cluster::start(version, &settings);
    cluster.psql(
        "postgres",
        "CREATE ROLE scram LOGIN REPLICATION PASSWORD 'pw'; CREATE ROLE trust LOGIN REPLICATION;
         SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN REPLICATION PASSWORD 'pw'",
    );
    cluster
}

fn keywords(cluster: &Cluster, user: &str, binding: &str, mode: &str) -> String {
    let port = cluster.port();
    format!("host=127.0.0.1 port={port} user={user} password=pw channel_binding={binding} sslmode={mode}")
}

#[tokio::test]
async fn binding_works_with_all_signatures() {
    let certificates = Certificates::new();
    let [version, newest] = versions();
    for (name, key, options) in
        [("ec-sha256", EC_KEY, "-sha256"), ("ec-sha384", EC_KEY, "-sha384"), ("ec-sha1", EC_KEY, "-sha1")]
    {
        certificates.request(name, "/CN=db1", key);
        certificates.sign(name, "subjectAltName=DNS:db1", options);
    }
    // An RSA root, for RSA's signatures.
    certificates
        .openssl("req -new -x509 -days 365 -nodes -newkey rsa:2048 -subj /CN=root -keyout root.key -out root.crt");
    for (name, options) in [("rsa-sha512", "-sha512"), ("pss-sha384", "-sha384 -sigopt rsa_padding_mode:pss")] {
        certificates.request(name, "/CN=db1", RSA_KEY);
        certificates.sign(name, "subjectAltName=DNS:db1", options);
    }
    for (version, name) in [
        (&version, "ec-sha256"),
        (&newest, "ec-sha384"),
        (&newest, "ec-sha1"),
        (&newest, "rsa-sha512"),
        (&version, "pss-sha384"),
    ] {
        let cluster = start(version, &certificates, name);
        for binding in ["require", "prefer", "disable"] {
            let connected = try_connect(&keywords(&cluster, "scram", binding, "require")).await;
            assert!(connected.is_ok(), "{name} {binding}: {connected:?}");
        }
    }
}

#[tokio::test]
async fn ed25519_has_no_binding() {
    let certificates = Certificates::new();
    certificates
        .openssl("req -new -x509 -days 365 -nodes -newkey ed25519 -subj /CN=db1 -keyout server.key -out server.crt");
    certificates.0.give_to_server(&certificates.path("server.key"));
    for version in versions() {
        let cluster = start(&version, &certificates, "server");
        for binding in ["prefer", "disable"] {
            let connected = try_connect(&keywords(&cluster, "scram", binding, "require")).await;
            assert!(connected.is_ok(), "{binding}: {connected:?}");
        }
        let error = try_connect(&keywords(&cluster, "scram", "require", "require")).await.unwrap_err();
        assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn required_binding_refuses_everything_else() {
    let certificates = Certificates::new();
    certificates.server("server", "db1");
    for version in versions() {
        let cluster = start(&version, &certificates, "server");
        for (user, mode) in [("md5", "require"), ("trust", "require"), ("scram", "disable")] {
            let error = try_connect(&keywords(&cluster, user, "require", mode)).await.unwrap_err();
            assert!(matches!(error, Error::Authentication { .. }), "{user} {mode}: {error:?}");
        }
        for (user, mode) in [("md5", "require"), ("trust", "require"), ("scram", "disable")] {
            let connected = try_connect(&keywords(&cluster, user, "prefer", mode)).await;
            assert!(connected.is_ok(), "{user} {mode}: {connected:?}");
        }
    }
}
