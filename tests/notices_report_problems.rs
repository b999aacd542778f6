//! Notices report each problem once, remind of it, and report its end. A channel that fails neither
//! fails a run nor reveals a secret.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::{CommandOutput, Job, TestEnv};

const SECRET: &str = "hunter2-geheim";

/// The behaviour of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Answers(u16),
    Closes,
    Hangs,
}

/// A server that records requests.
struct Server {
    url: String,
    requests: Receiver<(String, String)>,
}

impl Server {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{SECRET}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for connection in listener.incoming() {
                let (request, connection) = receive(connection.unwrap(), behaviour);
                // The test may have ended.
                if sender.send(request).is_err() {
                    return;
                }
                open.push(connection.filter(|_| behaviour == Behaviour::Hangs));
            }
        });
        Self { url, requests }
    }

    /// Returns the requests since the last call: the path and the body.
    fn requests(&self) -> Vec<(String, String)> {
        self.requests.try_iter().collect()
    }

    /// Returns the notices since the last call.
    fn notices(&self) -> Vec<Value> {
        self.requests().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    /// Returns the events and the states of the notices since the last call.
    fn events(&self) -> Vec<String> {
        let text = |notice: &Value, field: &str| notice[field].as_str().unwrap().to_owned();
        self.notices().iter().map(|notice| format!("{} {}", text(notice, "event"), text(notice, "state"))).collect()
    }
}

fn receive(connection: TcpStream, behaviour: Behaviour) -> ((String, String), Option<TcpStream>) {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if let Some(value) = header.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut connection = reader.into_inner();
    if let Behaviour::Answers(status) = behaviour {
        write!(connection, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    }
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let is_open = behaviour == Behaviour::Hangs;
    ((path, String::from_utf8(body).unwrap()), is_open.then_some(connection))
}

fn webhook(name: &str, server: &Server, more: &str) -> String {
    format!("[notify.{name}]\ntype = 'webhook'\nurl = '{}'\n{more}\n", server.url)
}

/// Configures a job that dumps the roles, or one that fails since its server is unreachable.
fn configure(test_env: &TestEnv, works: bool, channels: &str) {
    let job = Job { dump: "[{ type = 'pg_dumpall' }]", more: channels, ..Job::default() };
    match works {
        true => test_env.configure(&job),
        false => test_env.configure_with_connection(&job, "host=127.0.0.1 port=1 user=postgres"),
    }
}

#[test]
fn failure_is_reported_once_and_its_end_once() {
    let test_env = TestEnv::new();
    let (server, pings) = (Server::start(Behaviour::Answers(200)), Server::start(Behaviour::Answers(200)));
    let channels = webhook("ops", &server, "")
        + &webhook("other", &server, "jobs = ['weekly']")
        + &format!("[notify.switch]\ntype = 'healthchecks'\nurl = '{}'\n", pings.url);
    configure(&test_env, false, &channels);
    test_env.longshore(&["run"]).expect(2);
    let notices = server.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let notice = &notices[0];
    assert_eq!(
        (&notice["event"], &notice["state"], &notice["job"]),
        (&"run_failed".into(), &"onset".into(), &"nightly".into())
    );
    assert_eq!((&notice["exit_code"], &notice["detail"]), (&2.into(), &Value::Null));
    assert!(!notice["text"].as_str().unwrap().contains("127.0.0.1"), "an error's message names a host: {notice}");
    test_env.longshore(&["run"]).expect(2);
    assert_eq!(server.events(), [""; 0]);
    configure(&test_env, true, &channels);
    test_env.longshore(&["run"]).expect(0);
    assert_eq!(server.events(), ["run_failed recovered"]);
    test_env.longshore(&["run"]).expect(0);
    assert_eq!(server.events(), [""; 0]);
    // A dead man's switch receives the begin and the end of every run.
    let signals: Vec<String> =
        pings.requests().iter().map(|(path, _)| path.split(['/', '?']).nth(2).unwrap().to_owned()).collect();
    assert_eq!(signals, ["start", "2", "start", "2", "start", "0", "start", "0"]);
    // A run that a hook skips is no success: the switch records it, and still waits for a run.
    let hook = "[[job.nightly.hook]]\nwhen = 'before'\nprogram = ['/bin/sh', '-c', 'exit 75']\n";
    configure(&test_env, true, &format!("{hook}{channels}"));
    test_env.longshore(&["run"]).expect(0).shows("the run was skipped");
    let pings: Vec<_> = pings
        .requests()
        .into_iter()
        .map(|(path, body)| (path.split(['/', '?']).nth(2).unwrap().to_owned(), body))
        .collect();
    assert!(pings.len() == 1 && pings[0].0 == "log" && pings[0].1.contains("skipped by a hook"), "{pings:?}");
    assert_eq!(server.events(), [""; 0]);
    // Without the memory, a problem is reported again.
    configure(&test_env, false, &channels);
    test_env.longshore(&["run"]).expect(2);
    for file in fs::read_dir(test_env.path("state")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("notices-") {
            fs::write(path, "damaged").unwrap();
        }
    }
    test_env.longshore(&["run"]).expect(2);
    assert_eq!(server.events(), ["run_failed onset", "run_failed onset"]);
}

#[test]
fn detail_and_reminder_are_settings() {
    let test_env = TestEnv::new();
    let server = Server::start(Behaviour::Answers(200));
    configure(&test_env, false, &webhook("ops", &server, "detail = true\nremind = '0s'"));
    test_env.longshore(&["run"]).expect(2);
    test_env.longshore(&["run"]).expect(2);
    let notices = server.notices();
    assert_eq!((&notices[0]["state"], &notices[1]["state"]), (&"onset".into(), &"reminder".into()));
    assert!(notices[0]["detail"].as_str().unwrap().contains("127.0.0.1"), "{notices:?}");
    assert_eq!(notices[0]["since"], notices[1]["since"]);
    configure(&test_env, false, &webhook("ops", &server, "on = ['damaged']"));
    test_env.longshore(&["run"]).expect(2);
    assert_eq!(server.events(), [""; 0]);
}

#[test]
fn failing_channel_changes_no_exit_code_and_reveals_no_secret() {
    let test_env = TestEnv::new();
    for (behaviour, reason) in [(Behaviour::Answers(500), "answered 500"), (Behaviour::Closes, "closed the connection")]
    {
        let server = Server::start(behaviour);
        configure(&test_env, true, &webhook("ops", &server, "on = ['run_ok', 'run_failed']"));
        let result = test_env.longshore(&["run", "-vv"]).expect(0);
        let result = result.shows("a notice was not sent to \"ops\"").shows(reason).omits(SECRET);
        assert_eq!(server.requests().len(), 3, "{result:?}");
        configure(&test_env, false, &webhook("ops", &server, ""));
        test_env.longshore(&["run"]).expect(2).shows("a notice was not sent").omits(SECRET);
    }
    // A later run sends what was not sent.
    let server = Server::start(Behaviour::Answers(200));
    configure(&test_env, false, &webhook("ops", &server, ""));
    test_env.longshore(&["run"]).expect(2);
    assert_eq!(server.events(), ["run_failed onset"]);
    let metrics = test_env.longshore(&["status", "--prometheus"]).stdout;
    assert!(metrics.contains("longshore_notifications_total{channel=\"ops\",outcome=\"failed\"} 4.0"), "{metrics}");
    assert!(metrics.contains("longshore_notifications_total{channel=\"ops\",outcome=\"sent\"} 1.0"), "{metrics}");
}

#[test]
fn status_reports_what_no_run_can_notice() {
    let (server, offline_env) = (Server::start(Behaviour::Answers(200)), OfflineEnv::new(""));
    let lines = format!("{NIGHTLY}max_age = '26h'\n{}", webhook("ops", &server, ""));
    offline_env.configure(&lines);
    offline_env.add_backup(&ForgedBackup { hours: 30, ..ForgedBackup::default() });
    let notify = || offline_env.longshore(&["status", "--notify"]).expect(0);
    assert_eq!(notify().stdout, "");
    let notices = server.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!((&notices[0]["event"], &notices[0]["series"]), (&"stale".into(), &"main/shop".into()));
    assert!(notices[0]["text"].as_str().unwrap().contains("max_age is 26h"), "{notices:?}");
    notify();
    assert_eq!(server.events(), [""; 0]);
    // Without a view of all destinations, no problem there is known to be over.
    offline_env.add_backup(&ForgedBackup { hours: 2, ..ForgedBackup::default() });
    fs::rename(offline_env.path("nas"), offline_env.path("elsewhere")).unwrap();
    notify();
    assert_eq!(server.events(), ["unreadable onset"]);
    fs::rename(offline_env.path("elsewhere"), offline_env.path("nas")).unwrap();
    notify();
    let mut events = server.events();
    events.sort();
    assert_eq!(events, ["stale recovered", "unreadable recovered"]);
}

#[test]
fn damage_is_one_problem_of_verify_and_status() {
    let (server, offline_env) = (Server::start(Behaviour::Answers(200)), OfflineEnv::new(""));
    offline_env.configure(&format!("{NIGHTLY}max_age = 'none'\n{}", webhook("ops", &server, "")));
    offline_env.add_backup(&ForgedBackup { hours: 3, ..ForgedBackup::default() });
    // A forged backup is no dump.
    offline_env.add_backup(&ForgedBackup::default());
    offline_env.longshore(&["verify"]).expect(4);
    assert_eq!(server.events(), ["warning onset", "damaged onset"]);
    offline_env.longshore(&["status", "--notify"]).expect(0);
    assert_eq!(server.events(), [""; 0]);
    offline_env.longshore(&["mark", "shop", "--withdraw", "--why", "a test"]).expect(0);
    offline_env.longshore(&["status", "--notify"]).expect(0);
    assert_eq!(server.events(), ["damaged recovered"]);
}

#[test]
fn test_notice_is_sent_to_one_channel() {
    let (server, offline_env) = (Server::start(Behaviour::Answers(200)), OfflineEnv::new(""));
    offline_env.configure(&webhook("ops", &server, ""));
    offline_env.longshore(&["notify", "test", "ops"]).expect(0).shows("sent a test to \"ops\"");
    assert_eq!(server.events(), ["warning test"]);
    offline_env.longshore(&["notify", "test", "opps"]).expect(1).shows("did you mean").shows("ops");
    let broken = Server::start(Behaviour::Answers(404));
    offline_env.configure(&webhook("ops", &broken, ""));
    offline_env.longshore(&["notify", "test", "ops"]).expect(2).shows("answered 404").omits(SECRET);
}

#[test]
fn check_and_parser_find_wrong_channels() {
    let test_env = TestEnv::new();
    let check = |channel: &str| -> CommandOutput {
        configure(&test_env, true, &format!("[notify.ops]\n{channel}"));
        test_env.longshore(&["check"]).omits(SECRET)
    };
    let secret = test_env.path("secret");
    fs::write(&secret, SECRET).unwrap();
    let url = format!("url = 'http://127.0.0.1:1/{SECRET}'");
    check(&format!("type = 'webhook'\n{url}")).expect(0).shows("notify ops");
    check(&format!("type = 'webhook'\n{url}\ntemplate = '{{{{ titel }}}}'")).expect(2).shows("template is wrong");
    check(&format!("type = 'webhook'\n{url}\njobs = ['nihgtly']")).expect(0).shows("nihgtly");
    check(&format!("type = 'webhook'\n{url}\non = ['stale']")).expect(0).shows("recovered");
    let from_file = format!("type = 'slack'\nurl_file = '{}'", secret.display());
    for (mode, message) in [(0o644, "world-readable"), (0o600, "the URL is invalid")] {
        fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
        check(&from_file).expect(2).shows(message);
    }
    check(&format!("type = 'webhok'\n{url}")).expect(1).shows("did you mean");
    check(&format!("type = 'webhook'\n{url}\ntempate = 'x'")).expect(1).shows("tempate");
    check(&format!("type = 'webhook'\n{url}\non = ['broken']")).expect(1).shows("run_failed");
    check(&format!("type = 'webhook'\n{url}\non = []")).expect(1).shows("must not be empty");
    check("type = 'webhook'").expect(2).shows("set url or url_file");
}

mod slow {
    use std::time::Instant;

    use longshore_testkit::port::free_port;
    use std::process::{Command, Stdio};
    use tempfile::TempDir;

    use super::*;
    use crate::support::wait_for;

    #[test]
    fn server_that_hangs_delays_no_report_and_no_second_run() {
        let test_env = TestEnv::new();
        let server = Server::start(Behaviour::Hangs);
        configure(&test_env, true, "");
        let begun = Instant::now();
        test_env.longshore(&["run"]).expect(0);
        let usual = begun.elapsed();
        configure(&test_env, true, &webhook("ops", &server, "on = ['run_ok']"));
        let child = test_env.start(&["run"]);
        let begun = Instant::now();
        wait_for("the notice", || (!server.requests().is_empty()).then_some(()));
        assert!(begun.elapsed() < usual + Duration::from_secs(5));
        // The lock is free, and the report is stored, while the notice is not answered.
        let status = test_env.json(&["status", "--json"]);
        assert_eq!(status["jobs"][0]["last_run"]["outcome"], "done");
        assert!(status["jobs"][0]["running_since"].is_null());
        configure(&test_env, true, "");
        test_env.longshore(&["run"]).expect(0);
        let result = CommandOutput::of(child.wait_with_output().unwrap()).expect(0).omits(SECRET);
        result.shows("no answer within 10 s");
        assert!(begun.elapsed() < usual + Duration::from_secs(40));
    }

    #[test]
    fn alertmanager_takes_and_resolves_an_alert() {
        let (test_env, folder) = (TestEnv::new(), TempDir::new().unwrap());
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, "route:\n  receiver: none\nreceivers:\n  - name: none\n").unwrap();
        let port = free_port();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", folder.path().display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--cluster.listen-address=");
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut alertmanager = started.expect("prometheus-alertmanager is missing: run `cargo xtask test`");
        let channel = format!("[notify.am]\ntype = 'alertmanager'\nurl = 'http://127.0.0.1:{port}'\n");
        let alerts = || {
            let url = format!("http://127.0.0.1:{port}");
            let amtool =
                Command::new("amtool").args(["alert", "query", "-o", "json", "--alertmanager.url", &url]).output();
            let output = amtool.unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        };
        wait_for("Alertmanager", alerts);
        configure(&test_env, false, &channel);
        test_env.longshore(&["run"]).expect(2);
        wait_for("the alert", || {
            alerts().filter(|text| text.contains("LongshoreRunFailed") && text.contains("nightly"))
        });
        configure(&test_env, true, &channel);
        test_env.longshore(&["run"]).expect(0);
        wait_for("the end of the alert", || alerts().filter(|text| !text.contains("LongshoreRunFailed")));
        alertmanager.kill().unwrap();
        alertmanager.wait().unwrap();
    }
}
