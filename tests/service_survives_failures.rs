//! Runs are processes of their own: the service may be stopped, killed or reloaded at any time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::service::Service;
use crate::support::{Job, TestEnv, files, wait_for};

const RUN: &str = "POST /jobs/nightly/run";
const FROM_PAGE: &[&str] = &["Sec-Fetch-Site: same-origin"];

/// An environment with a database `shop` with a table, and a service that may run its job.
fn runnable(serve: &str) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create table orders as select generate_series(1, 1000) as id");
    let more = format!("max_age = '26h'\n[serve]\nallow = ['run']\n{serve}");
    test_env.configure(&Job { more: &more, ..Job::default() });
    test_env
}

/// Returns the number of run reports at the destination.
fn reports(test_env: &TestEnv) -> usize {
    let folder = test_env.local().join("main/runs/nightly");
    let names = std::fs::read_dir(folder).map(|all| all.filter_map(Result::ok).map(|entry| entry.file_name()));
    let is_report = |name: &std::ffi::OsString| name.to_string_lossy().matches('.').count() == 1;
    names.map(|names| names.filter(is_report).count()).unwrap_or_default()
}

#[test]
fn run_is_a_process_with_live_progress() {
    let test_env = runnable("");
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    let lock = test_env.lock_table("shop", "orders");
    assert_eq!(service.request(RUN, FROM_PAGE, "").status, 202);
    assert_eq!(service.request(RUN, FROM_PAGE, "").status, 409);
    wait_for("the progress", || service.get("/").body.contains(">shop<").then_some(()));
    assert!(service.get("/").body.contains("run nightly, since"));
    let mut events = TcpStream::connect(service.address()).unwrap();
    events.write_all(format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", service.address()).as_bytes()).unwrap();
    drop(lock);
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains("event: running\ndata: 0\n") {
        let bytes = events.read(&mut buffer).unwrap();
        assert!(bytes > 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..bytes]);
    }
    assert!(text.contains("event: progress\ndata: ") && text.contains("event: state\ndata: 20"), "{text}");
    wait_for("the report", || (service.json("/api/v1/runs").as_array().unwrap().len() == 1).then_some(()));
    let run = &service.json("/api/v1/runs")[0];
    assert_eq!((&run["outcome"], &run["verb"]), (&"done".into(), &"run".into()));
    let page = service.get(&format!("/runs/{}", run["id"].as_str().unwrap()));
    assert!(page.status == 200 && page.body.contains("Exit code"), "{}", page.body);
    let home = service.get("/").body;
    assert!(home.contains("Nothing is running") && home.contains("main/shop"), "{home}");
}

#[test]
fn killed_service_loses_no_run() {
    let test_env = runnable("");
    let service = Service::start(&mut test_env.command());
    let lock = test_env.lock_table("shop", "orders");
    assert_eq!(service.request(RUN, FROM_PAGE, "").status, 202);
    wait_for("the dump", || {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'shop'";
        (test_env.cluster.psql("postgres", waiting) != "0").then_some(())
    });
    service.signal("KILL");
    service.wait();
    // A new service shows that the run is in progress, and starts no second one.
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    wait_for("the run", || service.get("/").body.contains("run nightly, since").then_some(()));
    assert_eq!(
        (service.json("/api/v1/running")[0]["origin"].as_str(), service.request(RUN, FROM_PAGE, "").status),
        (Some("other"), 409)
    );
    drop(lock);
    wait_for("the report", || (reports(&test_env) == 1).then_some(()));
    wait_for("the end of the run", || service.get("/").body.contains("Nothing is running").then_some(()));
    test_env.longshore(&["status"]).expect(0).shows("main/shop");
    // The report is shown, although none of the processes of this service made it.
    drop(service);
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    assert_eq!(service.json("/api/v1/runs")[0]["outcome"], "done");
}

#[test]
fn run_by_hand_is_shown_while_it_works() {
    let test_env = runnable("");
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    std::fs::write(test_env.config_path(), config.replace("allow = ['run']", "")).unwrap();
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    assert!(!service.get("/").body.contains("Running now"));
    let lock = test_env.lock_table("shop", "orders");
    let mut by_hand = test_env.command().arg("run").spawn().unwrap();
    let home = wait_for("the run", || Some(service.get("/").body).filter(|home| home.contains("run nightly, since")));
    assert!(home.contains("Running now") && home.contains("Started outside this service"), "{home}");
    // A run that is killed is no longer shown.
    by_hand.kill().unwrap();
    by_hand.wait().unwrap();
    drop(lock);
    wait_for("its end", || (!service.get("/").body.contains("run nightly, since")).then_some(()));
    assert_eq!(service.json("/api/v1/running"), serde_json::json!([]));
}

#[test]
fn schedule_that_cannot_be_evaluated_needs_attention() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}schedule = '0 3 * * *'\n[serve]\nschedule = true\n"));
    offline_env.add_backup(&ForgedBackup::default());
    std::fs::create_dir_all(offline_env.path("state")).unwrap();
    // The past runs cannot be listed.
    std::fs::write(offline_env.path("state/runs"), "").unwrap();
    let service = Service::start(&mut offline_env.command(&[]));
    service.wait_until_ready();
    let issue = wait_for("the problem", || {
        let status = service.json("/api/v1/status");
        status["attention"].as_array()?.iter().find(|issue| issue["matter"] == "schedule_failed").cloned()
    });
    assert_eq!(issue["level"], "critical");
    assert!(service.get("/").body.contains("the schedules cannot be evaluated, so no job starts"));
    let metrics = service.request("GET /metrics", &[], "").body;
    assert!(metrics.contains("longshore_schedule_last_evaluation_successful 0.0\n"), "{metrics}");
    std::fs::remove_file(offline_env.path("state/runs")).unwrap();
    drop(service);
    let service = Service::start(&mut offline_env.command(&[]));
    service.wait_until_ready();
    let metrics = service.request("GET /metrics", &[], "").body;
    assert!(metrics.contains("longshore_schedule_last_evaluation_successful 1.0\n"), "{metrics}");
}

#[test]
fn stop_waits_for_runs_and_then_ends_them() {
    let test_env = runnable("stop_timeout = '1s'\n");
    let service = Service::start(&mut test_env.command());
    let lock = test_env.lock_table("shop", "orders");
    assert_eq!(service.request(RUN, FROM_PAGE, "").status, 202);
    wait_for("the dump", || {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'shop'";
        (test_env.cluster.psql("postgres", waiting) != "0").then_some(())
    });
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(reports(&test_env), 1, "the run ended with a report");
    drop(lock);
    test_env.longshore(&["status"]).expect(3).shows("last run was interrupted");
    assert!(files(&test_env.local()).iter().all(|file| !file.contains("shop")));
}

#[test]
fn run_with_an_invalid_configuration_is_shown() {
    let test_env = runnable("");
    let notices = test_env.path("notices");
    let program = test_env.path("notify.sh");
    std::fs::write(&program, format!("#!/bin/sh\ncat >>{0}\necho >>{0}\n", notices.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let channel =
        format!("[notify.ops]\ntype = 'exec'\nprogram = ['{}']\non = ['run_failed', 'recovered']\n", program.display());
    let configured = std::fs::read_to_string(test_env.config_path()).unwrap();
    std::fs::write(test_env.config_path(), format!("{configured}\n{channel}")).unwrap();
    let sent = || -> Vec<(String, String)> {
        let lines = std::fs::read_to_string(&notices).unwrap_or_default();
        let notices = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        notices.map(|notice| (text(&notice["event"]), text(&notice["state"]))).collect()
    };
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    let valid = std::fs::read_to_string(test_env.config_path()).unwrap();
    std::fs::write(test_env.config_path(), format!("{valid}\nunknown = 1\n")).unwrap();
    assert_eq!(service.request(RUN, FROM_PAGE, "").status, 202);
    wait_for("the banner", || service.get("/").body.contains("A task could not begin").then_some(()));
    assert!(service.log().contains("config check` shows why"), "{}", service.log());
    // It left no report, so that only the service can report it.
    assert_eq!(reports(&test_env), 0);
    wait_for("the notice", || (sent() == [("run_failed".to_owned(), "onset".to_owned())]).then_some(()));
    let home = service.get("/").body;
    assert!(home.contains("run ended with exit status: 1, and left no report"), "{home}");
    assert_eq!(service.json("/api/v1/status")["attention"][0]["matter"], "run_unreported");
    std::fs::write(test_env.config_path(), valid).unwrap();
    assert_eq!(service.request(RUN, FROM_PAGE, "").status, 202);
    wait_for("the end of the run", || (!service.get("/").body.contains("A task could not begin")).then_some(()));
    assert_eq!(reports(&test_env), 1);
    wait_for("the end of the problem", || (sent().last()?.1 == "recovered").then_some(()));
    assert_eq!(sent().len(), 2);
    assert!(!service.get("/").body.contains("left no report"));
}

/// Changes the time of the only run report of this host to two hours before.
fn age_report(test_env: &TestEnv) {
    let folder = test_env.path("state/runs");
    let mut names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.matches('.').count() == 2 && name.ends_with(".json")).unwrap();
    let text = std::fs::read_to_string(folder.join(&name)).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
    for field in ["begun", "ended"] {
        let time: DateTime<Utc> = report[field].as_str().unwrap().parse().unwrap();
        report[field] = (time - TimeDelta::hours(2)).to_rfc3339().into();
    }
    let begun: DateTime<Utc> = report["begun"].as_str().unwrap().parse().unwrap();
    let id = report["id"].as_str().unwrap().to_owned();
    let aged = format!("{}{}", begun.format("%Y-%m-%d_%H%M%S"), &id["2026-06-07_091500".len()..]);
    report["id"] = aged.clone().into();
    std::fs::remove_file(folder.join(&name)).unwrap();
    std::fs::write(folder.join(name.replace(&id, &aged)), report.to_string()).unwrap();
}

#[test]
fn missed_run_is_caught_up_once() {
    let test_env = TestEnv::new();
    let configure = |serve: &str| {
        let more = format!("max_age = '26h'\nschedule = '0 * * * *'\n[serve]\n{serve}");
        test_env.configure(&Job { more: &more, ..Job::default() });
    };
    configure("");
    test_env.longshore(&["run"]).expect(0);
    age_report(&test_env);
    // A schedule alone only describes a timer.
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    assert!(!service.get("/").body.contains("Running now"));
    drop(service);
    assert_eq!(reports(&test_env), 1);
    configure("schedule = true\n");
    let service = Service::start(&mut test_env.command());
    wait_for("the report", || (reports(&test_env) == 2).then_some(()));
    wait_for("the run", || service.log().contains("run nightly: exit status: 0").then_some(()));
    test_env.longshore(&["serve", "--listen", "127.0.0.1:0"]).expect(5);
    test_env.longshore(&["schedule"]).shows("longshore serve");
    drop(service);
    let service = Service::start(&mut test_env.command());
    service.wait_until_ready();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(service.get("/").body.contains("Nothing is running") && reports(&test_env) == 2);
}

#[test]
fn bad_reload_keeps_the_old_configuration() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}max_age = '26h'\n"));
    offline_env.add_backup(&ForgedBackup::default());
    let service = Service::start(&mut offline_env.command(&[]));
    service.wait_until_ready();
    offline_env.configure(&format!("{NIGHTLY}max_age = '26h'\nnonsense = 1\n"));
    service.signal("HUP");
    wait_for("the banner", || service.get("/").body.contains("The configuration was not reloaded").then_some(()));
    let reloaded = |value: u8| {
        let line = format!("longshore_config_last_reload_successful {value}.0\n");
        service.request("GET /metrics", &[], "").body.contains(&line)
    };
    assert!(reloaded(0));
    let home = service.get("/").body;
    // The line of the file is shown, without the mark beneath it.
    assert!(home.contains("nonsense = 1") && !home.contains("\\n") && !home.contains('^'), "{home}");
    assert!(home.contains("nonsense") && home.contains("main/shop") && home.contains(">26 h<"), "{home}");
    offline_env.configure(&format!("{NIGHTLY}max_age = '50h'\n"));
    service.signal("HUP");
    wait_for("the new limit", || service.get("/").body.contains(">2 d<").then_some(()));
    assert!(reloaded(1) && !service.get("/").body.contains("was not reloaded"));
    // A socket that other hosts reach keeps its protection, also if the file names another one.
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    let public = format!("{NIGHTLY}max_age = '50h'\n[serve]\nlisten = '0.0.0.0:0'\n");
    offline_env.configure(&format!("{public}auth = 'none'\n"));
    let service = Service::start_on(&mut offline_env.command(&["serve"]));
    offline_env.configure(&public.replace("0.0.0.0", "127.0.0.1"));
    service.signal("HUP");
    wait_for("the refusal", || service.log().contains("requests need no token").then_some(()));
}

#[test]
fn destination_that_does_not_answer_delays_nothing() {
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let secret =
        "[destination.dead]\ntype = 's3'\nbucket = 'b'\nregion = 'r'\nallow_http = true\naccess_key_id = 'k'\n";
    let offline_env = OfflineEnv::new("");
    std::fs::write(offline_env.path("secret"), "secret").unwrap();
    std::fs::set_permissions(offline_env.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    offline_env.configure(&format!(
        "{secret}secret_access_key_file = '{}'\nendpoint = 'http://{}'\n{NIGHTLY}max_age = '26h'\n",
        offline_env.path("secret").display(),
        hanging.local_addr().unwrap()
    ));
    offline_env.add_backup(&ForgedBackup::default());
    let begun = Instant::now();
    let service = Service::start(&mut offline_env.command(&[]));
    service.wait_until_ready();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let home = service.get("/").body;
    assert!(home.contains("has not answered yet") && home.contains("main/shop"), "{home}");
}

#[test]
fn service_manager_passes_the_socket_and_is_notified() {
    let offline_env = OfflineEnv::new(NIGHTLY);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let notifications = UnixDatagram::bind(offline_env.path("notify")).unwrap();
    notifications.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let inner = offline_env.command(&["serve"]);
    let mut command = Command::new("sh");
    // The socket is descriptor 3, as the service manager passes it.
    command.args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 WATCHDOG_PID=$$ exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).env("HOME", offline_env.path(""));
    command.env("NOTIFY_SOCKET", offline_env.path("notify")).env("WATCHDOG_USEC", "3000000");
    command.stdin(OwnedFd::from(listener)).env_remove("LONGSHORE_CONFIG");
    let service = Service::start_on(&mut command);
    assert_eq!(service.address(), address.to_string());
    let mut buffer = [0; 512];
    let mut next = || {
        let bytes = notifications.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..bytes]).into_owned()
    };
    let mut expect = |text: &str| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !next().contains(text) {
            assert!(Instant::now() < deadline, "{text}");
        }
    };
    expect("READY=1");
    expect("WATCHDOG=1");
    service.signal("HUP");
    expect("RELOADING=1\nMONOTONIC_USEC=");
    expect("READY=1");
    service.signal("TERM");
    expect("STOPPING=1");
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn socket_of_this_host_is_served_and_removed() {
    let offline_env = OfflineEnv::new(NIGHTLY);
    let path = offline_env.path("serve.sock");
    let listen = format!("unix:{}", path.display());
    let mut child = offline_env.command(&["serve", "--listen", &listen]).spawn().unwrap();
    wait_for("the socket", || path.exists().then_some(()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    // Another service does not take the socket of a running one.
    offline_env.longshore(&["serve", "--listen", &listen]).expect(2).shows("cannot listen on it");
    let stopped = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(stopped.success() && child.wait().unwrap().success() && !path.exists());
}
