//! Clients are known by their certificates, and by the user that a named proxy sends. Others gain
//! nothing from the same headers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::service::Service;
use crate::support::{finish, wait_for};

/// Runs openssl in the folder of the environment. Arguments are separated by spaces.
fn openssl(offline_env: &OfflineEnv, arguments: &str) {
    let mut command = Command::new("openssl");
    finish(command.args(arguments.split_whitespace()).current_dir(offline_env.path(""))).expect(0);
}

/// Creates an authority: `<name>.crt` and `<name>.key`.
fn authority(offline_env: &OfflineEnv, name: &str) {
    openssl(
        offline_env,
        &format!(
            "req -new -x509 -days 365 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN={name} \
             -keyout {name}.key -out {name}.crt"
        ),
    );
}

/// Creates a certificate that an authority has signed: `<name>.crt` and `<name>.key`.
fn certificate(offline_env: &OfflineEnv, authority: &str, name: &str, subject: &str, extensions: &str) {
    openssl(
        offline_env,
        &format!(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj {subject} -keyout {name}.key -out {name}.csr"
        ),
    );
    fs::write(offline_env.path("extensions"), format!("basicConstraints=CA:FALSE\n{extensions}\n")).unwrap();
    openssl(
        offline_env,
        &format!(
            "x509 -req -days 365 -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial \
             -out {name}.crt -extfile extensions"
        ),
    );
}

/// Sends a request over TLS, with a client certificate if a name is given. Returns the answer; it
/// is empty if there was none.
fn over_tls(offline_env: &OfflineEnv, service: &Service, client: Option<&str>, line: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-ign_eof", "-verify_return_error", "-CAfile", "ca.crt"]);
    command.args(["-servername", "localhost", "-connect", service.address()]);
    if let Some(name) = client {
        command.args(["-cert", &format!("{name}.crt"), "-key", &format!("{name}.key")]);
    }
    command.current_dir(offline_env.path("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let request =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n");
    // A client whose certificate is refused has ended.
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[test]
fn client_certificate_has_the_role_of_its_user() {
    let offline_env = OfflineEnv::new("");
    offline_env.add_backup(&ForgedBackup::default());
    authority(&offline_env, "ca");
    authority(&offline_env, "foreign");
    certificate(&offline_env, "ca", "server", "/CN=server", "subjectAltName=DNS:localhost,IP:127.0.0.1");
    certificate(&offline_env, "ca", "alice", "/CN=alice", "subjectAltName=email:alice@example.net");
    certificate(&offline_env, "ca", "monitor", "/CN=unused", "subjectAltName=DNS:prometheus.example.net");
    certificate(&offline_env, "ca", "operator", "/CN=operator", "");
    certificate(&offline_env, "ca", "mallory", "/CN=mallory", "");
    certificate(&offline_env, "foreign", "impostor", "/CN=alice", "");
    let file = |name: &str| offline_env.path(name).display().to_string();
    let users = "users = [{ name = 'alice@example.net', role = 'read' }, { name = 'operator', role = 'run' },\n\
                 { name = 'prometheus.example.net', role = 'metrics' }]\n";
    let tls = format!("tls_cert = '{}'\ntls_key = '{}'\n", file("server.crt"), file("server.key"));
    let serve = format!("[serve]\nallow = ['run']\n{tls}client_ca = '{}'\n{users}", file("ca.crt"));
    offline_env.configure(&format!("{NIGHTLY}max_age = '26h'\n{serve}"));
    let service = Service::start(&mut offline_env.command(&[]));
    assert!(service.log().contains("serving https://127.0.0.1:"), "{}", service.log());
    let request = |client: Option<&str>, line: &str| over_tls(&offline_env, &service, client, line);
    wait_for("the first read", || (status(&request(None, "GET /readyz")) == Some(200)).then_some(()));
    let of = |client: &str, line: &str| status(&request(Some(client), line));
    assert!(request(Some("alice"), "GET /").contains("main/shop"));
    assert_eq!((of("alice", "GET /metrics"), of("monitor", "GET /metrics")), (Some(200), Some(200)));
    // A wrong role.
    assert_eq!((of("monitor", "GET /"), of("alice", "POST /jobs/other/run")), (Some(403), Some(403)));
    assert_eq!(of("operator", "POST /jobs/other/run"), Some(404));
    let unknown = request(Some("mallory"), "GET /api/v1/status");
    assert!(status(&unknown) == Some(403) && unknown.contains("the user mallory has no role"), "{unknown}");
    // No certificate, and one of another authority with the name of a user.
    let none = request(None, "GET /api/v1/status");
    assert!(status(&none) == Some(401) && none.contains("a client certificate is needed"), "{none}");
    let foreign = request(Some("impostor"), "GET /");
    assert_eq!(status(&foreign), None, "{foreign}");
    wait_for("the log", || service.log().contains("127.0.0.1: no TLS connection").then_some(()));
    // Without TLS, there is no answer.
    let mut plain = TcpStream::connect(service.address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The service may reset the connection.
    plain.read_to_end(&mut answer).unwrap_or_default();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // A reload replaces the certificates.
    fs::copy(offline_env.path("foreign.crt"), offline_env.path("ca-of-clients.crt")).unwrap();
    let serve = serve.replace("ca.crt", "ca-of-clients.crt").replace("alice@example.net", "alice");
    offline_env.configure(&format!("{NIGHTLY}max_age = '26h'\n{serve}"));
    service.signal("HUP");
    wait_for("the reload", || service.log().contains("the configuration was reloaded").then_some(()));
    assert_eq!((of("impostor", "GET /"), of("alice", "GET /")), (Some(200), None));
}

#[test]
fn unusable_certificates_end_the_start_with_a_reason() {
    let offline_env = OfflineEnv::new("");
    authority(&offline_env, "ca");
    authority(&offline_env, "other");
    let file = |name: &str| offline_env.path(name).display().to_string();
    let start = |cert: &str, key: &str, client_ca: &str| {
        let users = "users = [{ name = 'alice', role = 'read' }]";
        let tls = format!("tls_cert = '{}'\ntls_key = '{}'\nclient_ca = '{}'", file(cert), file(key), file(client_ca));
        offline_env.configure(&format!("{NIGHTLY}[serve]\n{tls}\n{users}\n"));
        offline_env.longshore(&["serve", "--listen", "127.0.0.1:0"]).expect(1)
    };
    start("ca.crt", "other.key", "ca.crt").shows("does not fit its private key");
    start("ca.crt", "ca.crt", "ca.crt").shows("contains no private key");
    start("ca.crt", "ca.key", "ca.key").shows("contains no certificate");
}

/// Sends a request to the socket, and returns the answer.
fn over_socket(path: &Path, headers: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Some(answer)
}

#[test]
fn header_of_a_proxy_is_believed_only_from_the_proxy() {
    let offline_env = OfflineEnv::new("");
    offline_env.add_backup(&ForgedBackup::default());
    let users = "users = [{ name = 'alice', role = 'read' }, { name = 'bob', role = 'run' }]\n";
    let configure = |proxy: &str| {
        let serve =
            format!("[serve]\nallow = ['run']\nproxies = ['{proxy}']\nproxy_user_header = 'X-Remote-User'\n{users}");
        offline_env.configure(&format!("{NIGHTLY}max_age = '26h'\n{serve}"));
    };
    configure("192.0.2.7");
    let service = Service::start(&mut offline_env.command(&[]));
    service.wait_until_ready();
    let request = |line: &str, headers: &[&str]| service.request(line, headers, "");
    let forged = request("GET /api/v1/status", &["X-Remote-User: bob"]);
    assert_eq!((forged.status, forged.body.contains("a user is needed")), (401, true), "{forged:?}");
    wait_for("the log", || {
        service.log().contains("the header x-remote-user comes from no address of proxies").then_some(())
    });
    configure("127.0.0.1");
    service.signal("HUP");
    wait_for("the reload", || service.log().contains("the configuration was reloaded").then_some(()));
    let of = |line: &str, user: &str| {
        request(line, &[&format!("X-Remote-User: {user}"), "Sec-Fetch-Site: same-origin"]).status
    };
    assert_eq!((of("GET /", "alice"), of("GET /", "mallory"), of("GET /", "")), (200, 403, 401));
    assert_eq!((of("POST /jobs/other/run", "alice"), of("POST /jobs/other/run", "bob")), (403, 404));
    let twice = request("GET /", &["X-Remote-User: mallory", "X-Remote-User: bob"]);
    assert_eq!(twice.status, 401);
    // The socket of this host is a proxy only if it is named.
    for (proxy, expected) in [("127.0.0.1", 401), ("unix", 200)] {
        configure(proxy);
        let path = offline_env.path(&format!("{proxy}.sock"));
        let listen = format!("unix:{}", path.display());
        let mut child = offline_env.command(&["serve", "--listen", &listen]).stderr(Stdio::null()).spawn().unwrap();
        let answer = wait_for("the socket", || {
            over_socket(&path, "X-Remote-User: alice\r\n").filter(|answer| status(answer) != Some(503))
        });
        assert_eq!(status(&answer), Some(expected), "{answer}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn limits_count_the_client_of_a_named_proxy() {
    let offline_env = OfflineEnv::new("");
    fs::write(offline_env.path("token"), "token-that-reads-everything").unwrap();
    let configure = |proxies: &str| {
        let token = offline_env.path("token").display().to_string();
        let tokens = format!("tokens = [{{ file = '{token}', role = 'read' }}]");
        offline_env.configure(&format!("{NIGHTLY}[serve]\n{tokens}\nproxies = [{proxies}]\n"));
    };
    for (proxies, others) in [("'127.0.0.1'", 401), ("", 429)] {
        configure(proxies);
        let service = Service::start(&mut offline_env.command(&[]));
        let guess = |client: &str| {
            let forwarded = format!("X-Forwarded-For: 198.51.100.1, {client}");
            service.request("GET /", &["Authorization: Bearer wrong", &forwarded], "")
        };
        let refused = wait_for("a refusal", || Some(guess("203.0.113.5")).filter(|answer| answer.status == 429));
        let client = if proxies.is_empty() { "127.0.0.1" } else { "203.0.113.5" };
        assert!(refused.body.contains(&format!("too many wrong tokens from {client}")), "{refused:?}");
        assert!(refused.headers.contains("retry-after: 5"), "{refused:?}");
        assert_eq!(guess("203.0.113.6").status, others, "proxies = [{proxies}]");
        let line = format!("refused with status 429: too many wrong tokens from {client}");
        wait_for("the log", || service.log().contains(&line).then_some(()));
        assert_eq!(service.log().matches("status 429").count(), 1, "{}", service.log());
    }
}
