//! Schedules that nothing starts, or that several programs start.

use std::path::Path;

use longshore_config::{Config, Job};
use longshore_core::check::Finding;

use crate::run_history::ReportDir;
use crate::schedule::{Host, Starter, starters};

/// Returns a finding for each scheduled verb of the jobs: what starts it on this host.
pub(super) fn check_schedules(config: &Config, jobs: &[&Job], host: &Host) -> Vec<Finding> {
    let mut starters = starters(config, host);
    let mut findings = Vec::new();
    for job in jobs {
        let subject = format!("job {}", job.name);
        for (verb, schedule) in &job.timetable.schedules {
            let found: Vec<Starter> =
                starters.remove(&(job.name.clone(), *verb)).unwrap_or_default().into_iter().collect();
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            findings.push(match names.as_slice() {
                [] => Finding::warning(
                    &subject,
                    format!(
                        "nothing starts \"{verb}\" by its schedule \"{}\": no timer, line of cron or `longshore serve` \
                         was found",
                        schedule.expression()
                    ),
                    way_out(config, job, host),
                ),
                [name] => Finding::good(&subject, format!("{name} starts \"{verb}\"")),
                names => Finding::warning(
                    &subject,
                    format!("\"{verb}\" is started by {}", names.join(" and by ")),
                    "keep one of them: disable the timer, remove the line of cron, or run `longshore schedule uninstall`",
                ),
            });
        }
    }
    findings
}

/// Returns the remedy for a schedule that nothing starts. On a host with systemd it names the
/// command that also makes the first backup of a job without one.
fn way_out(config: &Config, job: &Job, host: &Host) -> String {
    let path = config.path.display();
    let (is_root, has_systemd) = (rustix::process::geteuid().is_root(), host.has_systemd());
    let flag = match is_root && config.path == Path::new("/etc/longshore/config.toml") {
        true => String::new(),
        false => format!(" --config {path}"),
    };
    let has_run = ReportDir::open_all(config, std::iter::once(job))
        .is_ok_and(|all| all.iter().any(|(_, report_dir)| report_dir.reports().is_ok_and(|ids| !ids.is_empty())));
    let (now, first) = match has_systemd && !has_run {
        true => (" --now", ", which also makes the first backup"),
        false => ("", ""),
    };
    match has_systemd && !is_root {
        true => format!(
            "let systemd start it, as root: `longshore{flag} schedule install{now}`{first}; or run `longshore serve`"
        ),
        false => format!(
            "let systemd or cron start it with `longshore{flag} schedule install{now}`{first}; or run `longshore serve`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono_tz::Tz;
    use longshore_core::check::Outcome;
    use longshore_schedule::{Expression, Schedule, Verb};
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::config;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns the outcome of the check on the host below `root`, and its message.
    fn check(config: &Config, root: &Path) -> (Outcome, String) {
        let jobs: Vec<&Job> = config.jobs.values().collect();
        let findings = check_schedules(config, &jobs, &Host::below(root.to_owned()));
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        (finding.outcome, finding.message.clone())
    }

    #[test]
    fn schedule_that_nothing_or_two_start_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mut config = config(root, &MemoryStore::new(), None);
        let job = config.jobs.values_mut().next().unwrap();
        let schedule = Schedule::new(Expression::try_from("0 3 * * *".to_owned()).unwrap(), Tz::UTC);
        job.timetable.schedules.insert(Verb::Run, schedule);
        let command = format!("/usr/bin/longshore --config {} run {}", config.path.display(), job.name);

        let (outcome, message) = check(&config, root);
        assert_eq!(outcome, Outcome::Warning);
        assert!(message.contains("nothing starts \"run\" by its schedule \"0 3 * * *\""), "{message}");

        // A template of an administrator, not enabled, and then enabled.
        let units = "etc/systemd/system";
        write(root, &format!("{units}/backup@.timer"), "[Timer]\nOnCalendar=daily\n");
        let service = format!("[Service]\nExecStart=-/bin/old\nExecStart=\nExecStart=@{command}\n");
        write(root, &format!("{units}/backup@.service"), &service);
        assert_eq!(check(&config, root).0, Outcome::Warning);
        write(root, &format!("{units}/timers.target.wants/backup@x.timer"), "");
        assert_eq!(check(&config, root), (Outcome::Good, "backup@x.timer starts \"run\"".to_owned()));

        write(root, "etc/cron.d/backup", &format!("# {command}\nMAILTO=x\n0 3 * * * postgres {command}\n"));
        let (outcome, message) = check(&config, root);
        assert_eq!(outcome, Outcome::Warning);
        assert!(message.contains("is started by backup@x.timer and by cron ("), "{message}");
        fs::remove_file(root.join("etc/cron.d/backup")).unwrap();

        // `serve` holds its lock.
        fs::create_dir_all(root.join("locks")).unwrap();
        let lock = root.join("locks").join(format!("serve-{}.lock", config.digest()));
        let file = fs::File::create(&lock).unwrap();
        assert_eq!(check(&config, root).0, Outcome::Good, "the lock of a server that has ended");
        file.lock().unwrap();
        assert!(check(&config, root).1.ends_with("is started by backup@x.timer and by longshore serve"));
    }
}
