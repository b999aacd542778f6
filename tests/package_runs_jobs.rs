//! The Debian package: installation, upgrade and removal, and its timers on a booted host. The
//! tests change a copy of this host, as an overlay of its root file system.

mod slow {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::Value;
    use tempfile::TempDir;

    use crate::support::{CommandOutput, finish, wait_for};

    /// A copy of this host, which is discarded.
    struct HostCopy {
        folder: TempDir,
        booted: Option<Booted>,
    }

    /// A booted host.
    struct Booted {
        /// The process that has the terminal of the host.
        child: Child,
        /// The first process of the host.
        init: u32,
    }

    /// Mounts the copy below `$1`, at `$1/root`.
    const MOUNT: &str = "mount -t overlay overlay -o lowerdir=/,upperdir=$1/upper,workdir=$1/work $1/root && \
                         mount --bind $1/packages $1/root/mnt";

    impl HostCopy {
        fn new() -> Self {
            let folder = tempfile::Builder::new().prefix("longshore-test-").tempdir().unwrap();
            for name in ["upper", "work", "root", "packages"] {
                fs::create_dir(folder.path().join(name)).unwrap();
            }
            Self { folder, booted: None }
        }

        /// Builds the package of a version, and returns its path within the copy.
        fn package(&self, version: &str) -> String {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.packaging/deb/build.sh");
            let mut build = Command::new("sh");
            build.arg(script).arg(env!("CARGO_BIN_EXE_longshore")).arg(self.packages());
            build.env("LONGSHORE_DEB_VERSION", version).env("LONGSHORE_DEB_COMPRESSION", "-Zgzip -z1");
            let built = finish(&mut build).expect(0);
            let name = Path::new(built.stdout.trim()).file_name().unwrap().to_str().unwrap().to_owned();
            format!("/mnt/{name}")
        }

        fn packages(&self) -> PathBuf {
            self.folder.path().join("packages")
        }

        /// Runs a script on the copy: in the booted host, or else in its root directory.
        fn run(&self, script: &str) -> CommandOutput {
            let script =
                format!("export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8; set -e; {script}");
            let mut command = match &self.booted {
                None => {
                    let mut command = Command::new("unshare");
                    let mount = format!(
                        "{MOUNT} && mount --rbind /dev $1/root/dev && mount -t proc proc $1/root/proc && \
                         exec chroot $1/root sh -c \"$2\""
                    );
                    command.args(["--mount", "sh", "-c", &mount, "sh"]).arg(self.folder.path()).arg(script);
                    command
                }
                Some(booted) => {
                    let mut command = Command::new("nsenter");
                    command.args(["--target", &booted.init.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid"]);
                    command.args(["--cgroup", "sh", "-c", &script]);
                    command
                }
            };
            finish(command.env_clear().stdin(Stdio::null()))
        }

        /// Boots the copy, and waits until it runs.
        fn boot(&mut self) {
            // The host has its own identity, and needs a terminal.
            self.run("systemctl mask systemd-networkd-wait-online.service; rm -f /etc/machine-id").expect(0);
            let folder = self.folder.path().display();
            let boot = format!(
                "{MOUNT} && exec systemd-nspawn --quiet --directory=$1/root --boot --register=no --keep-unit \
                 --private-network --machine=longshore-test"
            );
            let command = format!("unshare --mount sh -c '{boot}' sh {folder}");
            let mut child = Command::new("script");
            child.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
            let child = child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            let init = wait_for("the first process of the host", || {
                let nspawn = descendants(child.id()).into_iter().find(|pid| name(*pid) == "systemd-nspawn")?;
                children(nspawn).into_iter().find(|pid| name(*pid) == "systemd")
            });
            self.booted = Some(Booted { child, init });
            wait_for("the boot of the host", || {
                let state = self.run("systemctl is-system-running || true").stdout;
                ["running", "degraded"].contains(&state.trim()).then_some(())
            });
        }
    }

    impl Drop for HostCopy {
        fn drop(&mut self) {
            let Some(mut booted) = self.booted.take() else { return };
            for pid in descendants(booted.child.id()).into_iter().rev().chain([booted.child.id()]) {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
                // Fails if the process has ended with its parent.
                kill_process(pid, Signal::KILL).ok();
            }
            booted.child.wait().unwrap();
        }
    }

    fn children(pid: u32) -> Vec<u32> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Returns the descendants of a process that belong to the test and to the manager of its host.
    fn descendants(pid: u32) -> Vec<u32> {
        children(pid).into_iter().flat_map(|child| [vec![child], descendants(child)].concat()).collect()
    }

    fn name(pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
    }

    /// A configuration that root owns and the user `postgres` may read.
    const CONFIGURE: &str = "mkdir -p /srv/backups/disk /srv/backups/nas; chown -R postgres: /srv/backups
        cat >/etc/longshore/config.toml <<END
[cluster.main]
connection = 'host=/var/run/postgresql port=5499 user=postgres'
[destination.disk]
type = 'local'
path = '/srv/backups/disk'
[destination.nas]
type = 'local'
path = '/srv/backups/nas'
[retention.standard]
keep_last = 3
[identity]
file = '/etc/longshore/identity.txt'
[job.nightly]
cluster = 'main'
dump = [{ type = 'pg_dumpall' }, { type = 'pg_dump' }]
encrypt = { type = 'age', recipients_file = '/etc/longshore/recipients.txt' }
ship = ['disk', 'nas']
retention = 'standard'
[job.nightly.schedule]
run = '* * * * *'
verify = '0 3 1 1 *'
drill = '0 3 1 1 *'
sync = '0 3 1 1 *'
prune = '0 3 1 1 *'
END
        age-keygen -o /etc/longshore/identity.txt 2>/dev/null
        age-keygen -y /etc/longshore/identity.txt >/etc/longshore/recipients.txt
        chmod 640 /etc/longshore/*";

    #[test]
    fn package_is_upgraded_and_leaves_backups() {
        let host_copy = HostCopy::new();
        let [first, second] = ["0.1.0-1", "0.1.0-2"].map(|version| host_copy.package(version));
        let lintian = Command::new("lintian")
            .args(["--fail-on", "error", "--allow-root"])
            .arg(host_copy.packages().join(first.trim_start_matches("/mnt/")))
            .output();
        let lintian = lintian.expect("lintian is missing: run `cargo xtask test`, which installs it");
        CommandOutput::of(lintian).expect(0).omits("E: ");

        host_copy.run(&format!("dpkg -i {first}")).expect(0);
        let permissions = host_copy.run("stat -c '%U:%G %a' /etc/longshore").expect(0);
        assert_eq!(permissions.stdout, "root:postgres 2750\n");
        host_copy
            .run("longshore --version; zcat /usr/share/man/man7/longshore-schedule.7.gz")
            .expect(0)
            .shows("OnCalendar");
        let schema = host_copy.run("cat /usr/share/longshore/config.schema.json").expect(0);
        assert_eq!(schema.stdout, include_str!("../crates/cli/config.schema.json"));
        host_copy.run("bash -n /usr/share/bash-completion/completions/longshore").expect(0);
        host_copy.run(CONFIGURE).expect(0);
        host_copy.run("longshore schedule install --systemd --root /").expect(0).shows("run nightly as postgres");
        let state = "cd /etc; sha256sum longshore/* systemd/system/longshore-*@*; stat -c '%n %U:%G %a' longshore/*";
        let before = host_copy.run(state).expect(0);
        before.shows("longshore/config.toml root:postgres 640");

        let before = host_copy.run(state).stdout;
        host_copy.run(&format!("dpkg -i {second}")).expect(0);
        host_copy.run("dpkg-query --show longshore").expect(0).shows("0.1.0-2");
        assert_eq!(host_copy.run(state).expect(0).stdout, before, "an upgrade changes nothing");

        host_copy.run("mkdir -p /var/lib/longshore; touch /srv/backups/disk/backup /var/lib/longshore/state").expect(0);
        host_copy.run("dpkg --remove longshore").expect(0);
        host_copy.run("ls /etc/systemd/system /etc/systemd/system/timers.target.wants").expect(0).omits("longshore");
        host_copy.run("test -e /var/lib/longshore/state").expect(0);
        host_copy.run("dpkg --purge longshore; test ! -e /var/lib/longshore").expect(0);
        host_copy.run("ls /srv/backups/disk/backup /etc/longshore/identity.txt /etc/longshore/config.toml").expect(0);
    }

    #[test]
    fn timers_run_every_verb_in_its_sandbox() {
        let mut host_copy = HostCopy::new();
        let package = host_copy.package("0.1.0-1");
        host_copy.run(&format!("dpkg -i {package}")).expect(0);
        host_copy.boot();
        host_copy.run("pg_createcluster --port 5499 $(ls /usr/lib/postgresql | head -n 1) longshore --start").expect(0);
        host_copy.run(CONFIGURE).expect(0);
        host_copy.run("longshore schedule install").expect(0).shows("systemd starts run nightly as postgres, next at");
        host_copy
            .run("longshore check | grep starts")
            .expect(0)
            .shows("longshore-drill@nightly.timer starts \"drill\"");
        // The timer starts within a minute.
        let tasks =
            || -> Value { serde_json::from_str(&host_copy.run("longshore schedule --json").expect(0).stdout).unwrap() };
        let last = |verb: &str| {
            let tasks = tasks();
            let task = tasks.as_array().unwrap().iter().find(|task| task["verb"] == verb).unwrap().clone();
            task["last"]["outcome"].as_str().map(str::to_owned)
        };
        let begun = Instant::now();
        while last("run").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the timer started nothing");
            std::thread::sleep(Duration::from_secs(1));
        }
        for verb in ["run", "verify", "sync", "drill", "prune"] {
            let started = host_copy.run(&format!(
                "systemctl start longshore-{verb}@nightly.service || true; \
                 journalctl --no-pager --output=cat --unit longshore-{verb}@nightly.service"
            ));
            assert_eq!(last(verb).as_deref(), Some("done"), "{verb}: {started:?}");
            if verb == "drill" {
                started.shows("in namespaces of its own");
            }
        }
        let owner = host_copy.run("stat -c %U /var/lib/longshore /run/longshore /srv/backups/disk/main").expect(0);
        assert_eq!(owner.stdout, "postgres\n".repeat(3));
        host_copy
            .run("longshore schedule uninstall; systemctl list-timers --all 'longshore*'")
            .expect(0)
            .shows("0 timers");
    }
}
