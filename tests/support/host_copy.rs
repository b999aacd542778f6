//! A copy of this host, as an overlay of its root file system, which tests change and boot.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::packaging::build_deb;
use super::{CommandOutput, finish, wait_for};

/// A copy of this host, which is discarded.
pub(crate) struct HostCopy {
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
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("longshore-test-").tempdir().unwrap();
        for name in ["upper", "work", "root", "packages"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, booted: None }
    }

    /// Builds the package of a version, and returns its path within the copy.
    pub(crate) fn package(&self, version: &str) -> String {
        let package = build_deb(version, &self.packages());
        let name = package.file_name().unwrap().to_str().unwrap();
        format!("/mnt/{name}")
    }

    pub(crate) fn packages(&self) -> PathBuf {
        self.folder.path().join("packages")
    }

    /// Runs a script on the copy: in the booted host, or else in its root directory.
    pub(crate) fn run(&self, script: &str) -> CommandOutput {
        let script = format!("export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8; set -e; {script}");
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
    pub(crate) fn boot(&mut self) {
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
