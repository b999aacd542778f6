//! A password in a connection string appears in no log, argv or error.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Ended, Job, Workshop};

const SECRET: &str = "hunter2-geheim";

/// Scans the command lines of all processes until `stop` is set. Returns the number of our own, and
/// those that contain the secret.
fn watch(stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut looked, mut found) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let argv = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let argv = String::from_utf8_lossy(&argv).into_owned();
            looked += usize::from(argv.contains("application") || argv.contains("--dbname="));
            if argv.contains(SECRET) {
                found.push(argv);
            }
        }
    }
    (looked, found)
}

#[test]
fn the_secret_in_a_connection_string_is_in_no_log_argv_or_error() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 16);
    let (keywords, uri) = (
        format!("{} password={SECRET}", workshop.cluster.connection()),
        format!("postgresql://postgres:{SECRET}@127.0.0.1:{}/postgres", workshop.cluster.port()),
    );
    let stop = AtomicBool::new(false);
    let ended: Vec<Ended> = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&stop));
        let mut ended = Vec::new();
        for connection in [&keywords, &uri] {
            workshop.configure_with_connection(&Job::default(), connection);
            for verb in ["check", "run"] {
                ended.push(workshop.longshore(&[verb]).expect(0));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (looked, found) = watcher.join().unwrap();
        assert!(looked > 0, "the watcher saw our children");
        assert_eq!(found, [""; 0]);
        ended
    });
    for ended in ended {
        ended.keeps_quiet_about(SECRET);
    }
    let files = crate::support::files(&workshop.local());
    for file in files {
        let content = std::fs::read(workshop.local().join(&file)).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains(SECRET), "{file}");
    }
    assert!(!workshop.cluster.log().contains(SECRET));
}

#[test]
fn no_error_shows_the_secret() {
    let workshop = Workshop::new();
    for connection in [
        format!("host=127.0.0.1 port=1 password={SECRET}"),
        format!("postgresql://u:{SECRET}@127.0.0.1:1/x"),
        format!("password={SECRET} host"),
        format!("host='x password={SECRET}"),
        format!("postgresql://u:{SECRET}%zz@h"),
    ] {
        workshop.configure_with_connection(&Job::default(), &connection);
        for verb in ["check", "run"] {
            let ended = workshop.longshore(&[verb]);
            assert_ne!(ended.code, Some(0));
            ended.keeps_quiet_about(SECRET);
        }
    }
    // Mistakes in the line that contains the secret.
    for line in [
        format!("conection = 'password={SECRET}'"),
        format!("connection = 'postgresql://u:{SECRET}@h' x"),
        format!("connection = ['password={SECRET}']"),
    ] {
        let text = std::fs::read_to_string(workshop.config_path()).unwrap();
        let text: Vec<_> = text.lines().map(|old| if old.starts_with("con") { line.as_str() } else { old }).collect();
        let broken = workshop.path("broken.toml");
        std::fs::write(&broken, text.join("\n")).unwrap();
        let ended = crate::support::finish(workshop.command().arg("run").arg("--config").arg(&broken)).expect(1);
        ended.says("broken.toml:").keeps_quiet_about(SECRET);
    }
}

#[test]
fn a_connection_string_in_the_wrong_place_is_not_quoted() {
    let workshop = Workshop::new();
    let whole = std::fs::read_to_string(workshop.config_path()).unwrap();
    let keywords = format!("host=db password={SECRET}");
    let uri = format!("postgresql://u:{SECRET}@h/x?sslmode=require");
    for (from, to) in [
        ("[cluster.main]", format!("[cluster]\nmain = \"{keywords}\"\n[cluster.other]")),
        ("[cluster.main]", format!("[cluster]\nmain = '{uri}'\n[cluster.other]")),
        ("cluster = 'main'", format!("cluster = '{uri}'")),
        ("cluster = 'main'", format!("cluster = \"a \\\" {keywords}\"")),
        ("ship = ['local']", format!("ship = ['{uri}']")),
        ("ship = ['local']", format!("ship = '{keywords}'")),
        ("ship = ['local']", format!("ship = ['local']\nretention = '{uri}'")),
        ("ship = ['local']", format!("ship = ['local']\nretention = {{ '{uri}' = 'x' }}")),
        ("ship = ['local']", format!("ship = ['local']\ncompression = {{ method = '{keywords}' }}")),
        ("ship = ['local']", format!("ship = ['local']\ncompression = {{ by = '{uri}' }}")),
        ("ship = ['local']", format!("ship = ['local']\ncompression = {{ level = '{keywords}' }}")),
        ("ship = ['local']", format!("ship = ['local']\nparallel = '{uri}'")),
        ("ship = ['local']", format!("ship = ['local']\n'{uri}' = 1")),
        ("ship = ['local']", format!("ship = ['local']\n[job.'{uri}']")),
        ("type = 'local'", format!("type = 'local'\nsecret_key = ['{SECRET}']")),
        ("min_free = '64KiB'", format!("min_free = '{keywords}'")),
    ] {
        let text = whole.replacen(from, &to, 1);
        assert_ne!(text, whole, "{from}");
        std::fs::write(workshop.config_path(), text).unwrap();
        for verb in ["check", "list"] {
            workshop.longshore(&[verb]).expect(1).says("config.toml:").keeps_quiet_about(SECRET);
        }
    }
}

#[test]
fn one_password_is_never_given_to_two_clusters() {
    let workshop = Workshop::new();
    let more = "[cluster.other]\n[job.elsewhere]\ncluster = 'other'\ndump = [{ type = 'pg_dump' }]\n\
                encrypt = { type = 'none' }\nship = ['local']";
    workshop.configure(&Job { more, ..Job::default() });
    let ended = workshop.longshore(&["check", "--ask-password"]).expect(1);
    ended.says("the jobs use several clusters").says("name a job: the jobs are \"elsewhere\", \"nightly\"");
    // With a named job, or with one cluster, Longshore asks for the password.
    let one = workshop.longshore(&["check", "nightly", "--ask-password"]);
    one.keeps_quiet_about("several clusters");
    workshop.configure(&Job { more: &more.replace("'other'", "'main'"), ..Job::default() });
    workshop.longshore(&["check", "--ask-password"]).keeps_quiet_about("several clusters");
}
