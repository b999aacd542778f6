//! A run that ends at any moment leaves no partial backup, and the next run is complete.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::sshd::Sshd;

use crate::support::{Ended, Job, Workshop, files, finish, wait_for};

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn bulk() -> Workshop {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 48);
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['bulk'] }]",
        ..Job::default()
    });
    workshop
}

#[test]
fn sigterm_ends_the_children_and_leaves_nothing_visible() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let workshop = bulk();
        let run = workshop.start(&["run"]);
        workshop.wait_for_backend("COPY%bulk%");
        signal(&run, name);
        Ended::of(run.wait_with_output().unwrap()).expect(code).says("interrupted");
        workshop.wait_for_silence();
        let left = files(&workshop.local());
        assert!(left.iter().all(|file| file.starts_with("main/globals/globals-")), "{left:?}");
    }
}

/// `nohup longshore restore …` does the same when its terminal is closed.
#[test]
fn a_signal_that_it_was_started_to_ignore_ends_nothing() {
    let workshop = bulk();
    let mut run = Command::new("env");
    run.args(["--ignore-signal=HUP", env!("CARGO_BIN_EXE_longshore"), "--config"]).arg(workshop.config_path());
    let run = run.arg("run").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    workshop.wait_for_backend("COPY%bulk%");
    signal(&run, "HUP");
    Ended::of(run.wait_with_output().unwrap()).expect(0);
}

/// Partial uploads are removed from remote destinations before the program ends.
#[test]
fn nothing_half_made_is_left_on_hosts_and_in_buckets() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 48);
    let (hosts, garage) = ([Sshd::start(), Sshd::start()], Garage::start());
    let slow = "max_rate = '4MiB'";
    let elsewhere = [
        ("shell", workshop.on_host("ssh", &hosts[0], slow)),
        ("sftp", workshop.on_host("sftp", &hosts[1], slow)),
        ("bucket", workshop.in_bucket(&garage, "acme", Permission::Everything, &format!("{slow}\npart_size = '5MiB'"))),
    ];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump, ship: &[], elsewhere: &elsewhere, more, ..Job::default() });
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let run = workshop.start(&["run"]);
        wait_for("partial uploads at all destinations", || {
            let begun = hosts.iter().all(|host| !files(&host.backups()).is_empty());
            (begun && garage.has_unfinished_uploads("acme")).then_some(())
        });
        signal(&run, name);
        Ended::of(run.wait_with_output().unwrap()).expect(code).says("interrupted");
        for host in &hosts {
            assert_eq!(files(&host.backups()), [""; 0]);
        }
        wait_for("the upload to end", || (!garage.has_unfinished_uploads("acme")).then_some(()));
    }
}

#[test]
fn what_cannot_be_taken_back_is_told() {
    let workshop = bulk();
    let host = Sshd::start();
    let elsewhere = [("host", workshop.on_host("ssh", &host, "max_rate = '4MiB'"))];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    workshop.configure(&Job { dump, ship: &[], elsewhere: &elsewhere, ..Job::default() });
    let run = workshop.start(&["run"]);
    wait_for("a draft", || (!files(&host.backups()).is_empty()).then_some(()));
    drop(host);
    Ended::of(run.wait_with_output().unwrap()).expect(3).says("not cleaned up").says("orphan_grace");
}

/// The state of a request to a silent store is unknown, so Longshore waits for an answer. A second
/// signal ends the wait.
#[test]
fn who_asks_twice_does_not_wait() {
    let workshop = bulk();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let secret = workshop.path("secret");
    fs::write(&secret, "secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let store = format!(
        "type = 's3'\nbucket = 'acme'\nregion = 'here'\nendpoint = 'http://{}'\nallow_http = true\n\
         access_key_id = 'id'\nsecret_access_key_file = '{}'",
        silent.local_addr().unwrap(),
        secret.display()
    );
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    workshop.configure(&Job { dump, ship: &[], elsewhere: &[("store", store)], ..Job::default() });
    let mut run = workshop.start(&["run"]);
    let _connection = silent.accept().unwrap();
    // Leaves time for the request on the new connection.
    std::thread::sleep(Duration::from_millis(500));
    signal(&run, "INT");
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("Ctrl-C to stop waiting")));
    let asked = Instant::now();
    signal(&run, "INT");
    Ended::of(run.wait_with_output().unwrap()).expect(130);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

/// No upload has begun at this host.
#[test]
fn a_host_that_is_silent_from_the_start_is_not_waited_for() {
    let workshop = Workshop::new();
    let (host, silent) = (Sshd::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let [there, here] = [host.port(), silent.local_addr().unwrap().port()].map(|port| format!("port = {port}"));
    for kind in ["ssh", "sftp", "rsync"] {
        let elsewhere = [("host", workshop.on_host(kind, &host, "").replace(&there, &here))];
        workshop.configure(&Job { ship: &[], elsewhere: &elsewhere, ..Job::default() });
        for verb in ["list", "status", "verify"] {
            let look = workshop.start(&[verb]);
            let _connection = silent.accept().unwrap();
            let asked = Instant::now();
            signal(&look, "TERM");
            Ended::of(look.wait_with_output().unwrap()).expect(143);
            assert!(asked.elapsed() < Duration::from_secs(3), "{kind} {verb}: {:?}", asked.elapsed());
        }
    }
}

/// A FIFO may never get a writer, and an inspect has nothing to clean up.
#[test]
fn a_fifo_is_not_waited_for_by_who_asks_twice() {
    let workshop = Workshop::new();
    let fifo = workshop.path("fifo");
    finish(Command::new("mkfifo").arg(&fifo)).expect(0);
    let mut inspect = workshop.start(&["inspect", fifo.to_str().unwrap()]);
    wait_for("a signal that is caught", || catches_interrupts(&inspect).then_some(()));
    // The inspect may or may not be waiting already. Repeated signals end the wait in both cases.
    let asked = Instant::now();
    wait_for("the end", || {
        signal(&inspect, "INT");
        inspect.try_wait().unwrap()
    });
    Ended::of(inspect.wait_with_output().unwrap()).expect(130).says("nothing was changed");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

fn catches_interrupts(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
}

#[test]
fn sigterm_while_a_dump_waits_for_a_lock_ends_it_at_once() {
    let workshop = bulk();
    let _held = workshop.hold("bulk", "bulk");
    let run = workshop.start(&["run"]);
    workshop.wait_for_backend("LOCK TABLE%");
    signal(&run, "TERM");
    let begun = Instant::now();
    Ended::of(run.wait_with_output().unwrap()).expect(143);
    assert!(begun.elapsed() < Duration::from_secs(10));
    workshop.wait_for_silence();
}

#[test]
fn sigkill_at_any_moment_leaves_whole_backups_or_none_and_the_next_run_is_whole() {
    let workshop = bulk();
    for milliseconds in [20, 150, 300, 500, 800, 1300] {
        let mut run = workshop.start(&["run"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill().unwrap();
        run.wait().unwrap();
        // All listed backups are complete.
        workshop.opening(&["verify", "--all"]).expect(0);
    }
    workshop.wait_for_silence();
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["verify"]).expect(0);
    let partial = files(&workshop.local()).into_iter().filter(|file| file.ends_with(".partial")).count();
    assert_eq!(partial, 0, "the next run removes the files of killed runs");
}
