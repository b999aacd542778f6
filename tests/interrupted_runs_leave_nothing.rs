//! A run that ends at any moment leaves no partial backup, and the next run is complete.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::sshd::Sshd;

use crate::support::{CommandOutput, Job, TestEnv, files, finish, wait_for};

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn bulk() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 48);
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['bulk'] }]",
        ..Job::default()
    });
    test_env
}

#[test]
fn sigterm_ends_children_and_leaves_nothing() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let test_env = bulk();
        let run = test_env.start(&["run"]);
        test_env.wait_for_backend("COPY%bulk%");
        signal(&run, name);
        CommandOutput::of(run.wait_with_output().unwrap()).expect(code).shows("interrupted");
        test_env.wait_for_disconnect();
        let left = files(&test_env.local());
        assert!(left.iter().all(|file| file.starts_with("main/globals/globals-")), "{left:?}");
    }
}

/// `nohup longshore restore …` does the same when its terminal is closed.
#[test]
fn ignored_signal_interrupts_nothing() {
    let test_env = bulk();
    let mut run = Command::new("env");
    run.args(["--ignore-signal=HUP", env!("CARGO_BIN_EXE_longshore"), "--config"]).arg(test_env.config_path());
    let run = run.arg("run").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    test_env.wait_for_backend("COPY%bulk%");
    signal(&run, "HUP");
    CommandOutput::of(run.wait_with_output().unwrap()).expect(0);
}

/// Partial uploads are removed from remote destinations before the program ends.
#[test]
fn interruption_leaves_no_partial_uploads() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 48);
    let (hosts, garage) = ([Sshd::start(), Sshd::start()], Garage::start());
    let slow = "max_rate = '4MiB'";
    let remote = [
        ("shell", test_env.on_host("ssh", &hosts[0], slow)),
        ("sftp", test_env.on_host("sftp", &hosts[1], slow)),
        ("bucket", test_env.in_bucket(&garage, "acme", Permission::Everything, &format!("{slow}\npart_size = '5MiB'"))),
    ];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump, ship: &[], remote: &remote, more, ..Job::default() });
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let run = test_env.start(&["run"]);
        wait_for("partial uploads at all destinations", || {
            let begun = hosts.iter().all(|host| !files(&host.backups()).is_empty());
            (begun && garage.has_unfinished_uploads("acme")).then_some(())
        });
        signal(&run, name);
        CommandOutput::of(run.wait_with_output().unwrap()).expect(code).shows("interrupted");
        for host in &hosts {
            assert_eq!(files(&host.backups()), [""; 0]);
        }
        wait_for("the upload to end", || (!garage.has_unfinished_uploads("acme")).then_some(()));
    }
}

#[test]
fn uploads_that_cannot_be_removed_are_reported() {
    let test_env = bulk();
    let host = Sshd::start();
    let remote = [("host", test_env.on_host("ssh", &host, "max_rate = '4MiB'"))];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    test_env.configure(&Job { dump, ship: &[], remote: &remote, ..Job::default() });
    let run = test_env.start(&["run"]);
    wait_for("a draft", || (!files(&host.backups()).is_empty()).then_some(()));
    drop(host);
    CommandOutput::of(run.wait_with_output().unwrap()).expect(3).shows("not cleaned up").shows("orphan_grace");
}

/// The state of a request to a silent store is unknown, so Longshore waits for an answer. A second
/// signal ends the wait.
#[test]
fn second_signal_ends_at_once() {
    let test_env = bulk();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let secret = test_env.path("secret");
    fs::write(&secret, "secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let store = format!(
        "type = 's3'\nbucket = 'acme'\nregion = 'here'\nendpoint = 'http://{}'\nallow_http = true\n\
         access_key_id = 'id'\nsecret_access_key_file = '{}'",
        silent.local_addr().unwrap(),
        secret.display()
    );
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    test_env.configure(&Job { dump, ship: &[], remote: &[("store", store)], ..Job::default() });
    let mut run = test_env.start(&["run"]);
    let _connection = silent.accept().unwrap();
    // Leaves time for the request on the new connection.
    std::thread::sleep(Duration::from_millis(500));
    signal(&run, "INT");
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("Ctrl-C to stop waiting")));
    let interrupted = Instant::now();
    signal(&run, "INT");
    CommandOutput::of(run.wait_with_output().unwrap()).expect(130);
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
}

/// No upload has begun at this host.
#[test]
fn signal_ends_wait_for_silent_host() {
    let test_env = TestEnv::new();
    let (host, silent) = (Sshd::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let [there, here] = [host.port(), silent.local_addr().unwrap().port()].map(|port| format!("port = {port}"));
    for kind in ["ssh", "sftp", "rsync"] {
        let remote = [("host", test_env.on_host(kind, &host, "").replace(&there, &here))];
        test_env.configure(&Job { ship: &[], remote: &remote, ..Job::default() });
        for verb in ["list", "status", "verify"] {
            let command = test_env.start(&[verb]);
            let _connection = silent.accept().unwrap();
            let interrupted = Instant::now();
            signal(&command, "TERM");
            CommandOutput::of(command.wait_with_output().unwrap()).expect(143);
            assert!(interrupted.elapsed() < Duration::from_secs(3), "{kind} {verb}: {:?}", interrupted.elapsed());
        }
    }
}

/// A FIFO may never get a writer, and an inspect has nothing to clean up.
#[test]
fn second_signal_ends_read_of_a_fifo() {
    let test_env = TestEnv::new();
    let fifo = test_env.path("fifo");
    finish(Command::new("mkfifo").arg(&fifo)).expect(0);
    let mut inspect = test_env.start(&["inspect", fifo.to_str().unwrap()]);
    wait_for("a signal that is caught", || catches_interrupts(&inspect).then_some(()));
    // The inspect may or may not be waiting already. Repeated signals end the wait in both cases.
    let interrupted = Instant::now();
    wait_for("the end", || {
        signal(&inspect, "INT");
        inspect.try_wait().unwrap()
    });
    CommandOutput::of(inspect.wait_with_output().unwrap()).expect(130).shows("nothing was changed");
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
}

fn catches_interrupts(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
}

#[test]
fn sigterm_ends_wait_for_a_table_lock() {
    let test_env = bulk();
    let _table_lock = test_env.lock_table("bulk", "bulk");
    let run = test_env.start(&["run"]);
    test_env.wait_for_backend("LOCK TABLE%");
    signal(&run, "TERM");
    let begun = Instant::now();
    CommandOutput::of(run.wait_with_output().unwrap()).expect(143);
    assert!(begun.elapsed() < Duration::from_secs(10));
    test_env.wait_for_disconnect();
}

#[test]
fn sigkill_leaves_only_complete_backups() {
    let test_env = bulk();
    for milliseconds in [20, 150, 300, 500, 800, 1300] {
        let mut run = test_env.start(&["run"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill().unwrap();
        run.wait().unwrap();
        // All listed backups are complete.
        test_env.run_with_identity(&["verify", "--all"]).expect(0);
    }
    test_env.wait_for_disconnect();
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["verify"]).expect(0);
    let partial = files(&test_env.local()).into_iter().filter(|file| file.ends_with(".partial")).count();
    assert_eq!(partial, 0, "the next run removes the files of killed runs");
}
