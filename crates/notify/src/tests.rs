//! Channels against servers on loopback.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use longshore_core::{Kind, Result};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const SECRET: &str = "hunter2-geheim";

/// The behaviour of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// Answers with this status.
    Answers(u16),
    /// Answers with status 404, and repeats the path of the request.
    Repeats,
    /// Closes each connection without an answer.
    Closes,
    /// Never answers.
    Hangs,
}

/// A request as received.
#[derive(Debug, Clone)]
struct Received {
    /// The method and the path.
    line: String,
    headers: String,
    body: String,
}

impl Received {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Starts a server, which returns the requests when the test reads them.
async fn server(behaviour: Behaviour) -> (String, tokio::sync::mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Ok(received) = answer(connection, behaviour).await {
                    sender.send(received).unwrap();
                }
            });
        }
    });
    (url, receiver)
}

async fn answer(connection: TcpStream, behaviour: Behaviour) -> std::io::Result<Received> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        connection.read_line(&mut headers).await?;
    }
    let length =
        headers.lines().find_map(|header| header.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).await?;
    match behaviour {
        Behaviour::Closes => {}
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::Repeats => {
            let body = format!("no_service for\n{line} \u{1b}[31m{}", "x".repeat(1000));
            let head = format!("HTTP/1.1 404 x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            connection.write_all((head + &body).as_bytes()).await?;
        }
        Behaviour::Answers(status) => {
            let response = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.write_all(response.as_bytes()).await?;
        }
    }
    let body = String::from_utf8(body).unwrap();
    Ok(Received { line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), headers, body })
}

fn notice(state: State) -> Notice {
    Notice {
        job: Some("nightly".to_owned()),
        run: Some("2026-06-07_091500-run-1f0c9a7e".to_owned()),
        exit_code: Some(2),
        ..Notice::new(Event::RunFailed, state, "db1", "a \"title\"".to_owned(), "the\ntext".to_owned())
    }
}

fn webhook(url: &str) -> Webhook {
    Webhook {
        url: Some(url.to_owned().into()),
        url_file: None,
        method: Default::default(),
        headers: Default::default(),
        token_file: None,
        template: None,
        content_type: "application/json".to_owned(),
    }
}

fn secret_file(folder: &TempDir, secret: &str) -> std::path::PathBuf {
    let path = folder.path().join("secret");
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

async fn send(settings: &Settings, state: State) -> Result<()> {
    let channel = Channel::new("ops", settings, DAY)?;
    channel.check()?;
    channel.send(&notice(state)).await
}

#[tokio::test]
async fn webhook_posts_the_notice_as_json() {
    let (url, mut requests) = server(Behaviour::Answers(200)).await;
    let folder = TempDir::new().unwrap();
    let settings = Webhook {
        token_file: Some(secret_file(&folder, SECRET)),
        headers: [("X-Team".to_owned(), "dba".to_owned())].into(),
        ..webhook(&format!("{url}/hook?key=1"))
    };
    send(&Settings::Webhook(settings), State::Onset).await.unwrap();
    let received = requests.recv().await.unwrap();
    assert_eq!(received.line, "POST /hook?key=1");
    let headers = received.headers.to_lowercase();
    assert!(headers.contains(&format!("authorization: bearer {SECRET}")) && headers.contains("x-team: dba"));
    let json = received.json();
    assert_eq!(
        (&json["event"], &json["state"], &json["job"]),
        (&"run_failed".into(), &"onset".into(), &"nightly".into())
    );
    assert_eq!((&json["format"], &json["severity"], &json["exit_code"]), (&1.into(), &"critical".into(), &2.into()));
}

#[tokio::test]
async fn template_sees_all_fields_and_no_unknown_one() {
    let (url, mut requests) = server(Behaviour::Answers(204)).await;
    let template = |text: &str| {
        Settings::Webhook(Webhook {
            template: Some(text.to_owned()),
            content_type: "text/plain".to_owned(),
            ..webhook(&url)
        })
    };
    send(&template("{{ event }}: {{ title }} ({{ job }}, {{ exit_code }})"), State::Onset).await.unwrap();
    assert_eq!(requests.recv().await.unwrap().body, "run_failed: a \"title\" (nightly, 2)");
    for wrong in ["{{ titel }}", "{{ title", "{% if severity == 'info' %}{{ missing }}{% endif %}"] {
        let error = send(&template(wrong), State::Onset).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{wrong}");
        assert!(error.remedy().unwrap().contains("longshore-monitoring(7)"), "{error}");
    }
}

#[tokio::test]
async fn chat_services_receive_valid_json() {
    let (url, mut requests) = server(Behaviour::Answers(200)).await;
    let folder = TempDir::new().unwrap();
    let token_file = secret_file(&folder, "123:abc_DEF-9");
    let secret_url = || Some(SecretString::from(format!("{url}/hook")));
    let url = || SecretString::from(format!("{url}/"));
    let ntfy = Ntfy { url: url(), topic: "backups".to_owned(), token_file: Some(token_file.clone()) };
    send(&Settings::Ntfy(ntfy), State::Onset).await.unwrap();
    let received = requests.recv().await.unwrap();
    assert_eq!((received.line.as_str(), &received.json()["topic"]), ("POST /", &"backups".into()));
    assert_eq!((&received.json()["title"], &received.json()["priority"]), (&"a \"title\"".into(), &5.into()));
    send(&Settings::Gotify(Gotify { url: url(), token_file: token_file.clone() }), State::Onset).await.unwrap();
    let received = requests.recv().await.unwrap();
    assert_eq!((received.line.as_str(), &received.json()["message"]), ("POST /message", &"the\ntext".into()));
    assert!(received.headers.to_lowercase().contains("x-gotify-key: 123:abc_def-9"));
    let telegram = Telegram { url: url(), token_file, chat_id: "-1001".to_owned() };
    send(&Settings::Telegram(telegram), State::Recovered).await.unwrap();
    let received = requests.recv().await.unwrap();
    assert_eq!(received.line, "POST /bot123:abc_DEF-9/sendMessage");
    assert_eq!(
        (&received.json()["chat_id"], &received.json()["text"]),
        (&"-1001".into(), &"a \"title\"\n\nthe\ntext".into())
    );
    send(&Settings::Slack(Slack { url: secret_url(), url_file: None }), State::Onset).await.unwrap();
    assert_eq!(requests.recv().await.unwrap().json()["blocks"][1]["text"]["text"], "the\ntext");
    send(&Settings::Discord(Discord { url: secret_url(), url_file: None }), State::Onset).await.unwrap();
    assert_eq!(requests.recv().await.unwrap().json()["embeds"][0]["title"], "a \"title\"");
    send(&Settings::Teams(Teams { url: secret_url(), url_file: None }), State::Onset).await.unwrap();
    assert_eq!(requests.recv().await.unwrap().json()["attachments"][0]["content"]["body"][1]["text"], "the\ntext");
}

#[tokio::test]
async fn healthchecks_receives_begin_and_exit_code() {
    let (url, mut requests) = server(Behaviour::Answers(200)).await;
    let settings = Settings::Healthchecks(Healthchecks { url: Some(format!("{url}/ping/abc").into()), url_file: None });
    let mut ids = Vec::new();
    for (state, signal) in [
        (State::Started, "start"),
        (State::Onset, "2"),
        (State::Success, "0"),
        (State::Test, "log"),
        (State::Skipped, "log"),
    ] {
        send(&settings, state).await.unwrap();
        let received = requests.recv().await.unwrap();
        let (path, id) = received.line.split_once("?rid=").unwrap();
        assert_eq!(path, format!("POST /ping/abc/{signal}"));
        assert_eq!(received.body, "the\ntext");
        ids.push(id.to_owned());
    }
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 36), "{ids:?}");
}

#[tokio::test]
async fn alertmanager_receives_begin_and_end_of_one_alert() {
    let (url, mut requests) = server(Behaviour::Answers(200)).await;
    let settings = Settings::Alertmanager(Alertmanager {
        url: url.into(),
        token_file: None,
        labels: [("team".to_owned(), "dba".to_owned())].into(),
    });
    let mut alerts = Vec::new();
    for state in [State::Onset, State::Recovered] {
        send(&settings, state).await.unwrap();
        let received = requests.recv().await.unwrap();
        assert_eq!(received.line, "POST /api/v2/alerts");
        alerts.push(received.json()[0].clone());
    }
    assert_eq!(alerts[0]["labels"], alerts[1]["labels"]);
    assert_eq!(
        (&alerts[0]["labels"]["alertname"], &alerts[0]["labels"]["team"]),
        (&"LongshoreRunFailed".into(), &"dba".into())
    );
    let end =
        |alert: &serde_json::Value| alert["endsAt"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let now = chrono::Utc::now();
    assert!(end(&alerts[0]) > now + chrono::TimeDelta::hours(24) && end(&alerts[1]) <= now);
}

#[tokio::test]
async fn temporary_failures_are_tried_three_times() {
    for (behaviour, attempts) in [
        (Behaviour::Answers(500), 3),
        (Behaviour::Answers(429), 3),
        (Behaviour::Closes, 3),
        (Behaviour::Answers(404), 1),
        (Behaviour::Answers(302), 1),
    ] {
        let (url, mut requests) = server(behaviour).await;
        let settings = Settings::Webhook(webhook(&format!("{url}/{SECRET}")));
        let error = send(&settings, State::Onset).await.unwrap_err();
        assert!(!error.chain().contains(SECRET) && error.chain().contains("127.0.0.1:"), "{}", error.chain());
        let mut received = 0;
        while requests.try_recv().is_ok() {
            received += 1;
        }
        assert_eq!(received, attempts, "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_hangs_takes_at_most_22_seconds() {
    let (url, _requests) = server(Behaviour::Hangs).await;
    let begun = tokio::time::Instant::now();
    let error = send(&Settings::Webhook(webhook(&format!("{url}/{SECRET}"))), State::Onset).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(begun.elapsed() <= Duration::from_secs(22), "{:?}", begun.elapsed());
    assert!(!error.chain().contains(SECRET), "{}", error.chain());
}

#[tokio::test]
async fn address_without_a_listener_names_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error =
        send(&Settings::Webhook(webhook(&format!("http://{address}/{SECRET}"))), State::Onset).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.chain().contains("refused") && !error.chain().contains(SECRET), "{}", error.chain());
    for wrong in [format!("ftp://{SECRET}@h/"), format!("{SECRET} at h"), String::new()] {
        let error = send(&Settings::Webhook(webhook(&wrong)), State::Onset).await.unwrap_err();
        assert!(error.kind() == Kind::Usage && !error.chain().contains(SECRET), "{}", error.chain());
    }
}

/// Returns a channel of each type that sends requests, to a server.
fn all_types(url: &str, folder: &TempDir) -> Vec<Settings> {
    let token_file = secret_file(folder, SECRET);
    let server = || SecretString::from(url.to_owned());
    let hook = || Some(SecretString::from(format!("{url}/{SECRET}")));
    vec![
        Settings::Webhook(Webhook { token_file: Some(token_file.clone()), ..webhook(&format!("{url}/{SECRET}")) }),
        Settings::Ntfy(Ntfy { url: server(), topic: "backups".to_owned(), token_file: Some(token_file.clone()) }),
        Settings::Gotify(Gotify { url: server(), token_file: token_file.clone() }),
        Settings::Telegram(Telegram { url: server(), token_file: token_file.clone(), chat_id: "1".to_owned() }),
        Settings::Slack(Slack { url: hook(), url_file: None }),
        Settings::Discord(Discord { url: hook(), url_file: None }),
        Settings::Teams(Teams { url: hook(), url_file: None }),
        Settings::Healthchecks(Healthchecks { url: hook(), url_file: None }),
        Settings::Alertmanager(Alertmanager {
            url: server(),
            token_file: Some(token_file),
            labels: Default::default(),
        }),
    ]
}

#[tokio::test]
async fn every_type_fails_without_revealing_its_secret() {
    let folder = TempDir::new().unwrap();
    for behaviour in [Behaviour::Answers(500), Behaviour::Closes] {
        let (url, _requests) = server(behaviour).await;
        let sends = all_types(&url, &folder).into_iter().map(|settings| {
            tokio::spawn(async move { (send(&settings, State::Onset).await, format!("{settings:?}")) })
        });
        for sent in sends.collect::<Vec<_>>() {
            let (result, settings) = sent.await.unwrap();
            let error = result.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{settings}");
            assert!(!error.chain().contains(SECRET) && !settings.contains(SECRET), "{}", error.chain());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mail_server_that_hangs_or_closes_is_unavailable() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = tokio::time::Instant::now();
    let error = send(&Settings::Mail(mail(hanging.local_addr().unwrap().port())), State::Onset).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
    let port = hanging.local_addr().unwrap().port();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}: the mail was not sent: no answer within 10 s")));
    assert!(error.remedy().unwrap().contains("tls"), "{error:?}");
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closing.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            drop(closing.accept().await.unwrap());
        }
    });
    assert_eq!(send(&Settings::Mail(mail(port)), State::Onset).await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn error_has_the_host_and_the_answer_without_secrets() {
    let (url, _requests) = server(Behaviour::Repeats).await;
    let error = send(&Settings::Webhook(webhook(&format!("{url}/{SECRET}"))), State::Onset).await.unwrap_err();
    let text = error.chain();
    let begin = format!("{}: the server answered 404 Not Found: no_service for POST /…", &url["http://".len()..]);
    assert!(text.contains(&begin), "{text}");
    assert!(!text.contains(SECRET) && !text.contains('\u{1b}') && text.len() < 500, "{text}");
}

#[test]
fn secrets_are_in_no_debug_output() {
    let settings = Settings::Webhook(webhook(&format!("https://h/{SECRET}")));
    assert!(!format!("{settings:?}").contains(SECRET));
}

/// Runs a conversation over SMTP, and returns the received lines.
fn smtp_server(listener: TcpListener, refuses: bool) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        let mut connection = BufReader::new(connection);
        let (mut lines, mut is_data) = (Vec::new(), false);
        connection.write_all(b"220 mx.example.net ESMTP\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await.unwrap() == 0 {
                return lines;
            }
            let line = line.trim_end().to_owned();
            let answer = match line.as_str() {
                "." if is_data => {
                    is_data = false;
                    "250 queued"
                }
                _ if is_data => "",
                "DATA" => {
                    is_data = true;
                    "354 end with a dot"
                }
                "QUIT" => "221 bye",
                _ if line.starts_with("RCPT") && refuses => "550 no such user",
                _ => "250 ok",
            };
            lines.push(line);
            if !answer.is_empty() {
                connection.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
        }
    })
}

fn mail(port: u16) -> Mail {
    Mail {
        from: "Longshore <longshore@example.net>".to_owned(),
        to: vec!["ops@example.net".to_owned(), "Dba <dba@example.net>".to_owned()],
        host: Some("127.0.0.1".to_owned()),
        port: Some(port),
        tls: settings::Encryption::None,
        user: None,
        password_file: None,
        sendmail: "/usr/sbin/sendmail".to_owned(),
    }
}

#[tokio::test]
async fn mail_is_sent_over_smtp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = smtp_server(listener, false);
    send(&Settings::Mail(mail(port)), State::Onset).await.unwrap();
    let lines = server.await.unwrap();
    let has = |wanted: &str| lines.iter().any(|line| line.contains(wanted));
    for wanted in ["MAIL FROM:<longshore@example.net>", "RCPT TO:<ops@example.net>", "RCPT TO:<dba@example.net>"] {
        assert!(has(wanted), "{wanted}: {lines:?}");
    }
    for wanted in ["Subject: a \"title\"", "Auto-Submitted: auto-generated", "text/plain", "the"] {
        assert!(has(wanted), "{wanted}: {lines:?}");
    }
}

#[tokio::test]
async fn refused_recipient_is_an_error_without_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = smtp_server(listener, true);
    let error = send(&Settings::Mail(mail(port)), State::Onset).await.unwrap_err();
    assert!(error.kind() == Kind::Failed && error.chain().contains("no such user"), "{}", error.chain());
    server.await.unwrap();
}

#[tokio::test]
async fn wrong_settings_of_mail_are_errors() {
    let folder = TempDir::new().unwrap();
    let kind = |settings: Mail| Channel::new("mail", &Settings::Mail(settings), DAY).unwrap_err().kind();
    let password_file = Some(secret_file(&folder, SECRET));
    let user = Some("ops".to_owned());
    assert_eq!(kind(Mail { to: Vec::new(), ..mail(25) }), Kind::Usage);
    assert_eq!(kind(Mail { from: "no address".to_owned(), ..mail(25) }), Kind::Usage);
    assert_eq!(kind(Mail { user: user.clone(), ..mail(25) }), Kind::Usage);
    assert_eq!(kind(Mail { user: user.clone(), password_file: password_file.clone(), ..mail(25) }), Kind::Refused);
    let encrypted = Mail { user, password_file, tls: settings::Encryption::Starttls, ..mail(25) };
    assert!(Channel::new("mail", &Settings::Mail(encrypted), DAY).is_ok());
}

/// Creates an executable script.
fn script(folder: &TempDir, body: &str) -> String {
    let path = folder.path().join("program");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn sendmail_receives_the_mail() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("mail");
    let sendmail = script(&folder, &format!("echo \"$@\" >{0}; cat >>{0}", output.display()));
    send(&Settings::Mail(Mail { host: None, sendmail, ..mail(25) }), State::Onset).await.unwrap();
    let text = fs::read_to_string(output).unwrap();
    assert!(text.starts_with("-i -- ops@example.net dba@example.net\n") && text.contains("Subject: "), "{text}");
}

#[tokio::test]
async fn program_receives_the_notice_as_json() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("notice");
    let exec = |body: &str| {
        let program = vec![script(&folder, body)];
        Settings::Exec(Exec { program, dir: None, env: Default::default(), timeout: None })
    };
    let body = format!("cat >{0}; echo $LONGSHORE_EVENT $LONGSHORE_STATE $LONGSHORE_JOB >>{0}", output.display());
    send(&exec(&body), State::Onset).await.unwrap();
    let text = fs::read_to_string(&output).unwrap();
    assert!(text.contains("\"event\":\"run_failed\"") && text.ends_with("run_failed onset nightly\n"), "{text}");
    let error = send(&exec("echo broken >&2; exit 3"), State::Onset).await.unwrap_err();
    assert!(error.chain().contains("exit status 3: broken"), "{}", error.chain());
    fs::write(&output, "").unwrap();
    let again = format!("echo x >>{}; exit 75", output.display());
    assert_eq!(send(&exec(&again), State::Onset).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(fs::read_to_string(&output).unwrap(), "x\nx\nx\n");
}
