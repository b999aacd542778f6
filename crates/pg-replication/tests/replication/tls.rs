//! TLS: modes, and checks of the server's certificate.

use longshore_pg_replication::Error;
use longshore_pg_replication::error::TlsProblem;
use longshore_testkit::cluster::{Cluster, Installation};

use crate::certificate::{Certificates, EC_KEY, RSA_KEY};
use crate::support::{ServerFolder, back_up, fast, try_connect, versions};

fn start(version: &Installation, settings: &[String]) -> Cluster {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Cluster::start(version, &settings)
}

/// Returns the keywords of a connection to `host`, which is the cluster.
fn keywords(cluster: &Cluster, host: &str, more: &str) -> String {
    format!("host={host} hostaddr=127.0.0.1 port={} user=postgres {more}", cluster.port())
}

/// Returns the reason why TLS was not established.
async fn problem(keywords: &str) -> TlsProblem {
    match try_connect(keywords).await {
        Err(Error::Tls { problem, .. }) => problem,
        other => panic!("{keywords}: {other:?}"),
    }
}

/// Returns true if the connection is made and encrypted.
async fn is_encrypted(keywords: &str) -> bool {
    let mut connection = try_connect(keywords).await.unwrap_or_else(|error| panic!("{keywords}: {error:?}"));
    connection.identify_system().await.unwrap();
    connection.is_encrypted()
}

#[tokio::test]
async fn modes_check_what_they_promise() {
    let certificates = Certificates::new();
    certificates.server("server", "db1.example.test");
    certificates.root("other");
    let root = certificates.path("root.crt").display().to_string();
    let other = certificates.path("other.crt").display().to_string();
    for version in versions() {
        let cluster = start(&version, &certificates.settings("server"));
        let own = |mode: &str, root: &str| keywords(&cluster, "db1.example.test", &mode_and_root(mode, root));
        let alias = |mode: &str, root: &str| keywords(&cluster, "db2.example.test", &mode_and_root(mode, root));
        for mode in ["prefer", "require", "verify-ca", "verify-full"] {
            assert!(is_encrypted(&own(mode, &root)).await, "{mode}");
        }
        for mode in ["prefer", "require"] {
            assert!(is_encrypted(&alias(mode, "")).await, "{mode}");
        }
        for mode in ["allow", "disable"] {
            assert!(!is_encrypted(&own(mode, "")).await, "{mode}");
        }
        assert!(is_encrypted(&alias("verify-ca", &root)).await);
        assert_eq!(
            problem(&alias("verify-full", &root)).await,
            TlsProblem::OtherName { host: "db2.example.test".into(), names: vec!["db1.example.test".into()] }
        );
        // A file of roots makes `require` check the chain.
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(problem(&own(mode, &other)).await, TlsProblem::UnknownIssuer, "{mode}");
        }
        assert!(!is_encrypted(&own("prefer", &other)).await, "prefer accepts less");
        assert!(matches!(
            problem(&keywords(&cluster, "db1.example.test", "sslrootcert=system")).await,
            TlsProblem::UnknownIssuer
        ));
    }
}

fn mode_and_root(mode: &str, root: &str) -> String {
    if root.is_empty() { format!("sslmode={mode}") } else { format!("sslmode={mode} sslrootcert={root}") }
}

#[tokio::test]
async fn base_backup_passes_through_tls() {
    let certificates = Certificates::new();
    certificates.server("server", "db1.example.test");
    let root = certificates.path("root.crt").display().to_string();
    for version in versions() {
        let cluster = start(&version, &certificates.settings("server"));
        let keywords = keywords(&cluster, "db1.example.test", &mode_and_root("verify-full", &root));
        let (content, connection) = back_up(try_connect(&keywords).await.unwrap(), &fast()).await;
        assert!(connection.is_encrypted());
        assert!(content.archives[0].2.len() > 10_000_000 && content.manifest_text().ends_with("}\n"));
    }
}

#[tokio::test]
async fn server_without_tls_is_refused_or_accepted() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let root = Certificates::new();
    let root = root.path("root.crt").display().to_string();
    for mode in ["require", "verify-ca", "verify-full"] {
        let problem = problem(&keywords(&cluster, "db1", &mode_and_root(mode, &root))).await;
        assert_eq!(problem, TlsProblem::NotOffered, "{mode}");
    }
    for mode in ["prefer", "allow", "disable"] {
        assert!(!is_encrypted(&keywords(&cluster, "db1", &mode_and_root(mode, ""))).await, "{mode}");
    }
}

#[tokio::test]
async fn prefer_and_allow_follow_pg_hba() {
    let certificates = Certificates::new();
    certificates.server("server", "db1");
    let hba = "local all all trust\nhostssl replication tls_only 127.0.0.1/32 trust\n\
               hostnossl replication plain_only 127.0.0.1/32 trust\n";
    let hba = certificates.0.write("hba", hba.as_bytes());
    for version in versions() {
        let mut settings = certificates.settings("server");
        settings.push(format!("hba_file={}", hba.display()));
        let cluster = start(&version, &settings);
        cluster.psql("postgres", "CREATE ROLE tls_only LOGIN REPLICATION; CREATE ROLE plain_only LOGIN REPLICATION");
        let as_user =
            |user: &str, mode: &str| format!("host=127.0.0.1 port={} user={user} sslmode={mode}", cluster.port());
        for mode in ["prefer", "allow"] {
            assert!(is_encrypted(&as_user("tls_only", mode)).await, "{mode}");
            assert!(!is_encrypted(&as_user("plain_only", mode)).await, "{mode}");
        }
        for (user, mode) in [("tls_only", "disable"), ("plain_only", "require"), ("postgres", "prefer")] {
            let error = try_connect(&as_user(user, mode)).await.unwrap_err();
            assert_eq!(error.server().unwrap().sqlstate, "28000", "{user} {mode}: {error}");
        }
    }
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let certificates = Certificates::new();
    let config = "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nserial=number\ndefault_md=sha256\npolicy=any\n\
                  new_certs_dir=.\nunique_subject=no\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:db1\n";
    certificates.0.write("ca.conf", config.as_bytes());
    certificates.0.write("index", b"");
    certificates.0.write("number", b"01\n");
    let root = certificates.path("root.crt").display().to_string();
    let [version, _] = versions();
    // Version 3, and version 1, which takes another way through the checks.
    for (name, extensions) in [("server", "-extensions names"), ("old", "")] {
        certificates.request(name, "/CN=db1", EC_KEY);
        certificates.openssl(&format!(
            "ca -batch -notext -config ca.conf -cert root.crt -keyfile root.key {extensions} -startdate 20200101000000Z \
             -enddate 20210101000000Z -in {name}.csr -out {name}.crt"
        ));
        let cluster = start(&version, &certificates.settings(name));
        for mode in ["verify-ca", "verify-full"] {
            let found = problem(&keywords(&cluster, "db1", &mode_and_root(mode, &root))).await;
            assert_eq!(found, TlsProblem::NotValidNow, "{name} {mode}");
        }
        assert!(is_encrypted(&keywords(&cluster, "db1", "sslmode=require")).await);
    }
}

#[tokio::test]
async fn certificates_of_the_manual_are_accepted() {
    // As in PostgreSQL's manual, "Creating Certificates": a self-signed certificate that is also
    // the root, and one of version 1, with a common name only.
    let certificates = Certificates::new();
    certificates.openssl(
        "req -new -x509 -days 365 -nodes -text -newkey rsa:2048 -subj /CN=db1.example.test -out own.crt -keyout own.key",
    );
    certificates.0.give_to_server(&certificates.path("own.key"));
    for (name, key) in [("rsa", RSA_KEY), ("ec", EC_KEY)] {
        certificates.request(name, "/CN=db1.example.test", key);
        certificates.openssl(&format!(
            "x509 -req -in {name}.csr -text -days 365 -CA root.crt -CAkey root.key -CAcreateserial -out {name}.crt"
        ));
    }
    certificates.root("other");
    let other = certificates.path("other.crt").display().to_string();
    let [old, new] = versions();
    for (version, name, limit) in [
        (&old, "own", "TLSv1.3"),
        (&old, "rsa", "TLSv1.2"),
        (&new, "rsa", "TLSv1.3"),
        (&new, "ec", "TLSv1.2"),
        (&old, "ec", "TLSv1.3"),
    ] {
        let root = certificates.path(if name == "own" { "own.crt" } else { "root.crt" }).display().to_string();
        let mut settings = certificates.settings(name);
        settings.push(format!("ssl_max_protocol_version={limit}"));
        let cluster = start(version, &settings);
        assert!(is_encrypted(&keywords(&cluster, "db1.example.test", "sslmode=require")).await, "{name} {limit}");
        for (mode, host) in [("verify-ca", "db2"), ("verify-full", "db1.example.test")] {
            let keywords = keywords(&cluster, host, &mode_and_root(mode, &root));
            assert!(is_encrypted(&keywords).await, "{name} {limit} {mode}");
        }
        let wrong = problem(&keywords(&cluster, "db1.example.test", &mode_and_root("verify-ca", &other))).await;
        assert!(matches!(wrong, TlsProblem::UnknownIssuer | TlsProblem::InvalidCertificate), "{name}: {wrong:?}");
        let wrong = problem(&keywords(&cluster, "db2.example.test", &mode_and_root("verify-full", &root))).await;
        assert!(matches!(wrong, TlsProblem::OtherName { .. }), "{name}: {wrong:?}");
    }
}

#[tokio::test]
async fn forged_issuer_is_refused() {
    // The certificate names the root as its issuer, but another key signed it.
    let certificates = Certificates::new();
    let forger = Certificates::new();
    for (folder, options) in [(&forger, ""), (&forger, "-extfile extensions")] {
        std::fs::write(folder.path("extensions"), "subjectAltName=DNS:db1").unwrap();
        folder.request("server", "/CN=db1", EC_KEY);
        folder.openssl(&format!(
            "x509 -req -in server.csr -days 365 -CA root.crt -CAkey root.key -CAcreateserial -out server.crt {options}"
        ));
        let [version, _] = versions();
        let cluster = start(&version, &folder.settings("server"));
        let root = certificates.path("root.crt").display().to_string();
        let found = problem(&keywords(&cluster, "db1", &mode_and_root("verify-ca", &root))).await;
        assert_eq!(found, TlsProblem::UnknownIssuer, "{options}");
    }
}

#[tokio::test]
async fn revoked_certificate_is_refused() {
    let certificates = Certificates::new();
    for name in ["good", "revoked"] {
        certificates.server(name, "db1");
    }
    let config = "[ca]\ndefault_ca=own\n[own]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n\
                  default_crl_days=30\nserial=serial\n";
    certificates.0.write("ca.conf", config.as_bytes());
    certificates.0.write("index", b"");
    certificates.0.write("number", b"01\n");
    certificates.openssl("ca -config ca.conf -cert root.crt -keyfile root.key -revoke revoked.crt");
    certificates.openssl("ca -config ca.conf -cert root.crt -keyfile root.key -gencrl -out root.crl");
    let [version, _] = versions();
    let verified = format!(
        "sslmode=verify-full sslrootcert={} sslcrl={}",
        certificates.path("root.crt").display(),
        certificates.path("root.crl").display()
    );
    let cluster = start(&version, &certificates.settings("good"));
    assert!(is_encrypted(&keywords(&cluster, "db1", &verified)).await);
    let cluster = start(&version, &certificates.settings("revoked"));
    assert_eq!(problem(&keywords(&cluster, "db1", &verified)).await, TlsProblem::Revoked);
}

#[tokio::test]
async fn direct_tls_needs_postgresql_17() {
    let certificates = Certificates::new();
    certificates.server("server", "db1");
    let [old, new] = versions();
    let direct =
        format!("sslmode=verify-full sslrootcert={} sslnegotiation=direct", certificates.path("root.crt").display());
    let cluster = start(&new, &certificates.settings("server"));
    assert!(is_encrypted(&keywords(&cluster, "db1", &direct)).await);
    let cluster = start(&old, &certificates.settings("server"));
    assert_eq!(problem(&keywords(&cluster, "db1", &direct)).await, TlsProblem::Handshake);
}

#[tokio::test]
async fn versions_of_tls_are_limited() {
    let certificates = Certificates::new();
    certificates.server("server", "db1");
    let [version, _] = versions();
    let mut settings = certificates.settings("server");
    settings.push("ssl_max_protocol_version=TLSv1.2".to_owned());
    let cluster = start(&version, &settings);
    assert!(is_encrypted(&keywords(&cluster, "db1", "sslmode=require")).await);
    let found = problem(&keywords(&cluster, "db1", "sslmode=require ssl_min_protocol_version=TLSv1.3")).await;
    assert_eq!(found, TlsProblem::Handshake);
}

#[tokio::test]
async fn client_certificate_authenticates() {
    let certificates = Certificates::new();
    certificates.server("server", "db1");
    let hba = "local all all trust\nhostssl replication all 127.0.0.1/32 cert\n";
    let hba = certificates.0.write("hba", hba.as_bytes());
    certificates.request("client", "/CN=backup", EC_KEY);
    certificates.sign("client", "extendedKeyUsage=clientAuth", "-sha256");
    // `openssl x509 -req` makes certificates of version 1.
    certificates.request("old", "/CN=backup", RSA_KEY);
    certificates.openssl("x509 -req -in old.csr -days 365 -CA root.crt -CAkey root.key -CAcreateserial -out old.crt");
    let keys = ServerFolder::new();
    for name in ["client", "old"] {
        let key = std::fs::read(certificates.path(&format!("{name}.key"))).unwrap();
        std::fs::write(keys.path(&format!("{name}.key")), key).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(keys.path(&format!("{name}.key")), private).unwrap();
    }
    for version in versions() {
        let mut settings = certificates.settings("server");
        settings.push(format!("hba_file={}", hba.display()));
        let cluster = start(&version, &settings);
        cluster.psql("postgres", "CREATE ROLE backup LOGIN REPLICATION");
        let with = |cert: &str, key: &str| {
            format!(
                "host=127.0.0.1 port={} user=backup sslmode=require sslcert={} sslkey={}",
                cluster.port(),
                certificates.path(&format!("{cert}.crt")).display(),
                keys.path(&format!("{key}.key")).display()
            )
        };
        for name in ["client", "old"] {
            assert!(is_encrypted(&with(name, name)).await, "{name}");
        }
        let error = try_connect(&with("client", "old")).await.unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        let without = format!("host=127.0.0.1 port={} user=backup sslmode=require", cluster.port());
        let error = try_connect(&without).await.unwrap_err();
        assert_eq!(error.server().unwrap().sqlstate, "28000", "{error}");
    }
}
