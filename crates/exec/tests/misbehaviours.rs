//! Programs that misbehave: each is an error, and leaves nothing running.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::cleanup::CleanupScope;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::session::no_input;
use longshore_exec::{ExecProgram, Protocol, Request, Role, Session, Step, feed, output};
use longshore_testkit::stream::{fails_after, is_failure, random, stalls_after};
use tempfile::TempDir;

/// The first messages of a program that implements all roles.
const GREETING: &str = r#"read -r _ <&3
echo '{"type":"hello","protocol":"longshore-exec/1","name":"test","roles":["dump","verify","ship"]}' >&3
read -r start <&3
"#;

/// A script in a folder of its own.
struct Script {
    folder: TempDir,
    program: ExecProgram,
}

impl Script {
    fn new(protocol: Protocol, body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, format!("#!/bin/bash\ncd '{}'\n{body}\n", folder.path().display())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let program = ExecProgram {
            argv: vec![path.display().to_string()],
            protocol,
            stall_timeout: Duration::from_secs(20),
            ..ExecProgram::default()
        };
        Self { folder, program }
    }

    /// Creates a program of the protocol.
    fn v1(body: &str) -> Self {
        Self::new(Protocol::V1, &format!("{GREETING}{body}"))
    }

    fn plain(body: &str) -> Self {
        Self::new(Protocol::None, body)
    }

    /// Sets a short time without progress.
    fn impatient(mut self) -> Self {
        self.program.stall_timeout = Duration::from_millis(700);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self, role: Role) -> Request {
        Request::new(Stage::Dump, self.folder.path().display().to_string(), role)
    }

    /// Reads the output of the program to its end.
    async fn dump(&self) -> Result<Vec<u8>> {
        let session = Session::start(&self.program, self.request(Role::Dump)).await?;
        let mut stream = output(session, no_input(), |_| Ok(()));
        let mut all = Vec::new();
        while let Some(chunk) = stream.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    async fn verify(&self, input: ByteStream) -> Result<()> {
        feed(&self.program, self.request(Role::Verify), input).await.map(drop)
    }

    /// Passes the input to the program, commits and waits for the end.
    async fn ship(&self, mut input: ByteStream) -> Result<()> {
        let mut session = Session::start(&self.program, self.request(Role::Ship)).await?;
        while !matches!(session.step(&mut input).await?, Step::InputEnded) {}
        // A message that was sent before the commit has arrived by now.
        tokio::time::sleep(Duration::from_millis(200)).await;
        session.commit("the digest").await?;
        let mut nothing = no_input();
        while !matches!(session.step(&mut nothing).await?, Step::Ended) {}
        session.finish().await.map(drop)
    }

    /// Returns the ids of processes of the program. Their environment names the folder.
    fn processes(&self) -> Vec<String> {
        let variable = format!("LONGSHORE_SUBJECT={}\0", self.folder.path().display());
        let all = fs::read_dir("/proc").unwrap().flatten();
        let ids = all.filter(|process| {
            let environ = fs::read(process.path().join("environ")).unwrap_or_default();
            environ.windows(variable.len()).any(|part| part == variable.as_bytes())
        });
        ids.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
    }

    fn expect_nothing_running(&self, label: &str) {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{label}: {:?} still run", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn expect(label: &str, found: Result<impl std::fmt::Debug>, expected: &str) -> Error {
    let error = found.expect_err(label);
    assert!(error.chain().contains(expected), "{label}: {}", error.chain());
    error
}

const DONE: &str = r#"echo '{"type":"done","bytes_out":4}' >&3"#;

#[tokio::test]
async fn misbehaving_dumps_are_errors() {
    for (label, body, expected) in [
        ("early exit", "printf half; exit 0", "ended with exit status 0 without done"),
        ("failure without a message", "printf half; exit 3", "ended with exit status 3 without done"),
        ("killed", "printf half; kill -9 $$", "ended with signal 9 without done"),
        ("closed output, no done", "printf half; exec >&-; sleep 60", "made no progress"),
        ("hang", "sleep 60", "made no progress"),
        ("too few bytes", "printf hal; DONE", "reported bytes_out 4, but 3 bytes passed"),
        ("bytes after done", "printf half; DONE; printf more", "reported bytes_out 4, but 8 bytes passed"),
        ("no count", "printf half; echo '{\"type\":\"done\"}' >&3", "reported done without bytes_out"),
        ("failure after done", "printf half; DONE; exit 3", "ended with exit status 3 after done"),
        ("killed after done", "printf half; DONE; kill -9 $$", "ended with signal 9 after done"),
        ("hang after done", "printf half; DONE; exec >&- 3>&-; sleep 60", "did not end within"),
        ("message after done", "printf half; DONE; echo '{\"type\":\"progress\"}' >&3", "sent a message after done"),
        ("two ends", "printf half; DONE; DONE", "sent a message after done"),
        ("process left behind", "sleep 60 & printf half; DONE; exit 0", "left processes running"),
        ("closed descriptor 3", "printf half; exec 3>&-; sleep 60", "closed descriptor 3 before done"),
        ("cut message", "printf '{\"type\":\"do' >&3; exit 0", "within a line"),
        ("huge line", "head -c 100000 /dev/zero | tr '\\0' x >&3; sleep 60", "a line of more than"),
        ("invalid JSON", "echo 'half of it' >&3; sleep 60", "sent an invalid message"),
        ("unknown message", "echo '{\"type\":\"finished\"}' >&3; sleep 60", "unknown variant"),
        (
            "second hello",
            "echo '{\"type\":\"hello\",\"protocol\":\"longshore-exec/1\",\"name\":\"x\",\"roles\":[]}' >&3; sleep 60",
            "hello twice",
        ),
        ("entry in a dump", "echo '{\"type\":\"entry\",\"key\":\"a\",\"bytes\":1}' >&3; sleep 60", "sent an entry"),
        ("flood of errors", "yes 'an error' | head -c 30000000 >&2; exit 1", "ended with exit status 1 without done"),
        ("no end after SIGTERM", "trap '' TERM; printf half; while :; do sleep 0.1; done", "made no progress"),
    ] {
        let script = Script::v1(&body.replace("DONE", DONE)).impatient();
        let script = if label.starts_with("flood") { Script::v1(body) } else { script };
        expect(label, script.dump().await, expected);
        script.expect_nothing_running(label);
    }
}

#[tokio::test]
async fn programs_without_the_protocol_are_errors() {
    let hello = |protocol: &str, roles: &str| {
        format!(
            "read -r _ <&3; echo '{{\"type\":\"hello\",\"protocol\":\"{protocol}\",\"name\":\"x\",\"roles\":[{roles}]}}' >&3; sleep 60"
        )
    };
    for (label, body, expected) in [
        ("no program of the protocol", "exit 0".to_owned(), "ended with exit status 0 before hello"),
        ("late hello", "sleep 60".to_owned(), "sent no hello within"),
        ("another protocol", hello("longshore-exec/2", "\"dump\""), "and not \"longshore-exec/1\""),
        ("another role", hello("longshore-exec/1", "\"verify\""), "does not implement the role dump"),
        ("a message before hello", "echo '{\"type\":\"done\"}' >&3; sleep 60".to_owned(), "before hello"),
        (
            "an error in place of hello",
            "echo '{\"type\":\"error\",\"kind\":\"denied\",\"message\":\"no licence\"}' >&3".to_owned(),
            "no licence",
        ),
    ] {
        let script = Script::new(Protocol::V1, &body).impatient();
        let error = expect(label, script.dump().await, expected);
        assert!(error.remedy().is_some() || error.kind() == Kind::Denied, "{label}: {error:?}");
        script.expect_nothing_running(label);
    }
}

#[tokio::test]
async fn output_of_an_escaped_process_is_not_awaited() {
    let body = format!("setsid sleep 60 3>&- & echo $! >pid; printf half; {DONE}; exit 0");
    let script = Script::v1(&body).impatient();
    expect("escaped", script.dump().await, "another process holds its output open");
    for process in script.processes() {
        let id = rustix::process::Pid::from_raw(process.parse().unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn plain_commands_succeed_by_exit_status_alone() {
    assert_eq!(Script::plain("printf whole").dump().await.unwrap(), b"whole");
    assert_eq!(Script::plain("").dump().await.unwrap(), b"");
    for (label, body, expected) in [
        ("failure", "printf half; echo 'no such table' >&2; exit 2", "no such table"),
        ("killed", "printf half; kill -9 $$", "ended with signal 9"),
        ("hang", "printf half; sleep 60", "made no progress"),
        ("process left behind", "printf half; sleep 60 >&- & exit 0", "left processes running"),
    ] {
        let script = Script::plain(body).impatient();
        expect(label, script.dump().await, expected);
        script.expect_nothing_running(label);
    }
}

#[tokio::test]
async fn verifiers_must_read_all_input() {
    Script::plain("cat >/dev/null").verify(random(1, 3_000_000)).await.unwrap();
    for (label, body, length, expected) in [
        ("reads nothing of a little", "exit 0", 1000, "unread"),
        ("reads nothing of much", "exit 0", 9_000_000, "before the end of its input"),
        ("reads a part", "head -c 1000 >/dev/null", 100_000, "unread"),
        ("closes its input", "exec <&-; sleep 60", 9_000_000, "made no progress"),
        ("fails", "cat >/dev/null; exit 1", 1000, "ended with exit status 1"),
    ] {
        let script = Script::plain(body).impatient();
        let error = match script.verify(random(1, length)).await {
            Ok(()) => panic!("{label} succeeded"),
            Err(error) => error,
        };
        // A small input may still be in the pipe when the program ends.
        let is_expected = error.chain().contains(expected) || error.chain().contains("before the end of its input");
        assert!(is_expected && error.kind() == Kind::Failed, "{label}: {}", error.chain());
        script.expect_nothing_running(label);
    }
    let damaged = Script::plain("cat >/dev/null; echo 'page 7' >&2; exit 65");
    let error = damaged.verify(random(1, 1000)).await.unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.chain().contains("page 7"), "{}", error.chain());
}

#[tokio::test]
async fn misbehaving_uploads_are_errors() {
    let read = "cat >body; read -r commit <&3 || exit 1; ";
    Script::v1(&format!("{read} echo '{{\"type\":\"done\",\"bytes_in\":1000}}' >&3"))
        .ship(random(1, 1000))
        .await
        .unwrap();
    for (label, body, expected) in [
        ("done before commit", "cat >body; echo '{\"type\":\"done\",\"bytes_in\":1000}' >&3; sleep 60".to_owned(), "done before commit"),
        ("exit before commit", "cat >body; exit 0".to_owned(), ""),
        ("exit before the input", "exit 0".to_owned(), ""),
        ("exit after commit", format!("{read} exit 0"), "without done"),
        ("wrong count", format!("{read} echo '{{\"type\":\"done\",\"bytes_in\":999}}' >&3"), "but 1000 bytes passed"),
        ("own error", "echo '{\"type\":\"error\",\"kind\":\"denied\",\"message\":\"no quota\",\"hint\":\"buy more\"}' >&3; exit 1".to_owned(), "no quota"),
    ] {
        let script = Script::v1(&body).impatient();
        let error = expect(label, script.ship(random(1, 1000)).await, expected);
        if label == "own error" {
            assert_eq!((error.kind(), error.remedy()), (Kind::Denied, Some("buy more")));
        }
        script.expect_nothing_running(label);
    }
}

#[tokio::test]
async fn failed_input_kills_the_program_before_its_input_ends() {
    for protocol in [Protocol::None, Protocol::V1] {
        let greeting = if protocol == Protocol::V1 { GREETING } else { "" };
        // The marker appears only if the program sees the end of its input.
        let script =
            Script::new(protocol, &format!("{greeting}trap '' TERM; cat >body; touch end-of-input")).impatient();
        let error = script.verify(fails_after(100_000)).await.unwrap_err();
        assert!(is_failure(&error), "another error than that of the input: {}", error.chain());
        script.expect_nothing_running("failed input");
        assert!(!script.path("end-of-input").exists(), "the program saw a clean end");
    }
}

#[tokio::test]
async fn dropped_programs_end_in_the_cleanup() {
    let script = Script::v1("trap 'touch terminated; exit 1' TERM; cat <&0 >body & wait; touch end-of-input");
    let scope = CleanupScope::default();
    let feeding = scope.run(script.verify(stalls_after(100_000)));
    assert!(tokio::time::timeout(Duration::from_millis(500), feeding).await.is_err());
    scope.wait().await;
    script.expect_nothing_running("dropped");
    assert!(script.path("terminated").exists() && !script.path("end-of-input").exists());
}

#[tokio::test]
async fn secrets_are_in_no_environment_or_argument() {
    let mut script = Script::v1(
        "env >environment; tr '\\0' ' ' </proc/$$/cmdline >>environment; echo \"$start\" >start; printf half; \
         echo '{\"type\":\"done\",\"bytes_out\":4}' >&3",
    );
    let secret = script.path("secret");
    fs::write(&secret, "hunter2\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    script.program.secrets = [("password".to_owned(), secret)].into();
    script.program.env = [("EXTRA".to_owned(), "extra".to_owned())].into();
    assert_eq!(script.dump().await.unwrap(), b"half");
    let environment = fs::read_to_string(script.path("environment")).unwrap();
    assert!(environment.contains("EXTRA=extra") && environment.contains("LONGSHORE_ROLE=dump"), "{environment}");
    assert!(!environment.contains("hunter2") && !environment.contains("CARGO"), "{environment}");
    let start: serde_json::Value = serde_json::from_slice(&fs::read(script.path("start")).unwrap()).unwrap();
    assert_eq!((&start["role"], &start["secrets"]["password"]), (&"dump".into(), &"hunter2".into()));
}
