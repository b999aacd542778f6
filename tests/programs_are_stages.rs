//! Programs of the operator dump, verify, restore and drill databases of other kinds.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::files;
use crate::support::programs::{Programs, example};

/// Creates a database of SQLite with these rows.
fn sqlite(path: &Path, rows: u32) {
    let sql = format!(
        "create table page(id integer primary key, text); with recursive n(i) as (select 1 union all select i + 1 from n \
         where i < {rows}) insert into page select i, 'text ' || i from n;"
    );
    assert!(Command::new("sqlite3").arg(path).arg(sql).status().unwrap().success());
}

fn query(path: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3").arg(path).arg(sql).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn sqlite_database_is_dumped_restored_and_drilled() {
    let programs = Programs::new();
    let (source, restored) = (programs.env.path("wiki.db"), programs.env.path("restored.db"));
    sqlite(&source, 500);
    let drill = |query: &str| format!("['{}', '{query}']", example("sqlite3-drill"));
    let dump = |drill: &str| {
        format!(
            "program = ['/usr/bin/sqlite3', '-readonly', '{}', '.dump'], expect_tail = 'COMMIT;', \
             restore = ['{}', '{}'], drill = {drill}",
            source.display(),
            example("sqlite3-restore"),
            restored.display()
        )
    };
    programs.configure(&dump(&drill("select 1 from page where id = 500")), "");
    programs.run(&["check"]).expect(0);
    programs.run(&["run"]).expect(0);
    programs.run(&["list", "--all"]).expect(0).shows("wiki/wiki");
    programs.run(&["status"]).expect(0);
    programs.run(&["verify", "--all"]).expect(0).shows("verified");
    programs.run(&["restore", "wiki", "--program", "--plan"]).expect(0);
    assert!(!restored.exists());
    programs.run(&["restore", "wiki", "--program"]).expect(0);
    assert_eq!(query(&restored, "select count(*), max(text) from page"), "500|text 99");
    programs.run(&["restore", "wiki", "--program"]).expect(2).shows("is not overwritten");
    programs.run(&["drill"]).expect(0).shows("restored");
    let marks = programs.backups().into_iter().filter(|file| file.contains(".drilled."));
    assert_eq!(marks.count(), 1);

    // A program that reports damage condemns the backup; another failure does not.
    programs.configure(&dump("['/bin/false']"), "");
    programs.run(&["drill"]).shows("exit status 1");
    programs.run(&["status"]).omits("damaged");
    programs.configure(&dump(&drill("select 1 from page where id = 501")), "");
    programs.run(&["drill"]).expect(4).shows("no row");
    programs.run(&["status"]).expect(4).shows("damaged");
}

#[test]
fn differences_are_drilled_and_restored_by_programs() {
    let programs = Programs::new();
    let (source, restored) = (programs.env.path("wiki.db"), programs.env.path("restored.db"));
    sqlite(&source, 20_000);
    let dump = format!(
        "program = ['/usr/bin/sqlite3', '-readonly', '{}', '.dump'], restore = ['{}', '{}'], drill = ['{}', '{}']",
        source.display(),
        example("sqlite3-restore"),
        restored.display(),
        example("sqlite3-drill"),
        "select 1 from page where id = 20001"
    );
    programs.configure(&dump, "differential = { full_every = '7d' }");
    programs.run(&["run"]).expect(0);
    query(&source, "insert into page values (20001, 'new')");
    programs.run(&["run"]).expect(0);
    programs.run(&["list", "--all"]).expect(0).shows("difference");
    programs.run(&["drill"]).expect(0).shows("restored");
    programs.run(&["restore", "wiki", "--program"]).expect(0);
    assert_eq!(query(&restored, "select count(*) from page"), "20001");
}

#[test]
fn manifest_describes_the_way_to_restore_by_hand() {
    let programs = Programs::new();
    programs.configure_script("printf 'the plaintext\\n'", "");
    programs.run(&["run"]).expect(0);
    let manifest = programs.backups().into_iter().find(|file| file.ends_with(".json") && !file.contains(".2")).unwrap();
    let folder = programs.env.path("disk");
    // The commands of RESTORE.md, with the functions that it defines.
    let page = fs::read_to_string(folder.join("RESTORE.md")).unwrap();
    let functions = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let command = page.split("jq -r .undo \"$backup\"\n").nth(1).unwrap().split("```").next().unwrap();
    let script =
        format!("set -e; CLUSTER=wiki; DATABASE=wiki\n{functions}\njq -r .undo \"$backup\"\n{command}\ncat dump");
    let output = Command::new("bash").args(["-c", &script]).current_dir(&folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "cat\nthe plaintext\n", "{manifest}: {output:?}");
}

#[test]
fn misbehaving_dump_publishes_nothing() {
    let programs = Programs::new();
    for (body, expected) in [
        ("printf half; echo 'disk on fire' >&2; exit 1", "disk on fire"),
        ("printf half; kill -9 $$", "signal 9"),
        ("printf half; sleep 60", "made no progress for 1 s"),
        ("printf half; sleep 60 >&- & exit 0", "left processes running"),
    ] {
        programs.configure_script(body, "");
        programs.run(&["run"]).expect(2).shows(expected);
        assert_eq!(programs.backups(), [""; 0], "{body}");
    }
    let program = programs.script("dump", "echo 'a row'; exit 0");
    programs.configure(&format!("program = ['{program}'], expect_tail = '-- Dump completed'"), "");
    programs.run(&["run"]).expect(2).shows("the dump is incomplete").shows("a row");
    assert_eq!(programs.backups(), [""; 0]);
    let program = programs.script("dump", "echo 'a row'; echo '-- Dump completed'; exit 0");
    programs.configure(&format!("program = ['{program}'], expect_tail = '-- Dump completed'"), "");
    programs.run(&["run"]).expect(0);
    assert_ne!(programs.backups(), [""; 0]);
}

#[test]
fn terminated_run_leaves_no_program() {
    let programs = Programs::new();
    let pid_file = programs.env.path("pid");
    programs.script("dump", &format!("printf half; sleep 600 & echo $! >'{}'; wait", pid_file.display()));
    programs.configure(&format!("program = ['{}']", programs.env.path("dump").display()), "");
    for signal in [Signal::TERM, Signal::INT] {
        // Before the first signal, there is none.
        fs::remove_file(&pid_file).ok();
        let mut run = programs.env.command(&["run"]).spawn().unwrap();
        let sleeping = crate::support::wait_for("the program to begin", || {
            let text = fs::read_to_string(&pid_file).ok()?;
            Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
        });
        kill_process(Pid::from_raw(run.id().try_into().unwrap()).unwrap(), signal).unwrap();
        assert!(!run.wait().unwrap().success());
        let is_alive = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", sleeping.as_raw_nonzero())).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        crate::support::wait_for("the program to end", || (!is_alive()).then_some(()));
        assert_eq!(programs.backups(), [""; 0]);
    }
}

#[test]
fn verifier_decides_about_a_dump() {
    let programs = Programs::new();
    let verify = |pattern: &str| {
        format!(
            "verify = [{{ type = 'exec', program = ['{}', '{pattern}'], formats = ['x-test'] }}]\n",
            example("scan")
        )
    };
    programs.configure_script("seq 100000", &verify("secret"));
    programs.run(&["check"]).expect(0);
    programs.run(&["run"]).expect(0);
    programs.run(&["verify", "--all"]).expect(0).shows("program scan");
    let stored = programs.backups();
    assert!(stored.iter().any(|file| file.ends_with(".x-test.zst")), "{stored:?}");
    // A later rule finds damage in the stored backup, and prevents new ones.
    programs.configure_script("seq 100000", &verify("^77777$"));
    programs.run(&["run"]).shows("contains");
    assert_eq!(programs.backups(), stored);
    programs.run(&["verify", "--all"]).expect(4).shows("damaged");
    // A verifier that does not read its input verifies nothing.
    let more = "verify = [{ type = 'exec', program = ['/bin/true'] }]";
    programs.configure_script("seq 1000000", more);
    programs.run(&["run"]).expect(2);
}

#[test]
fn settings_of_programs_are_checked() {
    let programs = Programs::new();
    let program = programs.script("dump", "echo x");
    for (dump, message) in [
        ("program = ['true']".to_owned(), "absolute path"),
        ("program = []".to_owned(), "absolute path"),
        (format!("program = ['{program}'], settings = {{ a = 1 }}"), "longshore-exec/1"),
        (format!("program = ['{program}'], protocol = 'http'"), "longshore-exec/1"),
        (format!("program = ['{program}'], sha256 = 'ab'"), "64"),
        (format!("program = ['{program}'], restore = ['relative']"), "absolute path"),
        (format!("program = ['{program}'], depth = 3"), "unknown field"),
    ] {
        programs.configure(&dump, "");
        let output = programs.run(&["run"]);
        assert_eq!(output.code, Some(1), "{dump}: {output:?}");
        output.shows(message);
    }
    let other = "0".repeat(64);
    programs.configure(&format!("program = ['{program}'], sha256 = '{other}'"), "");
    programs.run(&["run"]).expect(6).shows("SHA-256");
    programs.configure(&format!("program = ['{program}']"), "");
    fs::set_permissions(&program, Permissions::from_mode(0o722)).unwrap();
    programs.run(&["check"]).expect(2).shows("is writable by other users");
    programs.run(&["run"]).expect(6).shows("is writable by other users");
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    programs.run(&["run"]).expect(0);
    programs.run(&["restore", "wiki", "--program"]).expect(1).shows("names no program").shows("by hand: cat");
    programs.run(&["restore", "wiki", "--to", "host=/nowhere"]).expect(1).shows("--program");
    programs.run(&["drill"]).expect(1).shows("names no program");
}

#[test]
fn rclone_is_a_destination() {
    let programs = Programs::new();
    let program = programs.script("dump", "seq 300000");
    let remote = programs.env.path("remote");
    fs::create_dir(&remote).unwrap();
    let more = format!(
        "[job.copy]\ncluster = 'wiki'\nencrypt = {{ type = 'none' }}\nship = ['cloud', 'disk']\n\
         dump = [{{ type = 'exec', subject = 'wiki', format = 'test', undo = 'cat', program = ['{program}'] }}]\n\
         [destination.cloud]\ntype = 'exec'\nprogram = ['{}']\nprotocol = 'longshore-exec/1'\nhello_timeout = '60s'\n\
         settings = {{ remote = '{}' }}\nenv = {{ RCLONE_CONFIG = '/dev/null' }}\n",
        example("rclone"),
        remote.display()
    );
    programs.configure(&format!("program = ['{program}']"), &more);
    programs.run(&["check", "copy"]).expect(0).shows("write, read back, list and remove work");
    programs.run(&["run", "copy"]).expect(0);
    let copies = |folder: &Path| {
        let mut copies: Vec<_> = files(folder).into_iter().filter(|file| file.starts_with("wiki/wiki/")).collect();
        copies.sort();
        copies
    };
    assert_eq!(copies(&remote), copies(&programs.env.path("disk")));
    assert!(files(&remote).iter().all(|file| !file.contains(".longshore-")), "{:?}", files(&remote));
    programs.run(&["verify", "--all", "--destination", "cloud"]).expect(0);
}

/// A server of MariaDB without network, in a folder that is removed afterwards.
struct MariaDb {
    folder: tempfile::TempDir,
    server: std::process::Child,
}

impl MariaDb {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, user) = (folder.path().join("data"), "mysql");
        if rustix::process::geteuid().is_root() {
            let id = |what| {
                let output = Command::new("id").args([what, user]).output().unwrap();
                String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
            };
            std::os::unix::fs::chown(folder.path(), Some(id("-u")), Some(id("-g"))).unwrap();
        }
        let options = ["--no-defaults".to_owned(), format!("--datadir={}", data.display()), format!("--user={user}")];
        let install = Command::new("mariadb-install-db")
            .args(&options)
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .output()
            .expect("mariadb-server is missing: run `cargo xtask test`, which installs it");
        assert!(install.status.success(), "{install:?}");
        let server = Command::new("mariadbd")
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap()))
            .args(&options)
            .args([&format!("--socket={}", folder.path().join("socket").display()), "--skip-networking"])
            .args(["--skip-log-bin", &format!("--pid-file={}", folder.path().join("pid").display())])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { folder, server };
        crate::support::wait_for("the server of MariaDB", || server.client("", "select 1"));
        server
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns the result of a query, or `None` if it fails.
    fn client(&self, database: &str, sql: &str) -> Option<String> {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--execute", sql])
            .arg(format!("--socket={}", self.socket().display()))
            .arg(database)
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // Both fail only if the server has ended and was waited for.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

#[test]
fn mariadb_is_dumped_restored_and_drilled() {
    let (programs, server) = (Programs::new(), MariaDb::start());
    server.client("", "create database wiki; create database restored").unwrap();
    let rows = "create table page(id int primary key, text varchar(80)) as select seq as id, concat('text ', seq) as text from seq_1_to_5000";
    server.client("wiki", rows).unwrap();
    let socket = format!("--socket={}", server.socket().display());
    let client = |program: &str, more: &str| {
        format!("['/usr/bin/{program}', '--no-defaults', '--user=root', '{socket}', {more}]")
    };
    programs.configure(
        &format!(
            "program = {}, expect_tail = '-- Dump completed', restore = {}, drill = ['{}', 'select 1 from page where id = 5000']",
            client("mariadb-dump", "'--single-transaction', 'wiki'"),
            client("mariadb", "'restored'"),
            example("mariadb-drill"),
        ),
        "",
    );
    programs.run(&["run"]).expect(0);
    programs.run(&["verify", "--all"]).expect(0);
    programs.run(&["restore", "wiki", "--program"]).expect(0);
    assert_eq!(
        server.client("restored", "select count(*), sum(length(text)) from page"),
        server.client("wiki", "select count(*), sum(length(text)) from page")
    );
    programs.run(&["drill"]).expect(0).shows("restored");
    // A dump of a database that does not exist publishes nothing.
    let before = programs.backups();
    programs
        .configure(&format!("program = {}, expect_tail = '-- Dump completed'", client("mariadb-dump", "'none'")), "");
    programs.run(&["run"]).expect(2).shows("none");
    assert_eq!(programs.backups(), before);
}

/// Writes a skeleton, and runs the suite against it.
fn expect_skeleton_passes(language: &str) {
    let programs = Programs::new();
    let folder = programs.env.path("objects");
    fs::create_dir(&folder).unwrap();
    let path = programs.env.path("skeleton").display().to_string();
    programs.run(&["plugin", "new", "--language", language, &path]).expect(0);
    programs.run(&["plugin", "new", "--language", language, &path]).expect(6);
    let setting = format!("path={}", folder.display());
    let tested = programs.run(&["plugin", "test", &path, "--setting", &setting, "--hello-timeout", "60s"]);
    tested.expect(0).shows("never overwrites").omits("FAILED");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the test left a folder");
}

#[test]
fn skeleton_in_shell_passes_the_suite() {
    expect_skeleton_passes("sh");
}

#[test]
fn suite_finds_a_program_that_publishes_too_early() {
    let programs = Programs::new();
    let folder = programs.env.path("objects");
    fs::create_dir(&folder).unwrap();
    let path = programs.env.path("hasty").display().to_string();
    programs.run(&["plugin", "new", "--language", "sh", &path]).expect(0);
    // As most programs do: the end of the input publishes the file.
    let text = fs::read_to_string(&path).unwrap();
    let hasty = text.replace("cat >\"$temp\"", "cat >\"$temp\"; cp \"$temp\" \"$path/$key\"");
    assert_ne!(hasty, text);
    fs::write(&path, hasty.replace("ln \"$temp\" \"$path/$key\" 2>/dev/null", "true")).unwrap();
    let setting = format!("path={}", folder.display());
    let output = programs.run(&["plugin", "test", &path, "--setting", &setting, "--hello-timeout", "60s"]);
    output
        .expect(2)
        .shows("FAILED   ship: publishes nothing if Longshore dies")
        .shows("FAILED   ship: never overwrites");
    programs.run(&["plugin", "test", "/bin/true"]).expect(2).shows("before hello");
}

mod slow {
    use super::*;

    #[test]
    fn skeleton_in_python_passes_the_suite() {
        expect_skeleton_passes("python");
    }

    #[test]
    fn rclone_passes_the_suite() {
        let programs = Programs::new();
        let folder = programs.env.path("objects");
        fs::create_dir(&folder).unwrap();
        let remote = format!("remote={}", folder.display());
        let rclone = ["plugin", "test", &example("rclone"), "--setting", &remote, "--env", "RCLONE_CONFIG=/dev/null"];
        programs.run(&[&rclone[..], &["--hello-timeout", "60s"]].concat()).expect(0).omits("FAILED");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the test left a folder");
    }
}
