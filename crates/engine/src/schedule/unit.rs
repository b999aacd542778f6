//! The texts of systemd's units: a timer and a service for each task, and the service of
//! `longshore serve`.
//!
//! The services run in a sandbox: the file system is read-only except for the directories that the
//! tasks write to, without capabilities, devices and kernel settings. A service that drills may
//! also create namespaces, in which the server of a drill is isolated.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_schedule::{Task, Verb};

/// The beginning of the first line of each file that Longshore writes.
pub(super) const MARK: &str = "# Written by `longshore schedule install` from ";

/// The manager that runs the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    /// The manager of the system.
    System,
    /// The manager of a user.
    User,
}

/// The facts about a task that its timer needs.
#[derive(Debug)]
pub(super) struct TimerFacts<'a> {
    pub(super) task: &'a Task,
    /// The values of `OnCalendar=`.
    pub(super) calendar: &'a [String],
    /// The length of time over which starts are spread, in seconds.
    pub(super) jitter_seconds: u64,
    pub(super) config: &'a Path,
}

/// The facts that the unit of a service needs.
#[derive(Debug)]
pub(super) struct ServiceFacts<'a> {
    /// The program and its arguments.
    pub(super) command: &'a [String],
    pub(super) config: &'a Path,
    pub(super) manager: Manager,
    /// The user of the service; `None` for the user of the manager.
    pub(super) user: Option<&'a str>,
    /// The home directory of the user.
    pub(super) home: Option<&'a Path>,
    /// The directories that the service writes to.
    pub(super) writable: &'a [PathBuf],
    /// True if the service drills.
    pub(super) drills: bool,
    pub(super) sandbox: Sandbox,
}

/// The sandbox of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// All restrictions that the tasks permit.
    Strict,
    /// No restrictions.
    None,
}

/// Returns the name of a task's units, without their suffix.
pub(super) fn unit_name(job: &str, verb: Verb) -> String {
    format!("longshore-{verb}@{job}")
}

/// Returns the text of the timer.
pub(super) fn timer(facts: &TimerFacts<'_>) -> String {
    let Task { job, verb, catch_up, .. } = facts.task;
    let mut text = first_lines(facts.config);
    let calendar: String = facts.calendar.iter().map(|entry| format!("OnCalendar={entry}\n")).collect();
    let zone = facts.task.schedule.zone();
    write!(
        text,
        "[Unit]\n\
         Description=Longshore: start \"{verb}\" of job \"{job}\" by schedule\n\
         Documentation=man:longshore-schedule(7)\n\
         \n\
         [Timer]\n\
         # The schedule of the configuration: {expression}, in {zone}. Single times are those that a\n\
         # change of the clock skips or repeats.\n\
         {calendar}\
         # Start once after the host was off at a due time.\n\
         Persistent={persistent}\n\
         # Spread the starts of many hosts; the delay of a host is always the same.\n\
         RandomizedDelaySec={jitter}s\n\
         FixedRandomDelay=yes\n\
         AccuracySec=1s\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        expression = facts.task.schedule.expression(),
        zone = zone.name(),
        persistent = if *catch_up { "yes" } else { "no" },
        jitter = facts.jitter_seconds,
    )
    .unwrap_or_default();
    text
}

/// Returns the text of the service of a task.
pub(super) fn service(task: &Task, facts: &ServiceFacts<'_>) -> String {
    let Task { job, verb, .. } = task;
    let lines = [
        "Type=oneshot",
        "# Exit codes: 1 configuration, 2 failed, 3 partly done, 4 a damaged backup was found, 5 locked,",
        "# 6 refused. systemd shows other names for them.",
        "TimeoutStartSec=infinity",
        "# Longshore forwards the signal, and cleans up.",
        "KillMode=mixed",
        "TimeoutStopSec=2min",
    ];
    let documentation = "man:longshore-schedule(7) man:longshore-config(5)";
    service_text(&format!("\"{verb}\" of job \"{job}\""), documentation, &lines, facts)
}

/// Returns the text of the service of `longshore serve`. A stop waits `stop_timeout` for tasks.
pub(super) fn serve(stop_timeout: Duration, facts: &ServiceFacts<'_>) -> String {
    // Tasks also have time to clean up.
    let timeout = format!("TimeoutStopSec={}s", stop_timeout.as_secs() + 60);
    let lines = [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartSec=10s",
        "# An invalid configuration, which a restart does not mend.",
        "RestartPreventExitStatus=1",
        "WatchdogSec=60",
        "# The service waits stop_timeout for tasks in progress, and then ends them.",
        "KillMode=mixed",
        &timeout,
    ];
    let documentation = "man:longshore-serve(7) man:longshore-config(5)";
    let text = service_text("web pages, metrics, and jobs by their schedules", documentation, &lines, facts);
    format!("{text}\n[Install]\nWantedBy=multi-user.target\n")
}

/// Returns the text of a service with these lines.
fn service_text(description: &str, documentation: &str, lines: &[&str], facts: &ServiceFacts<'_>) -> String {
    let mut text = first_lines(facts.config);
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    add("[Unit]");
    add(&format!("Description=Longshore: {description}"));
    add(&format!("Documentation={documentation}"));
    if facts.manager == Manager::System {
        add("Wants=network-online.target");
        add("After=network-online.target postgresql.service");
    }
    add("");
    add("[Service]");
    add(&format!(
        "ExecStart={}",
        facts.command.iter().map(|word| quoted(word).replace('$', "$$")).collect::<Vec<_>>().join(" ")
    ));
    lines.iter().for_each(|line| add(line));
    if let Some(user) = facts.user {
        add(&format!("User={user}"));
    }
    add("UMask=0077");
    if facts.manager == Manager::User {
        add("NoNewPrivileges=yes");
        return text;
    }
    add("# Locks and state are shared by all units of Longshore, and with runs by hand of this user.");
    add("RuntimeDirectory=longshore");
    add("RuntimeDirectoryMode=0700");
    add("RuntimeDirectoryPreserve=yes");
    add("StateDirectory=longshore");
    add("StateDirectoryMode=0700");
    add("# Sockets of ssh, and the spool of rsync destinations without spool_dir.");
    add("Environment=XDG_STATE_HOME=%S/longshore");
    if facts.sandbox == Sandbox::Strict {
        restrictions(facts).iter().for_each(|line| add(line));
    }
    text
}

/// Returns the settings of the sandbox.
fn restrictions(facts: &ServiceFacts<'_>) -> Vec<String> {
    let is_root = facts.user.is_none_or(|user| user == "root");
    let mut lines: Vec<String> = vec![
        "# The sandbox. Add what a hook or a plugin needs with `systemctl edit`; a later installation".to_owned(),
        "# keeps such changes.".to_owned(),
        "ProtectSystem=strict".to_owned(),
    ];
    // A missing directory is an error of Longshore, with a hint and a report.
    lines.extend(
        facts.writable.iter().map(|path| format!("ReadWritePaths={}", quoted(&format!("-{}", path.display())))),
    );
    lines.push("ReadWritePaths=/tmp /var/tmp".to_owned());
    let is_below = |folder: &str| facts.home.is_some_and(|home| home.starts_with(folder));
    let hides_home = !["/home", "/root", "/run/user"].into_iter().any(is_below);
    let needs_home = !hides_home
        || facts
            .writable
            .iter()
            .map(PathBuf::as_path)
            .chain([facts.config])
            .chain(facts.command.first().map(Path::new))
            .any(|path| ["/home", "/root", "/run/user"].iter().any(|folder| path.starts_with(folder)));
    lines.push(format!("ProtectHome={}", if needs_home { "read-only" } else { "yes" }));
    let mut set = |settings: &[&str]| lines.extend(settings.iter().map(|setting| (*setting).to_owned()));
    set(&[
        "PrivateDevices=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "LockPersonality=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallErrorNumber=EPERM",
    ]);
    if !is_root {
        set(&["NoNewPrivileges=yes", "AmbientCapabilities="]);
    }
    match (facts.drills, is_root) {
        (false, false) => set(&[
            "CapabilityBoundingSet=",
            "ProtectProc=invisible",
            "ProcSubset=all",
            "MemoryDenyWriteExecute=yes",
            "RestrictNamespaces=yes",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~@privileged",
            "SystemCallFilter=@chown",
        ]),
        (false, true) => set(&[
            "# Root reads files of other users, and gives the owner of a destination its files.",
            "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_SETUID CAP_SETGID",
            "MemoryDenyWriteExecute=yes",
            "RestrictNamespaces=yes",
            "SystemCallFilter=@system-service @setuid @chown",
        ]),
        (true, false) => set(&[
            "# The server of a drill runs in namespaces of its own, where it may mount.",
            "CapabilityBoundingSet=",
            "RestrictNamespaces=user mnt net ipc pid",
            "SystemCallFilter=@system-service @mount unshare setns pivot_root",
            "SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap",
        ]),
        (true, true) => set(&[
            "# Root creates the namespaces of a drill, and switches to the user of its server.",
            "RestrictNamespaces=user mnt net ipc pid",
            "CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN CAP_FOWNER \
             CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_KILL",
        ]),
    }
    lines
}

fn first_lines(config: &Path) -> String {
    format!(
        "{MARK}{}.\n# A later installation replaces this file; use `systemctl edit` for changes.\n",
        config.display()
    )
}

/// Quotes a word for a unit: spaces, and the characters that systemd expands.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+@:,=%$".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") }
}
