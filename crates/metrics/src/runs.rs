//! The samples of runs, schedules and notifications.

use std::collections::BTreeMap;

use longshore_engine::counters::Counters;
use longshore_engine::status::{RunStatus, Status};

use crate::families::{Families, Labels};
use crate::metric;

/// The verb of a run that makes backups.
const RUN: &str = "run";

pub(crate) fn add(families: &mut Families, status: &Status, counters: &Counters) {
    for job in &status.jobs {
        for run in job.last_run.iter().chain(&job.others) {
            add_run(families, &job.cluster, &job.job, run);
        }
    }
    let due = status.series.iter().filter_map(|series| Some(((&series.cluster, &series.job), series.next_run?)));
    for ((cluster, job), next) in due.collect::<BTreeMap<_, _>>() {
        families.add_time(metric::SCHEDULE_NEXT, &run_labels(cluster, job, RUN), Some(next));
    }
    for (run, count) in &counters.runs {
        let labels = vec![("job", run.job.clone()), ("verb", run.verb.clone()), ("outcome", run.outcome.to_string())];
        families.add(metric::RUNS, &labels, *count as f64);
    }
    for (metric, counts) in
        [(metric::SCHEDULE_SKIPPED, &counters.skipped), (metric::SCHEDULE_CAUGHT_UP, &counters.caught_up)]
    {
        for (due, count) in counts {
            families.add(metric, &vec![("job", due.job.clone()), ("verb", due.verb.clone())], *count as f64);
        }
    }
    for (notification, count) in &counters.notifications {
        let labels = vec![
            ("channel", notification.channel.clone()),
            ("outcome", if notification.sent { "sent" } else { "failed" }.to_owned()),
        ];
        families.add(metric::NOTIFICATIONS, &labels, *count as f64);
    }
}

/// Returns the labels of a job's runs. Hosts with jobs of the same name may share a destination, so
/// the cluster is one of the labels.
fn run_labels(cluster: &str, job: &str, verb: &str) -> Labels {
    vec![("cluster", cluster.to_owned()), ("job", job.to_owned()), ("verb", verb.to_owned())]
}

fn add_run(families: &mut Families, cluster: &str, job: &str, run: &RunStatus) {
    let labels = run_labels(cluster, job, &run.verb);
    families.add_time(metric::RUN_START, &labels, Some(run.begun));
    families.add_time(metric::RUN_END, &labels, run.ended);
    families.add_known(metric::RUN_EXIT, &labels, run.exit_code.map(f64::from));
    let duration = run.ended.map(|ended| (ended - run.begun).num_milliseconds() as f64 / 1000.0);
    families.add_known(metric::RUN_DURATION, &labels, duration);
}
