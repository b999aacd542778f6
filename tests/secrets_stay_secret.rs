//! A password in a connection string appears in no log, argv or error.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{CommandOutput, Job, TestEnv};

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
fn password_is_in_no_log_argv_or_error() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 16);
    let (keywords, uri) = (
        format!("{} password={SECRET}", test_env.cluster.connection()),
        format!("postgresql://postgres:{SECRET}@127.0.0.1:{}/postgres", test_env.cluster.port()),
    );
    let stop = AtomicBool::new(false);
    let result: Vec<CommandOutput> = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&stop));
        let mut result = Vec::new();
        for connection in [&keywords, &uri] {
            test_env.configure_with_connection(&Job::default(), connection);
            for verb in ["check", "run"] {
                result.push(test_env.longshore(&[verb]).expect(0));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (looked, found) = watcher.join().unwrap();
        assert!(looked > 0, "the watcher saw our children");
        assert_eq!(found, [""; 0]);
        result
    });
    for result in result {
        result.omits(SECRET);
    }
    let files = crate::support::files(&test_env.local());
    for file in files {
        let content = std::fs::read(test_env.local().join(&file)).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains(SECRET), "{file}");
    }
    assert!(!test_env.cluster.log().contains(SECRET));
}

#[test]
fn no_error_shows_the_password() {
    let test_env = TestEnv::new();
    for connection in [
        format!("host=127.0.0.1 port=1 password={SECRET}"),
        format!("postgresql://u:{SECRET}@127.0.0.1:1/x"),
        format!("password={SECRET} host"),
        format!("host='x password={SECRET}"),
        format!("postgresql://u:{SECRET}%zz@h"),
    ] {
        test_env.configure_with_connection(&Job::default(), &connection);
        for verb in ["check", "run"] {
            let result = test_env.longshore(&[verb]);
            assert_ne!(result.code, Some(0));
            result.omits(SECRET);
        }
    }
    // Mistakes in the line that contains the secret.
    for line in [
        format!("conection = 'password={SECRET}'"),
        format!("connection = 'postgresql://u:{SECRET}@h' x"),
        format!("connection = ['password={SECRET}']"),
    ] {
        let text = std::fs::read_to_string(test_env.config_path()).unwrap();
        let text: Vec<_> = text.lines().map(|old| if old.starts_with("con") { line.as_str() } else { old }).collect();
        let broken = test_env.path("broken.toml");
        std::fs::write(&broken, text.join("\n")).unwrap();
        let result = crate::support::finish(test_env.command().arg("run").arg("--config").arg(&broken)).expect(1);
        result.shows("broken.toml:").omits(SECRET);
    }
}

#[test]
fn misplaced_connection_string_is_not_quoted() {
    let test_env = TestEnv::new();
    let whole = std::fs::read_to_string(test_env.config_path()).unwrap();
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
        std::fs::write(test_env.config_path(), text).unwrap();
        for verb in ["check", "list"] {
            test_env.longshore(&[verb]).expect(1).shows("config.toml:").omits(SECRET);
        }
    }
}

#[test]
fn password_is_never_sent_to_two_clusters() {
    let test_env = TestEnv::new();
    let more = "[cluster.other]\n[job.elsewhere]\ncluster = 'other'\ndump = [{ type = 'pg_dump' }]\n\
                encrypt = { type = 'none' }\nship = ['local']";
    test_env.configure(&Job { more, ..Job::default() });
    let result = test_env.longshore(&["check", "--ask-password"]).expect(1);
    result.shows("the jobs use several clusters").shows("name a job: the jobs are \"elsewhere\", \"nightly\"");
    // With a named job, or with one cluster, Longshore asks for the password.
    let one = test_env.longshore(&["check", "nightly", "--ask-password"]);
    one.omits("several clusters");
    test_env.configure(&Job { more: &more.replace("'other'", "'main'"), ..Job::default() });
    test_env.longshore(&["check", "--ask-password"]).omits("several clusters");
}
