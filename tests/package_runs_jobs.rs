//! The Debian package: installation, upgrade and removal, and its units on a booted host. The tests
//! change a copy of this host.

mod slow {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use longshore_testkit::garage;
    use serde_json::{Value, json};

    use crate::support::CommandOutput;
    use crate::support::host_copy::HostCopy;
    use crate::support::packaging::{build_deb_of_sources, build_rpm};

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

    /// Starts an SSH server with the account `vault` on the host. The key is `/etc/longshore/id`.
    const START_SSHD: &str = "useradd --create-home --password '*' vault
        mkdir -p /run/sshd /srv/remote/ssh /srv/remote/sftp /srv/remote/rsync; chown -R vault: /srv/remote
        ssh-keygen -q -t ed25519 -N '' -C test -f /etc/longshore/id; chmod 640 /etc/longshore/id
        install -d -o vault -m 700 /home/vault/.ssh
        install -o vault -m 600 /etc/longshore/id.pub /home/vault/.ssh/authorized_keys
        [ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -A
        echo \"[127.0.0.1]:2222 $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)\" >/etc/longshore/known_hosts
        systemd-run --quiet /usr/sbin/sshd -D -f /dev/null -p 2222 -o ListenAddress=127.0.0.1 \
            -o 'Subsystem=sftp internal-sftp'
        until ssh-keyscan -p 2222 127.0.0.1 2>/dev/null | grep -q ssh; do sleep 0.1; done";

    /// Starts an S3 store with the bucket `backups` on the host. `$GARAGE` is its program.
    const START_S3: &str = "garage() { $GARAGE -c /srv/garage.toml \"$@\"; }
        cat >/srv/garage.toml <<END
metadata_dir = '/srv/garage/meta'
data_dir = '/srv/garage/data'
db_engine = 'sqlite'
replication_factor = 1
rpc_bind_addr = '127.0.0.1:3901'
rpc_public_addr = '127.0.0.1:3901'
rpc_secret = '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'
[s3_api]
s3_region = 'garage'
api_bind_addr = '127.0.0.1:3900'
END
        chmod 600 /srv/garage.toml
        systemd-run --quiet $GARAGE -c /srv/garage.toml server
        until garage status >/dev/null 2>&1; do sleep 0.1; done
        garage layout assign -z a -c 1G \"$(garage node id -q | cut -d @ -f 1)\"
        garage layout apply --version 1
        garage bucket create backups
        secret=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        garage key import --yes -n test GK0123456789abcdef01234567 $secret
        garage bucket allow --read --write --owner backups --key GK0123456789abcdef01234567
        echo $secret >/etc/longshore/s3-secret; chmod 640 /etc/longshore/s3-secret";

    /// Adds the destinations of these servers to the configuration.
    const SHIP_TO_SERVERS: &str =
        "sed -i \"s/^ship = .*/ship = ['disk', 'vault', 'mirror', 'bucket']/\" /etc/longshore/config.toml
        for host in vault:sftp mirror:rsync; do cat >>/etc/longshore/config.toml <<END
[destination.${host%:*}]
type = '${host#*:}'
host = 'vault@127.0.0.1'
port = 2222
path = '/srv/remote/${host#*:}'
identity_file = '/etc/longshore/id'
known_hosts_file = '/etc/longshore/known_hosts'
END
        done
        cat >>/etc/longshore/config.toml <<END
[destination.bucket]
type = 's3'
bucket = 'backups'
region = 'garage'
endpoint = 'http://127.0.0.1:3900'
allow_http = true
access_key_id = 'GK0123456789abcdef01234567'
secret_access_key_file = '/etc/longshore/s3-secret'
END";

    /// Boots a host with the package, a cluster and the configuration.
    fn booted() -> HostCopy {
        let mut host_copy = HostCopy::new();
        let package = host_copy.package("0.1.0-1");
        host_copy.run(&format!("dpkg -i {package}")).expect(0);
        host_copy.boot();
        host_copy.run("pg_createcluster --port 5499 $(ls /usr/lib/postgresql | head -n 1) longshore --start").expect(0);
        host_copy.run(CONFIGURE).expect(0);
        host_copy
    }

    /// Returns the outcome of the last run of a verb, and its beginning.
    fn last(host_copy: &HostCopy, verb: &str) -> Option<(String, String)> {
        let tasks: Value = serde_json::from_str(&host_copy.run("longshore schedule --json").expect(0).stdout).unwrap();
        let task = tasks.as_array().unwrap().iter().find(|task| task["verb"] == verb).unwrap();
        let text = |name: &str| task["last"][name].as_str().map(str::to_owned);
        Some((text("outcome")?, text("begun")?))
    }

    /// Waits for a run of a verb other than `known`, which begins within a minute, and returns its
    /// outcome.
    fn wait_for_run(host_copy: &HostCopy, verb: &str, known: Option<&(String, String)>) -> String {
        let begun = Instant::now();
        loop {
            match last(host_copy, verb) {
                Some(found) if Some(&found) != known => return found.0,
                _ => assert!(begun.elapsed() < Duration::from_secs(180), "{verb} was not started"),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Returns the exposure of a unit, as `systemd-analyze security` computes it.
    fn exposure(host_copy: &HostCopy, unit: &str) -> f64 {
        let output = host_copy.run(&format!("systemd-analyze security --no-pager {unit} | tail -n 1")).expect(0).stdout;
        let number = output.rsplit_once(": ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("{output}"))
    }

    /// Returns the status of a page of the service.
    fn status_of(host_copy: &HostCopy, line: &str) -> String {
        let request = format!(
            "python3 -c \"import urllib.request as r; print(r.urlopen(r.Request('http://127.0.0.1:8470{line})).status)\""
        );
        host_copy.run(&request).expect(0).stdout.trim().to_owned()
    }

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
        host_copy
            .run("cd /usr/share/doc/longshore/examples/exec; test -x rclone -a -x gpg-encrypt; cat README.md")
            .expect(0);
        host_copy.run(CONFIGURE).expect(0);
        // As bash loads and calls the completions of a package.
        let complete = "cd /usr/share; . bash-completion/completions/longshore; COMP_WORDS=(longshore run n) \
                        COMP_CWORD=2; _longshore longshore n run; echo \"$COMPREPLY\"; fish -n \
                        fish/vendor_completions.d/longshore.fish; zsh -n zsh/vendor-completions/_longshore";
        let completed = host_copy.run(&format!("bash -c '{complete}'")).expect(0);
        assert_eq!((completed.stdout.as_str(), completed.stderr.as_str()), ("nightly\n", ""));
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
        host_copy.run("ls -R /etc/systemd/system").expect(0).omits("longshore");
        host_copy.run("test -e /var/lib/longshore/state").expect(0);
        host_copy.run("dpkg --purge longshore; test ! -e /var/lib/longshore").expect(0);
        host_copy.run("ls /srv/backups/disk/backup /etc/longshore/identity.txt /etc/longshore/config.toml").expect(0);
    }

    #[test]
    fn rpm_package_installs_and_leaves_backups() {
        let host_copy = HostCopy::new();
        let package = build_rpm(&host_copy.packages());
        let name = package.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with("longshore-0.1.0-1."), "{name}");
        let query = |what: &str| host_copy.run(&format!("rpm --query {what} --package /mnt/{name}")).expect(0);
        query("--requires").shows("libc.so.6()(64bit)");
        query("--list").shows("/usr/lib/systemd/system/longshore.socket").omits("vendor-completions").omits("lintian");
        // The libraries of this host are packages of another kind.
        host_copy.run(&format!("rpm --install --nodeps --force-debian /mnt/{name}")).expect(0).shows("longshore init");
        host_copy.run("longshore --version").expect(0);
        let files = "stat -c '%U:%G %a' /etc/longshore; tail -n 1 /etc/systemd/system/longshore.service.d/user.conf";
        assert_eq!(host_copy.run(files).expect(0).stdout, "root:postgres 2750\nUser=postgres\n");
        host_copy.run(CONFIGURE).expect(0);
        host_copy.run("longshore schedule install --systemd --root /; touch /srv/backups/disk/backup").expect(0);
        host_copy.run("rpm --erase --force-debian longshore").expect(0);
        host_copy.run("ls -R /etc/systemd/system").expect(0).omits("longshore");
        host_copy
            .run("ls /srv/backups/disk/backup /etc/longshore/identity.txt; test ! -e /usr/bin/longshore")
            .expect(0);
    }

    #[test]
    fn package_of_the_sources_lists_its_dependencies() {
        let host_copy = HostCopy::new();
        let package = build_deb_of_sources(&host_copy.packages());
        let package = package.file_name().unwrap().to_str().unwrap();
        host_copy.run(&format!("dpkg -i /mnt/{package}; longshore --version")).expect(0);
        // Compressed by zlib, as scanners read it.
        let list = "objcopy --dump-section .dep-v0=/tmp/list /usr/bin/longshore /tmp/copy; \
                    python3 -c \"import zlib; print(zlib.decompress(open('/tmp/list', 'rb').read()).decode())\"";
        let list: Value = serde_json::from_str(&host_copy.run(list).expect(0).stdout).unwrap();
        let names: Vec<&str> =
            list["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
        for name in ["longshore", "longshore-engine", "age", "aws-lc-sys", "tokio"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
    }

    #[test]
    fn timers_run_every_verb_in_its_sandbox() {
        let host_copy = booted();
        host_copy.run(START_SSHD).expect(0);
        let garage = garage::installation().join("bin/garage");
        host_copy.run(&format!("GARAGE={}; {START_S3}", garage.display())).expect(0);
        host_copy.run(SHIP_TO_SERVERS).expect(0);
        host_copy.run("longshore schedule install").expect(0).shows("systemd starts run nightly as postgres, next at");
        host_copy
            .run("longshore check | grep starts")
            .expect(0)
            .shows("longshore-drill@nightly.timer starts \"drill\"");
        let logs = |verb: &str| {
            host_copy.run(&format!("journalctl --no-pager --output=cat --unit longshore-{verb}@nightly.service"))
        };
        assert_eq!(wait_for_run(&host_copy, "run", None), "done", "{:?}", logs("run"));
        for verb in ["verify", "sync", "drill", "prune"] {
            host_copy.run(&format!("systemctl start longshore-{verb}@nightly.service || true"));
            let outcome = last(&host_copy, verb).map(|(outcome, _)| outcome);
            assert_eq!(outcome.as_deref(), Some("done"), "{verb}: {:?}", logs(verb));
        }
        logs("drill").shows("in namespaces of its own");
        for unit in ["run", "verify", "sync", "prune"] {
            let exposure = exposure(&host_copy, &format!("longshore-{unit}@nightly.service"));
            assert!(exposure <= 2.0, "{unit}: {exposure}");
        }
        let copies = host_copy
            .run("cd /; runuser -u postgres -- longshore --config /etc/longshore/config.toml list --all --json")
            .expect(0)
            .stdout;
        let copies: Value = serde_json::from_str(&copies).unwrap();
        let verified = copies.as_array().unwrap().iter().map(|backup| &backup["verified_at"]);
        let verified: Vec<&Value> = verified.filter(|at| **at != json!([])).collect();
        assert!(!verified.is_empty(), "{copies}");
        for at in verified {
            assert_eq!(*at, json!(["bucket", "disk", "mirror", "vault"]));
        }
        let owner = host_copy.run("stat -c %U /var/lib/longshore /run/longshore /srv/backups/disk/main").expect(0);
        assert_eq!(owner.stdout, "postgres\n".repeat(3));
        host_copy
            .run("longshore schedule uninstall; systemctl list-timers --all 'longshore*'")
            .expect(0)
            .shows("0 timers");
    }

    #[test]
    fn service_of_the_package_answers_and_runs_jobs() {
        let host_copy = booted();
        host_copy.run("systemctl is-enabled longshore.service longshore.socket || true").shows("disabled\ndisabled");
        host_copy.run("printf '[serve]\\nallow = [\"run\"]\\n' >>/etc/longshore/config.toml").expect(0);
        host_copy.run("systemctl enable --now longshore.service").expect(0);
        assert_eq!(status_of(&host_copy, "/healthz'"), "200");
        assert!(exposure(&host_copy, "longshore.service") <= 2.0);
        let properties = host_copy.run("systemctl show --property=User,Type,WatchdogUSec longshore.service").expect(0);
        for property in ["User=postgres", "Type=notify", "WatchdogUSec=1min"] {
            assert!(properties.stdout.lines().any(|line| line == property), "{property} not in {properties:?}");
        }
        let run = "/jobs/nightly/run', method='POST', headers={'Origin': 'http://127.0.0.1:8470'}";
        assert_eq!(status_of(&host_copy, run), "202");
        let logs = || host_copy.run("journalctl --no-pager --output=cat --unit longshore.service");
        assert_eq!(wait_for_run(&host_copy, "run", None), "done", "{:?}", logs());

        // The socket starts the service.
        host_copy.run("systemctl disable --now longshore.service; systemctl start longshore.socket").expect(0);
        assert_eq!(status_of(&host_copy, "/healthz'"), "200");
        host_copy.run("systemctl is-active longshore.service").expect(0);
        host_copy.run("systemctl stop longshore.socket longshore.service").expect(0);

        // With the schedules of the configuration, also of drills.
        host_copy.run("longshore schedule install --serve").expect(1).shows("add schedule = true to [serve]");
        host_copy.run("echo 'schedule = true' >>/etc/longshore/config.toml; longshore schedule install").expect(0);
        host_copy.run("sed -i \"s/^drill = .*/drill = '* * * * *'/\" /etc/longshore/config.toml").expect(0);
        let before = last(&host_copy, "run");
        host_copy
            .run("longshore schedule install --serve")
            .expect(0)
            .shows("longshore serve starts run nightly as postgres");
        host_copy.run("systemctl list-timers --all 'longshore*'").expect(0).shows("0 timers");
        host_copy.run("longshore schedule").expect(0).shows("longshore serve").omits("timer");
        assert_eq!(wait_for_run(&host_copy, "run", before.as_ref()), "done", "{:?}", logs());
        assert_eq!(wait_for_run(&host_copy, "drill", None), "done", "{:?}", logs());
        host_copy.run("cat /etc/systemd/system/longshore.service").expect(0).shows("ReadWritePaths=-/srv/backups/nas");
        host_copy.run("longshore schedule install nightly").expect(6).shows("starts all jobs");
        host_copy.run("longshore schedule install; systemctl is-active longshore.service").expect(3);
        host_copy.run("test ! -e /etc/systemd/system/longshore.service").expect(0);
        host_copy.run("systemctl list-timers --all 'longshore*'").expect(0).shows("5 timers");
    }

    /// Returns the command that an output proposes: the text after a mark, up to a backtick or the
    /// end of the line.
    fn proposed(output: &CommandOutput, mark: &str) -> String {
        let all = format!("{}{}", output.stdout, output.stderr);
        let (_, rest) = all.split_once(mark).unwrap_or_else(|| panic!("{mark:?} not in {all}"));
        rest.lines().next().unwrap().split('`').next().unwrap().to_owned()
    }

    #[test]
    fn six_commands_lead_from_the_package_to_a_drill() {
        let mut host_copy = HostCopy::new();
        let package = host_copy.package("0.1.0-1");
        host_copy.boot();
        let only = "pg_lsclusters --no-header | while read -r version name rest; do
                pg_dropcluster --stop $version $name; done
            pg_createcluster --port 5499 $(ls /usr/lib/postgresql | head -n 1) longshore --start";
        host_copy.run(only).expect(0);
        host_copy.run("cd /; runuser -u postgres -- createdb --port 5499 shop").expect(0);
        // An administrator who reaches the backup host by ssh.
        host_copy.run(&format!("mkdir /etc/longshore; {START_SSHD}")).expect(0);
        let ssh = "cd /etc/longshore; install -d -o postgres -m 700 ~postgres/.ssh
            install -o postgres -m 600 id ~postgres/.ssh/id_ed25519
            install -o postgres -m 600 known_hosts ~postgres/.ssh/known_hosts; rm -r /etc/longshore";
        host_copy.run(ssh).expect(0);

        // Every command but the first is one that the output before it proposes.
        let begun = Instant::now();
        let as_postgres = |command: &str| host_copy.run(&format!("cd /; runuser -u postgres -- {command}"));
        let installed = host_copy.run(&format!("dpkg -i {package}")).expect(0);
        let init = proposed(&installed, "longshore: next: ");
        let init = init.replace("USER@HOST/DIRECTORY", "vault@127.0.0.1:2222/srv/remote/ssh");
        let initialised = host_copy.run(&format!("cd /; {init}")).expect(0);
        let checked = as_postgres(&proposed(&initialised, "Next: `")).expect(0);
        checked.shows_in_order(&["ok", "destination ssh"]);
        let scheduled = host_copy.run(&proposed(&checked, "as root: `")).expect(0);
        let next = ["systemd starts run nightly as postgres", "next: `longshore", "list` as postgres"];
        scheduled.shows_in_order(&next);
        let listed = as_postgres(&proposed(&scheduled, "next: `")).expect(0);
        listed.shows_in_order(&["main/globals", "main/shop", "no backup was drilled yet"]);
        as_postgres(&proposed(&listed, "hint: ")).expect(0).shows("restored and compared");
        assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());

        as_postgres("longshore list").expect(0).omits("no backup was drilled yet");
        let root = host_copy.run("longshore init").expect(2);
        root.shows("runuser -u postgres -- longshore init");
    }
}
