//! The service shows what the commands print, and refuses requests that do not come from its own
//! pages or lack a token.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use longshore_testkit::garage::{Garage, Permission};

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::service::Service;
use crate::support::{Job, TestEnv, wait_for};

/// The job of the environment, with a limit for the age and a policy.
fn job() -> String {
    format!("{NIGHTLY}max_age = '26h'\nretention = 'standard'\n[retention.standard]\nkeep_last = 1\n")
}

fn offline_env(lines: &str) -> OfflineEnv {
    let offline_env = OfflineEnv::new(&format!("{}{lines}", job()));
    for hours in [96, 72, 48] {
        offline_env.add_backup(&ForgedBackup { hours, ..ForgedBackup::default() });
    }
    offline_env
}

fn start(offline_env: &OfflineEnv) -> Service {
    let service = Service::start(&mut offline_env.command(&[]));
    service.wait_until_ready();
    service
}

#[test]
fn pages_show_status_backups_and_reasons() {
    let offline_env = offline_env("");
    let service = start(&offline_env);
    let home = service.get("/");
    assert_eq!(home.status, 200);
    for text in ["main/shop", "the newest good backup is 2 d old", "2 of 2", ">26 h<", "/series/main/shop"] {
        assert!(home.body.contains(text), "{text} in {}", home.body);
    }
    let series = service.get("/series/main/shop");
    for text in ["Calendar at disk", "Calendar at nas", "kept: newest, last", "to be removed: no rule keeps it"] {
        assert!(series.body.contains(text), "{text} in {}", series.body);
    }
    assert!(service.get("/destinations/disk").body.contains("main/shop"));
    assert!(service.get("/policies/standard").body.contains("Simulation"));
    for list in ["/runs", "/drills", "/wal", "/policies", "/destinations"] {
        assert_eq!(service.get(list).status, 200, "{list}");
    }
    // A stale backup does not make the service unhealthy.
    assert_eq!((service.get("/healthz").status, service.get("/readyz").status), (200, 200));
    assert!(home.headers.contains("content-security-policy: default-src 'none'; style-src 'self'"));
    assert!(
        home.headers.contains("x-content-type-options: nosniff") && home.headers.contains("cache-control: no-store")
    );
}

#[test]
fn api_returns_what_commands_print() {
    let offline_env = offline_env("");
    let service = start(&offline_env);
    let printed = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&offline_env.longshore(arguments).stdout).unwrap()
    };
    let timeless = |mut value: serde_json::Value| {
        fn strip(value: &mut serde_json::Value) {
            match value {
                serde_json::Value::Object(map) => {
                    for name in ["time", "age_seconds", "free_bytes"] {
                        map.remove(name);
                    }
                    map.values_mut().for_each(strip);
                }
                serde_json::Value::Array(all) => all.iter_mut().for_each(strip),
                _ => {}
            }
        }
        strip(&mut value);
        value
    };
    for (path, arguments) in [
        ("/api/v1/status", &["status", "--json"][..]),
        ("/api/v1/backups", &["list", "--all", "--json"]),
        ("/api/v1/retention", &["prune", "--dry-run", "--json"]),
    ] {
        assert_eq!(timeless(service.json(path)), timeless(printed(arguments)), "{path}");
    }
    assert_eq!(service.json("/api/v1/runs"), serde_json::json!([]));
}

#[test]
fn foreign_requests_and_path_tricks_are_refused() {
    let offline_env = offline_env("[serve]\nallow = ['run']\nhosts = ['backup.example.net']\n");
    let service = start(&offline_env);
    let request = |line: &str, headers: &[&str]| service.request(line, headers, "").status;
    assert_eq!(request("GET /", &["Host: evil.example"]), 421);
    assert_eq!(request("GET /healthz", &["Host: evil.example"]), 421);
    assert_eq!(request("GET /", &["Host: backup.example.net"]), 200);
    let own = format!("Origin: http://{}", service.address());
    for headers in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site"],
        &["Origin: http://evil.example"],
        &["Sec-Fetch-Site: cross-site", own.as_str()],
        &[],
    ] {
        assert_eq!(request("POST /jobs/nightly/run", headers), 403, "{headers:?}");
    }
    assert_eq!(request("POST /jobs/other/run", &["Sec-Fetch-Site: same-origin"]), 404);
    for path in [
        "/../etc/passwd",
        "/assets/../style.css",
        "/assets/%2e%2e/%2e%2e/config.toml",
        "//etc/passwd",
        "/series/main/..%2f..%2fetc",
        "/runs/..%2f..%2fx",
        "/drills/main/shop/../../x",
        "/drills/..%2f..%2fconfig",
        "/destinations/%00",
        "/series/%ff/%ff",
        "/metrics/x",
    ] {
        let status = request(&format!("GET {path}"), &[]);
        assert!((400..500).contains(&status), "{status} for {path}");
    }
    assert_eq!(request("DELETE /series/main/shop", &["Sec-Fetch-Site: same-origin"]), 405);
    let large = "x".repeat(8000);
    assert_eq!(service.request("POST /login", &["Sec-Fetch-Site: same-origin"], &large).status, 415);
    let form = ["Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(service.request("POST /login", &form, &format!("token={large}")).status, 413);
    assert_eq!(service.get("/").status, 200);
}

#[test]
fn slow_clients_delay_no_other_request() {
    let offline_env = offline_env("");
    let service = start(&offline_env);
    let begin = |_| {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
        stream
    };
    let slow: Vec<TcpStream> = (0..100).map(begin).collect();
    assert_eq!(service.get("/").status, 200);
    drop(slow);
}

#[test]
fn requests_need_a_token_with_a_sufficient_role() {
    let offline_env = offline_env("");
    let file = |name: &str, token: &str| {
        fs::write(offline_env.path(name), token).unwrap();
        offline_env.path(name).display().to_string()
    };
    let (reads, runs) = ("token-that-reads-everything", "token-that-also-runs-jobs");
    let metrics = "token-that-reads-metrics";
    let tokens = [(file("a", reads), "read"), (file("b", runs), "run"), (file("c", metrics), "metrics")];
    let tokens = tokens.map(|(file, role)| format!("{{ file = '{file}', role = '{role}' }}")).join(", ");
    offline_env.configure(&format!("{}[serve]\nallow = ['run']\ntokens = [{tokens}]\n", job()));
    let service = start(&offline_env);
    let request =
        |line: &str, token: &str| service.request(line, &[&format!("Authorization: Bearer {token}")], "").status;
    let answer = service.get("/");
    assert_eq!((answer.status, answer.body.contains("main/shop")), (401, false));
    assert!(answer.body.contains("Sign in") && answer.headers.contains("www-authenticate: bearer"));
    assert_eq!(service.request("GET /api/v1/status", &[], "").status, 401);
    assert_eq!((request("GET /", "wrong"), request("GET /", reads), request("GET /", metrics)), (401, 200, 403));
    assert_eq!((request("GET /metrics", metrics), request("GET /metrics", reads)), (200, 200));
    assert_eq!((request("POST /jobs/x/run", reads), request("POST /jobs/x/run", runs)), (403, 404));
    assert_eq!((service.get("/healthz").status, service.get("/assets/style.css").status), (200, 200));

    let form = ["Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(service.request("POST /login", &form, "token=wrong").status, 401);
    let answer = service.request("POST /login", &form, &format!("token={reads}"));
    assert_eq!(answer.status, 303);
    assert!(answer.headers.contains("httponly; samesite=strict"), "{}", answer.headers);
    let cookie = answer.headers.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    assert!(!cookie.contains(reads));
    let cookie = format!("Cookie: {cookie}");
    assert_eq!(service.request("GET /", &[&cookie], "").status, 200);
    let same = "Sec-Fetch-Site: same-origin";
    assert_eq!(service.request("POST /jobs/nightly/run", &[&cookie, same], "").status, 403);
    assert_eq!(service.request("POST /logout", &[&cookie, same], "").status, 303);
    assert_eq!(service.request("GET /", &[&cookie], "").status, 401);
    // Guessing is limited, also for the right token.
    let wrong = (0..20).map(|_| request("GET /", "wrong")).filter(|status| *status == 429).count();
    assert!(wrong > 0 && request("GET /", reads) == 429);
    let refused = service.request("GET /api/v1/status", &["Authorization: Bearer wrong"], "");
    assert!(refused.body.contains("too many wrong tokens from 127.0.0.1"), "{refused:?}");
    assert!(refused.headers.contains("retry-after: 5"), "{refused:?}");
    assert!(
        service.log().contains("refused with status 429: too many wrong tokens from 127.0.0.1"),
        "{}",
        service.log()
    );
    assert!(!service.log().contains("token-that"), "{}", service.log());
}

#[test]
fn address_of_other_hosts_needs_authentication() {
    let offline_env = offline_env("");
    let result = offline_env.longshore(&["serve", "--listen", "0.0.0.0:0"]).expect(1);
    result.shows("\"0.0.0.0:0\": other hosts reach this address, and requests need no token").shows("auth = \"none\"");
    offline_env.longshore(&["serve", "--listen", "localhost:1"]).expect(1);
    offline_env.configure(&format!("{}[serve]\nauth = 'none'\n", job()));
    let service = Service::start_on(offline_env.command(&["serve", "--listen", "0.0.0.0:0"]).arg("--no-schedule"));
    assert!(service.log().contains("serving http://0.0.0.0:"));
    // Without a service manager, each line of the log has its time.
    let line = service.log().lines().next().unwrap().to_owned();
    let (time, _) = line.split_once(' ').unwrap();
    assert!(time.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{line}");
    let allowed = format!("{}[serve]\nallow = ['run']\n", job());
    offline_env.configure(&allowed);
    let mut viewing = offline_env.command(&["serve", "--listen", "127.0.0.1:0", "--no-schedule"]);
    let service = Service::start_on(&mut viewing);
    wait_for("the note", || service.log().contains("--no-schedule: starts no job, although allow").then_some(()));
    let refused = service.request("POST /jobs/nightly/run", &["Sec-Fetch-Site: same-origin"], "");
    assert!(refused.status == 403 && refused.body.contains("started with --no-schedule"), "{refused:?}");
}

#[test]
fn unchanged_bucket_costs_lists_alone() {
    let (test_env, garage) = (TestEnv::new(), Garage::single_node());
    let remote = [("offsite", test_env.in_bucket(&garage, "acme", Permission::Everything, ""))];
    test_env.configure(&Job { remote: &remote, more: "max_age = 'none'\n[serve]\nrefresh = '1s'", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["verify"]).expect(0);
    let service = Service::start(test_env.command().args(["-vv"]));
    service.wait_until_ready();
    let lines = |log: &str, part: &str| log.lines().filter(|line| line.contains("GET") && line.contains(part)).count();
    let fetched = |log: &str| lines(log, ".json");
    let listed = |log: &str| lines(log, "list-type");
    wait_for("a second list", || (listed(&service.log()) >= 2).then_some(()));
    let (before, first) = (fetched(&service.log()), listed(&service.log()));
    assert!(before >= 2, "{}", service.log());
    wait_for("further lists", || (listed(&service.log()) >= first + 3).then_some(()));
    assert_eq!(fetched(&service.log()), before, "{}", service.log());
    // A new backup is read without a restart.
    test_env.longshore(&["run"]).expect(0);
    let backups = || service.json("/api/v1/backups").as_array().unwrap().len();
    wait_for("the new backups", || (backups() == 4).then_some(()));
}

mod slow {
    use super::*;

    /// The number of series, each with 33 backups at two destinations.
    const SERIES: usize = 300;

    #[test]
    fn large_fleet_has_a_small_page_and_bounded_memory() {
        let offline_env = OfflineEnv::new(&format!("{}[serve]\nrefresh = '2s'\n", job()));
        for series in 0..SERIES {
            let database = format!("customer_{series:03}");
            for day in 0..33 {
                let hours = 24 * day + 5;
                offline_env.add_backup(&ForgedBackup { database: &database, hours, ..ForgedBackup::default() });
            }
        }
        let service = start(&offline_env);
        wait_for("all backups", || service.get("/").body.contains("customer_299").then_some(()));
        let home = service.get("/");
        assert!(home.body.len() <= 150_000, "{} bytes", home.body.len());
        assert_eq!(home.body.matches("href=\"/series/").count(), SERIES);
        let time = || service.json("/api/v1/status")["time"].clone();
        for _ in 0..4 {
            let before = time();
            wait_for("another read", || (time() != before).then_some(()));
        }
        assert!(service.memory_kib() < 100 << 10, "{} KiB", service.memory_kib());
    }
}
