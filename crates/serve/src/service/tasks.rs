//! The tasks: queued, started, observed, and ended.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use longshore_core::run_report::RunReport;
use longshore_core::{Error, Kind, Stage};
use longshore_engine::schedule::left_report;
use longshore_engine::status::{Issue, IssueKind};
use longshore_page::Activity;
use longshore_page::live::{Origin, Progress, Task};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Service;
use crate::child::{Ended, Running};
use crate::planner::Due;
use crate::receivers::ReceiverEvent;
use crate::state::{RunReply, RunRequest};

/// The time that tasks have to clean up after SIGTERM.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that receivers have to store the last WAL after SIGTERM.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(15);
/// The exit code of a task whose configuration is invalid.
const USAGE: i32 = 1;
/// The verb that makes backups.
const RUN: &str = "run";

impl Service<'_> {
    /// Adds the run of a request to the queue.
    pub(super) fn accept(&mut self, request: RunRequest) {
        let view = self.shared.view();
        let is_busy = self.shared.tasks.borrow().iter().any(|task| task.verb == RUN && task.job == request.job);
        let reply = if view.activity != Activity::Run || !view.config.jobs.contains_key(&request.job) {
            RunReply::Unknown
        } else if is_busy {
            RunReply::AlreadyQueued
        } else {
            let arguments = vec![RUN.to_owned(), request.job.clone()];
            self.enqueue(Due { verb: RUN.to_owned(), job: request.job, arguments });
            RunReply::Accepted
        };
        // The client may have closed its connection.
        request.reply.send(reply).unwrap_or_default();
    }

    pub(super) fn enqueue(&mut self, due: Due) {
        let task = Task {
            verb: due.verb.clone(),
            job: due.job.clone(),
            since: Utc::now(),
            is_waiting: true,
            origin: Origin::Service,
            progress: Progress::default(),
        };
        self.shared.tasks.send_modify(|tasks| tasks.push(task));
        self.queue.push_back(due);
    }

    /// Starts tasks of the queue, as many as may run at once.
    pub(super) fn start_queued(&mut self) {
        while self.running.len() < self.shared.view().config.serve.runs_at_once {
            let Some(Due { verb, job, arguments }) = self.queue.pop_front() else { return };
            self.shared.tasks.send_modify(|tasks| {
                if let Some(task) = tasks.iter_mut().find(|task| task.is_own(&verb, &job)) {
                    (task.is_waiting, task.since) = (false, Utc::now());
                }
            });
            let tasks = self.shared.tasks.clone();
            match Running::start(&self.options.program, (&verb, &job), &arguments, tasks, self.ended.clone()) {
                Ok(task) => self.running.push(task),
                Err(error) => {
                    let now = Utc::now();
                    let reason = format!("{} cannot be started: {error}", self.options.program.binary.display());
                    (self.options.note)(&format!("{verb} {job}: {reason}"));
                    if let Some(planner) = &mut self.planner {
                        planner.end(&verb, &job, now, None);
                    }
                    self.unreported.insert((verb.clone(), job.clone()), (now, reason));
                    self.show_issues();
                    self.forget(&verb, &job);
                }
            }
        }
    }

    /// Removes a task that has ended, and refreshes the state.
    pub(super) fn end(&mut self, ended: &Ended) {
        match &ended.status {
            Ok(status) => (self.options.note)(&format!("{} {}: {status}", ended.verb, ended.job)),
            Err(error) => (self.options.note)(&format!("{} {}: cannot be observed: {error}", ended.verb, ended.job)),
        }
        self.show_invalid(ended);
        self.expect_report(ended);
        if let Some(planner) = &mut self.planner {
            planner.end(&ended.verb, &ended.job, ended.begun, ended.status.as_ref().ok());
        }
        self.running.retain(|task| (&task.verb, &task.job) != (&ended.verb, &ended.job));
        self.forget(&ended.verb, &ended.job);
        self.request_read();
    }

    /// Shows on all pages that a task ended before it began, since it leaves no report: its
    /// configuration is invalid.
    fn show_invalid(&self, ended: &Ended) {
        const BANNER: &str = "A task could not begin: ";
        let is_usage = ended.status.as_ref().is_ok_and(|status| status.code() == Some(USAGE));
        let error = is_usage.then(|| {
            let task = format!("{} {}", ended.verb, ended.job);
            Error::new(Stage::Config, Kind::Usage, task, "ended with exit code 1; `longshore config check` shows why")
        });
        self.set_banner(BANNER, error.as_ref());
        if is_usage {
            // The file is not the configuration that is in force.
            self.shared.update(|view| view.is_reloaded = false);
        }
    }

    /// Records a task that failed without a report: nothing else reports its failure.
    fn expect_report(&mut self, ended: &Ended) {
        let Ended { verb, job, begun, status } = ended;
        let is_good = status.as_ref().is_ok_and(ExitStatus::success);
        let key = (verb.clone(), job.clone());
        if is_good || left_report(&self.shared.view().config, job, verb, *begun) {
            self.unreported.remove(&key);
        } else {
            let status = match status {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("cannot be observed: {error}"),
            };
            self.unreported.insert(key, (*begun, format!("{verb} {status}, and left no report")));
        }
        self.show_issues();
    }

    /// Forgets the failures after which a later run of the task left a report.
    pub(super) fn forget_reported(&mut self) {
        let config = Arc::clone(&self.shared.view().config);
        self.unreported.retain(|(verb, job), (begun, _)| {
            config.jobs.contains_key(job) && !left_report(&config, job, verb, *begun)
        });
        self.show_issues();
    }

    /// Shows the problems that only the service knows. If they changed, the state is read again, so
    /// that notices report them.
    pub(super) fn show_issues(&mut self) {
        let unreported = self.unreported.iter().map(|((verb, job), (_, message))| Issue {
            job: Some(job.clone()),
            verb: Some(verb.clone()),
            ..Issue::new(IssueKind::RunUnreported, message)
        });
        let schedule = self.schedule_error.iter().map(|message| {
            Issue::new(
                IssueKind::ScheduleFailed,
                format!("the schedules cannot be evaluated, so no job starts: {message}"),
            )
        });
        let issues: Vec<_> = unreported.chain(schedule).chain(self.receivers.issues(Instant::now())).collect();
        if self.shared.view().issues != issues {
            self.shared.update(|view| view.issues = issues);
            self.request_read();
        }
    }

    /// Shows the tasks in progress that other programs started, by their markers on disk.
    pub(super) fn show_others(&mut self) {
        let reports = self.running_runs.look();
        self.shared.tasks.send_if_modified(|tasks| {
            let is_own = |report: &RunReport| {
                let job = report.job.as_deref().unwrap_or_default();
                tasks.iter().any(|task| task.is_own(&report.verb, job) && !task.is_waiting)
            };
            let others = reports.iter().filter(|report| !is_own(report)).map(|report| Task {
                verb: report.verb.clone(),
                job: report.job.clone().unwrap_or_default(),
                since: report.begun,
                is_waiting: false,
                origin: Origin::Other,
                progress: Progress::default(),
            });
            let others: Vec<Task> = others.collect();
            let key = |task: &Task| (task.verb.clone(), task.job.clone(), task.since);
            let shown = tasks.iter().filter(|task| task.origin == Origin::Other).map(key);
            if shown.eq(others.iter().map(key)) {
                return false;
            }
            tasks.retain(|task| task.origin == Origin::Service);
            tasks.extend(others);
            true
        });
    }

    /// Applies an event of a receiver of WAL.
    pub(super) fn receive(&mut self, event: ReceiverEvent) {
        let line = self.receivers.apply(event);
        line.iter().for_each(|line| (self.options.note)(line));
        self.show_receivers();
    }

    /// Shows the receivers of WAL.
    pub(super) fn show_receivers(&mut self) {
        let views = self.receivers.views();
        if self.shared.view().receivers != views {
            self.shared.update(|view| view.receivers = views);
        }
        self.show_issues();
    }

    fn forget(&self, verb: &str, job: &str) {
        self.shared.tasks.send_modify(|tasks| {
            tasks.retain(|task| !task.is_own(verb, job));
        });
    }

    /// Waits for tasks in progress, and ends those that take too long.
    pub(super) async fn stop(
        mut self,
        mut ends: mpsc::UnboundedReceiver<Ended>,
        mut receiver_events: mpsc::UnboundedReceiver<ReceiverEvent>,
    ) {
        self.receivers.configure([]);
        let stopped = timeout(RECEIVER_TIMEOUT, self.wait_for_receivers(&mut receiver_events)).await;
        if stopped.is_err() {
            (self.options.note)("a receiver of WAL is still storing its last WAL");
        }
        if self.running.is_empty() {
            return;
        }
        let limit = self.shared.view().config.serve.stop_timeout;
        (self.options.note)(&format!("waiting up to {limit} for tasks in progress"));
        if timeout(limit.duration(), self.wait_for_tasks(&mut ends)).await.is_err() {
            self.running.iter().for_each(Running::terminate);
            if timeout(CLEANUP_TIMEOUT, self.wait_for_tasks(&mut ends)).await.is_err() {
                (self.options.note)("tasks are still cleaning up");
            }
        }
    }

    async fn wait_for_receivers(&mut self, events: &mut mpsc::UnboundedReceiver<ReceiverEvent>) {
        while self.receivers.are_running() {
            let Some(event) = events.recv().await else { return };
            self.receive(event);
        }
    }

    async fn wait_for_tasks(&mut self, ends: &mut mpsc::UnboundedReceiver<Ended>) {
        while !self.running.is_empty() {
            let Some(ended) = ends.recv().await else { return };
            self.end(&ended);
        }
    }
}
