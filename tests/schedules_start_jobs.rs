//! `schedule install` lets systemd or cron start jobs by their schedules, and `schedule` shows what
//! is due, what ran, and what starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::offline_env::{NIGHTLY, OfflineEnv};
use crate::support::packaging::packaging;
use crate::support::{CommandOutput, finish, wait_for};

/// A configuration, and the root directory of a host to install into.
struct HostEnv {
    folder: TempDir,
}

/// The table of a job that ships to a local directory, without a server.
const JOB: &str = "[job.nightly]\ncluster = 'main'\ndump = [{ type = 'pg_dump' }]\n\
                   encrypt = { type = 'none' }\nship = ['disk', 'nas']\n";

const ALL_VERBS: &str = "timezone = 'Europe/Berlin'\n[job.nightly.schedule]\nrun = '30 2 * * *'\nverify = '0 5 * * *'\n\
                         verify_percent = 10\ndrill = '0 6 * * sun'\nsync = '30 4 * * *'\nprune = '0 7 * * *'\n\
                         jitter = '10m'\n";

impl HostEnv {
    /// Creates an environment with these lines at the end of the job's table.
    fn new(lines: &str) -> Self {
        let host_env = Self { folder: tempfile::Builder::new().prefix("longshore-test-").tempdir().unwrap() };
        for name in ["disk", "nas", "root"] {
            fs::create_dir(host_env.path(name)).unwrap();
        }
        host_env.configure(lines);
        host_env
    }

    fn configure(&self, lines: &str) {
        let text = format!(
            "lock_dir = '{}'\nstate_dir = '{}'\n[cluster.main]\nconnection = 'host={} user=absent'\n\
             [destination.disk]\ntype = 'local'\npath = '{}'\n[destination.nas]\ntype = 'local'\npath = '{}'\n\
             {JOB}{lines}\n",
            self.path("locks").display(),
            self.path("state").display(),
            self.path("nosocket").display(),
            self.path("disk").display(),
            self.path("nas").display(),
        );
        fs::write(self.path("config.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.env("HOME", self.folder.path()).env_remove("LONGSHORE_CONFIG").env_remove("TZ");
        command.arg("--config").arg(self.path("config.toml")).args(arguments);
        command
    }

    fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        finish(&mut self.command(arguments))
    }

    /// Runs `longshore schedule` with these arguments on the host below the root.
    fn schedule(&self, arguments: &[&str]) -> CommandOutput {
        let root = self.root().display().to_string();
        self.longshore(&[&["schedule"], arguments, &["--root", &root]].concat())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.schedule(&["--json"]).expect(0).stdout).unwrap()
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.root().join("etc/systemd/system").join(name)
    }

    /// Returns the run reports of the job.
    fn reports(&self) -> Vec<Value> {
        let Ok(entries) = fs::read_dir(self.path("state/runs")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().path());
        let is_report = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("nightly-") && name.ends_with(".json") && !name.ends_with(".details.json")
        };
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        names.filter(|path| is_report(path)).map(read).collect()
    }
}

/// Returns the files below a folder, and links, by their relative paths.
fn files(folder: &Path) -> Vec<String> {
    let output = Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "%P\n"]).output().unwrap();
    let mut files: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn job_without_a_known_run_names_the_state_folder() {
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}schedule = '0 3 * * *'\n"));
    let folder = offline_env.path("state").display().to_string();
    let result = offline_env.longshore(&["schedule"]).expect(0).shows("never");
    result.shows(&format!("runs were looked for in {folder}, the state folder of this user")).shows("set state_dir");
}

#[test]
fn timers_are_installed_replaced_and_removed() {
    let host_env = HostEnv::new(ALL_VERBS);
    let shown = host_env.schedule(&[]).expect(0).shows("nothing").shows("longshore schedule install");
    shown.shows("30 2 * * * Europe/Berlin");
    let printed = host_env.schedule(&["install", "--systemd", "--print"]).expect(0);
    printed.shows("OnCalendar=*-*-* 02:30:00 Europe/Berlin").shows("verify");
    assert!(files(&host_env.root()).is_empty(), "--print changes nothing");

    host_env.schedule(&["install", "--systemd"]).expect(0).shows("next at").shows("02:30 Europe/Berlin");
    let mut expected = Vec::new();
    for verb in ["drill", "prune", "run", "sync", "verify"] {
        expected.push(format!("etc/systemd/system/longshore-{verb}@nightly.service"));
        expected.push(format!("etc/systemd/system/longshore-{verb}@nightly.timer"));
        expected.push(format!("etc/systemd/system/timers.target.wants/longshore-{verb}@nightly.timer"));
    }
    expected.sort();
    assert_eq!(files(&host_env.root()), expected);
    let timer = fs::read_to_string(host_env.unit("longshore-run@nightly.timer")).unwrap();
    for line in ["Persistent=yes", "RandomizedDelaySec=600s", "FixedRandomDelay=yes", "WantedBy=timers.target"] {
        assert!(timer.lines().any(|found| found == line), "{line} not in\n{timer}");
    }
    let service = fs::read_to_string(host_env.unit("longshore-run@nightly.service")).unwrap();
    let writable = format!("ReadWritePaths=-{}", host_env.path("disk").display());
    assert!(service.lines().any(|line| line == writable), "{writable} not in\n{service}");
    for task in host_env.json().as_array().unwrap() {
        let timer = format!("longshore-{}@nightly.timer", task["verb"].as_str().unwrap());
        assert_eq!(task["started_by"], serde_json::json!([{ "kind": "timer", "name": timer }]));
        assert!(task["next"].is_string() && task["missed"] == 0 && task["last"].is_null(), "{task}");
    }

    // A second installation changes nothing.
    host_env.schedule(&["install", "--systemd"]).expect(0).omits("wrote").omits("removed");
    // Verbs that are not scheduled any more are removed.
    host_env.configure("schedule = '0 3 * * *'");
    host_env.schedule(&["install", "--systemd"]).expect(0).shows("removed").shows("wrote");
    assert_eq!(files(&host_env.root()).len(), 3);
    let timer = fs::read_to_string(host_env.unit("longshore-run@nightly.timer")).unwrap();
    assert!(timer.contains("OnCalendar=*-*-* 03:00:00 UTC\n") && !timer.contains("02:30"), "{timer}");
    host_env.schedule(&["uninstall"]).expect(0).shows("removed");
    assert!(files(&host_env.root()).is_empty());
    host_env.schedule(&["uninstall"]).expect(0).shows("nothing was installed");
}

#[test]
fn units_of_others_are_never_replaced() {
    let host_env = HostEnv::new("schedule = '0 3 * * *'");
    let unit = host_env.unit("longshore-run@nightly.timer");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    for (text, hint) in [
        ("[Timer]\nOnCalendar=daily\n", "move the file away"),
        ("# Written by `longshore schedule install` from /srv/other.toml.\n", "rename the job"),
    ] {
        fs::write(&unit, text).unwrap();
        host_env.schedule(&["install", "--systemd"]).expect(6).shows(hint);
        host_env.schedule(&["uninstall"]).expect(0);
        assert_eq!(fs::read_to_string(&unit).unwrap(), text);
        assert_eq!(files(&host_env.root()).len(), 1, "nothing else was written");
    }
}

#[test]
fn units_of_two_users_are_refused() {
    let host_env = HostEnv::new(
        "schedule = '0 3 * * *'\n[notify.post]\ntype = 'mail'\nfrom = 'a@b.example'\nto = ['c@d.example']",
    );
    let installed = host_env.schedule(&["install", "--systemd", "--run-as", "postgres"]).expect(0);
    // It does not work in the sandbox of the service.
    installed.shows("sendmail cannot leave the sandbox");
    // Units share the folders of locks and state, which belong to one user.
    let text = fs::read_to_string(host_env.path("config.toml")).unwrap().replace("nightly", "weekly");
    fs::write(host_env.path("other.toml"), text).unwrap();
    let root = host_env.root().display().to_string();
    let other = host_env.path("other.toml").display().to_string();
    let install = |user: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.args(["--config", &other, "schedule", "install", "--systemd", "--run-as", user, "--root", &root]);
        finish(command.env("HOME", host_env.folder.path()).env_remove("LONGSHORE_CONFIG"))
    };
    install("root").expect(6).shows("runs as \"postgres\"").shows("--run-as postgres");
    install("postgres").expect(0);
    // A later installation does not start the tasks at once.
    let stamp = host_env.root().join("var/lib/systemd/timers/stamp-longshore-run@nightly.timer");
    fs::create_dir_all(stamp.parent().unwrap()).unwrap();
    fs::write(&stamp, "").unwrap();
    host_env.schedule(&["uninstall"]).expect(0);
    assert!(!stamp.exists() && host_env.unit("longshore-run@weekly.timer").exists());
}

#[test]
fn units_are_valid_and_sandboxed() {
    let host_env = HostEnv::new(ALL_VERBS);
    host_env.schedule(&["install", "--systemd", "--run-as", "postgres"]).expect(0).shows("as postgres");
    for verb in ["run", "verify", "sync", "prune", "drill"] {
        let [service, timer] =
            ["service", "timer"].map(|suffix| host_env.unit(&format!("longshore-{verb}@nightly.{suffix}")));
        let text = fs::read_to_string(&service).unwrap();
        assert!(text.contains("\nUser=postgres\n"), "{text}");
        // Its end would remove the shared memory of the user's server.
        assert!(!text.contains("RemoveIPC"), "{text}");
        let verified = finish(Command::new("systemd-analyze").args(["verify", "--man=no"]).args([&timer, &service]));
        assert_eq!((verified.code, &*verified.stderr), (Some(0), ""), "{verb}");
        // The exposure, in tenths. A drill needs namespaces.
        expect_exposure(&service, if verb == "drill" { 32 } else { 20 });
    }
}

/// Fails if the exposure of a service is more than this, in tenths.
fn expect_exposure(service: &Path, limit: u32) {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", &format!("--threshold={limit}")]).arg(service);
    finish(&mut analyze).expect(0).shows("Overall exposure level");
}

#[test]
fn service_of_serve_replaces_timers_and_back() {
    let serve = "[serve]\nschedule = true\nstop_timeout = '2m'";
    let host_env = HostEnv::new(ALL_VERBS);
    let install = ["install", "--serve", "--run-as", "postgres"];
    host_env.schedule(&install).expect(1).shows("add schedule = true to [serve]");
    host_env.configure(&format!("{ALL_VERBS}{serve}"));
    host_env.schedule(&["install", "--systemd", "--run-as", "postgres"]).expect(0);
    let installed = host_env.schedule(&install).expect(0).shows("longshore serve starts run nightly as postgres");
    installed.shows("removed");
    let units = "etc/systemd/system";
    let link = format!("{units}/multi-user.target.wants/longshore.service");
    assert_eq!(files(&host_env.root()), [format!("{units}/longshore.service"), link]);
    let service = host_env.unit("longshore.service");
    let text = fs::read_to_string(&service).unwrap();
    let writable = format!("ReadWritePaths=-{}", host_env.path("nas").display());
    for line in
        ["Type=notify", "User=postgres", "TimeoutStopSec=180s", "RestrictNamespaces=user mnt net ipc pid", &writable]
    {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    let verified = finish(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&service));
    assert_eq!((verified.code, &*verified.stderr), (Some(0), ""));
    host_env.schedule(&install).expect(0).omits("wrote");

    // The service starts all jobs, so the timers of one cannot replace it.
    host_env.schedule(&["install", "nightly", "--systemd"]).expect(6).shows("starts all jobs");
    host_env.schedule(&["install", "--systemd", "--run-as", "postgres"]).expect(0).shows("longshore.service");
    assert_eq!(files(&host_env.root()).len(), 15, "timers, services and links of five verbs");
    host_env.schedule(&install).expect(0);
    host_env.schedule(&["uninstall"]).expect(0);
    assert!(files(&host_env.root()).is_empty());
    // A unit of the package or of an administrator is not replaced.
    fs::write(&service, "[Service]\nExecStart=/usr/bin/longshore serve\n").unwrap();
    host_env.schedule(&install).expect(6).shows("move the file away");
}

#[test]
fn service_of_the_package_has_the_same_sandbox() {
    let package = packaging("deb/longshore.service");
    expect_exposure(&package, 20);
    let host_env = HostEnv::new("schedule = '0 3 * * *'\n[serve]\nschedule = true");
    host_env.schedule(&["install", "--serve", "--run-as", "postgres"]).expect(0);
    expect_exposure(&host_env.unit("longshore.service"), 20);
    let [package, own] = [package, host_env.unit("longshore.service")].map(|path| fs::read_to_string(path).unwrap());
    let differs = |line: &&str| {
        let different = ["ExecStart=", "User=", "TimeoutStopSec=", "ReadWritePaths=", "ProtectSystem="];
        line.starts_with('#') || different.iter().any(|setting| line.starts_with(setting))
    };
    let missing: Vec<&str> =
        own.lines().filter(|line| !differs(line)).filter(|line| !package.lines().any(|other| other == *line)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn lines_of_cron_are_replaced_whole() {
    let host_env =
        HostEnv::new("[job.nightly.schedule]\nrun = '*/30 1-3 * * mon'\nprune = '0 7 * * *'\ncatch_up = false");
    let file = host_env.root().join("etc/cron.d/longshore");
    host_env
        .schedule(&["install", "--cron", "--run-as", "postgres"])
        .expect(0)
        .shows("cron starts run nightly as postgres");
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.contains("\n*/30 1-3 * * 1 postgres /") && !first.contains("@reboot"), "{first}");
    assert!(first.contains("schedule start nightly run --delayed --quiet >/dev/null\n"), "{first}");
    host_env.schedule(&["install", "--cron", "--run-as", "postgres"]).expect(0).omits("wrote");
    assert_eq!(host_env.json()[0]["started_by"][0]["kind"], "cron");

    // Lines of others stay.
    fs::write(&file, format!("{first}0 1 * * * root /usr/local/bin/other\n")).unwrap();
    host_env.configure("schedule = '0 3 * * *'");
    host_env.schedule(&["install", "--cron", "--run-as", "postgres"]).expect(0).shows("wrote");
    let second = fs::read_to_string(&file).unwrap();
    assert!(second.contains("\n0 3 * * * postgres ") && second.contains("\n@reboot postgres "), "{second}");
    assert!(!second.contains("1-3") && !second.contains("prune") && second.contains("bin/other"), "{second}");
    // Timers replace cron.
    host_env.schedule(&["install", "--systemd"]).expect(0);
    let third = fs::read_to_string(&file).unwrap();
    assert!(!third.contains("nightly") && third.contains("bin/other"), "{third}");
    assert_eq!(host_env.json()[0]["started_by"].as_array().unwrap().len(), 1);

    // cron has one time zone: that of the host.
    host_env.configure("schedule = '0 3 * * *'\ntimezone = 'Europe/Berlin'");
    host_env.schedule(&["install", "--cron"]).expect(1).shows("timezone = \"UTC\"");
    std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Berlin", host_env.root().join("etc/localtime")).unwrap();
    host_env.schedule(&["install", "--cron"]).expect(0).shows("03:00 Europe/Berlin");
}

#[test]
fn paths_cannot_add_lines_to_units() {
    let host_env = HostEnv::new("schedule = '0 3 * * *'");
    let text = fs::read_to_string(host_env.path("config.toml")).unwrap();
    let disk = format!("'{}'", host_env.path("disk").display());
    let folder = host_env.path("x\nUser=root");
    fs::create_dir_all(&folder).unwrap();
    let quoted = format!("{folder:?}");
    assert!(quoted.contains("\\n"), "{quoted}");
    fs::write(host_env.path("config.toml"), text.replace(&disk, &quoted)).unwrap();
    host_env.schedule(&["install", "--systemd"]).expect(6).shows("control character");
    assert!(files(&host_env.root()).is_empty());
}

#[test]
fn jobs_without_a_schedule_get_a_way_out() {
    let host_env = HostEnv::new("");
    host_env.schedule(&["install", "--systemd"]).expect(1).shows("no job has a schedule").shows("[job.nightly]");
    host_env
        .schedule(&["install", "nightly", "--cron"])
        .expect(1)
        .shows("add schedule = \"0 3 * * *\" to [job.nightly]");
    host_env.schedule(&["install", "nightyl"]).expect(1).shows("did you mean \"nightly\"?");
    host_env.schedule(&[]).expect(0).shows("no schedule").shows("[job.nightly]");
    host_env.configure("schedule = '0 3 15W * *'");
    host_env.schedule(&["install", "--systemd"]).expect(1).shows("without W");
    host_env.longshore(&["schedule", "start", "nightly", "drill"]).expect(1).shows("[job.nightly.schedule]");
}

#[test]
fn invalid_schedules_are_explained() {
    let host_env = HostEnv::new("");
    for (lines, expected) in [
        ("run = 'daily'", "write five fields as in cron"),
        ("retry = 2", "add run = \"0 3 * * *\""),
        ("run = '0 3 * * *'\nverify_percent = 10", "verify_percent needs verify"),
        ("verify = '0 3 * * *'\nverify_percent = 101", "from 1 to 100"),
        ("run = '0 3 * * *'\njitter = '2d'", "jitter must be at most 24h"),
        ("run = '0 3 * * *'\nretry = 101", "at most 100"),
        ("run = '0 3 * * *'\nbackup = '0 3 * * *'", "unknown field `backup`"),
    ] {
        host_env.configure(&format!("[job.nightly.schedule]\n{lines}"));
        host_env.longshore(&["schedule"]).expect(1).shows(expected).shows("config.toml:");
    }
    let other = "[job.other]\ncluster = 'main'\ndump = [{ type = 'pg_dump' }]\nencrypt = { type = 'none' }\n\
                 ship = ['disk']\nschedule = { sync = '0 3 * * *' }";
    host_env.configure(other);
    host_env.longshore(&["schedule"]).expect(1).shows("needs a second destination");
}

#[test]
fn started_task_is_retried_and_reported() {
    let host_env = HostEnv::new("[job.nightly.schedule]\nrun = '0 3 * * *'\nretry = 1\nretry_wait = '1s'");
    let started = host_env.longshore(&["schedule", "start", "nightly", "run"]).expect(2);
    started.shows("retry 1 of 1 in 1s");
    let reports = host_env.reports();
    assert_eq!(reports.len(), 2, "one report for each attempt");
    assert!(reports.iter().all(|report| report["outcome"] == "failed" && report["exit_code"] == 2), "{reports:?}");
    let task = &host_env.json()[0];
    assert_eq!((&task["last"]["outcome"], &task["last"]["exit_code"]), (&"failed".into(), &2.into()));
    host_env.schedule(&[]).expect(0).shows("failed").shows(" ago");
    // The run after the last due time serves it, also if it failed.
    host_env.longshore(&["schedule", "start", "nightly", "run", "--missed"]).expect(0).shows("was not missed");
    assert_eq!(host_env.reports().len(), 2);
    // A mistake in the configuration is not retried.
    host_env.configure("[job.nightly.schedule]\nprune = '0 3 * * *'\nretry = 3\nretry_wait = '24h'");
    host_env.longshore(&["schedule", "start", "nightly", "prune"]).expect(0);
}

#[test]
fn signal_ends_the_wait_for_a_retry() {
    let host_env = HostEnv::new("[job.nightly.schedule]\nrun = '0 3 * * *'\nretry = 1\nretry_wait = '24h'");
    let begun = Instant::now();
    let mut child = host_env.command(&["schedule", "start", "nightly", "run"]).spawn().unwrap();
    wait_for("the report of the first attempt", || (!host_env.reports().is_empty()).then_some(()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(2 | 143)), "{code:?}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(host_env.reports().len(), 1);
}

#[test]
fn verify_reads_backups_of_one_job() {
    let host_env = HostEnv::new(
        "[job.other]\ncluster = 'main'\ndump = [{ type = 'pg_dump' }]\n\
                                 encrypt = { type = 'none' }\nship = ['disk']\n[job.other.schedule]\nverify = '0 3 * * *'",
    );
    host_env.longshore(&["verify", "--job", "other"]).expect(0).shows("no backups");
    host_env.longshore(&["verify", "--job", "othr"]).expect(1).shows("did you mean \"other\"?");
    host_env.longshore(&["schedule", "start", "other", "verify"]).expect(0).shows("no backups");
    let verified: Value = serde_json::from_str(&host_env.schedule(&["other", "--json"]).expect(0).stdout).unwrap();
    assert_eq!((&verified[0]["verb"], &verified[0]["last"]["outcome"]), (&"verify".into(), &"done".into()));
}
