//! Every metric: its name, type and meaning.

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that rises and falls.
    Gauge,
    /// A value that only rises, until its process or its file is replaced. Its name ends in
    /// `_total`.
    Counter,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The meaning, as in the output.
    pub help: &'static str,
    /// The type.
    pub kind: Kind,
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, kind: Kind::Gauge }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, kind: Kind::Counter }
}

macro_rules! metrics {
    ($($constant:ident = $make:ident($name:literal, $help:literal);)*) => {
        $(pub(crate) const $constant: Metric = $make($name, $help);)*

        /// Every metric, in the order of the output.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    LAST_SUCCESS = gauge(
        "longshore_backup_last_success_timestamp_seconds",
        "Time of the newest good backup at the destination."
    );
    LAST_VERIFIED = gauge(
        "longshore_backup_last_verified_timestamp_seconds",
        "Time of the last verification that found a backup at the destination good."
    );
    LAST_DRILLED = gauge(
        "longshore_backup_last_drilled_timestamp_seconds",
        "Time of the last drill that restored a backup from the destination."
    );
    MAX_AGE = gauge("longshore_backup_max_age_seconds", "Configured maximum age of the newest backup.");
    PLAINTEXT = gauge("longshore_backup_plaintext_bytes", "Size of the newest good backup before compression.");
    STORED = gauge("longshore_backup_stored_bytes", "Size of the newest good backup as stored.");
    COPIES = gauge("longshore_backup_copies", "Number of destinations with a good copy of the newest backup.");
    COPIES_WANTED = gauge(
        "longshore_backup_copies_wanted",
        "Number of destinations that should have the newest backup."
    );
    BACKUPS = gauge("longshore_backups", "Number of backups at the destination.");
    DAMAGED = gauge("longshore_backups_damaged", "Number of backups at the destination that are known to be damaged.");
    HELD = gauge("longshore_backups_held", "Number of backups at the destination with a hold.");
    SERIES_STATE = gauge("longshore_series_state", "1 for the state of the series, 0 for the other states.");
    RESTORE_SECONDS = gauge("longshore_restore_seconds", "Duration of a restore, as measured by the last drill.");
    RECOVERY_POINT_GAP = gauge(
        "longshore_recovery_point_gap_seconds",
        "Longest time between two consecutive backups of the last 30 days."
    );
    WAL_STORED = gauge(
        "longshore_wal_last_stored_timestamp_seconds",
        "Time at which the newest WAL segment was stored at the destination."
    );
    WAL_FROM = gauge(
        "longshore_wal_recoverable_from_timestamp_seconds",
        "First moment to which the cluster can be recovered."
    );
    WAL_UNTIL = gauge(
        "longshore_wal_recoverable_until_timestamp_seconds",
        "Time at which the last WAL segment of an unbroken recovery was stored."
    );
    RUN_START = gauge("longshore_run_last_start_timestamp_seconds", "Start of the last run.");
    RUN_END = gauge("longshore_run_last_end_timestamp_seconds", "End of the last run, unless it was killed.");
    RUN_EXIT = gauge("longshore_run_last_exit_code", "Exit code of the last run, unless it was killed.");
    RUN_DURATION = gauge("longshore_run_last_duration_seconds", "Duration of the last run.");
    RUNS = counter("longshore_runs_total", "Number of runs on this host.");
    SCHEDULE_NEXT = gauge("longshore_schedule_next_timestamp_seconds", "Time at which the next run is due.");
    SCHEDULE_SKIPPED = counter(
        "longshore_schedule_skipped_total",
        "Number of due times that passed during another run of the job."
    );
    SCHEDULE_CAUGHT_UP = counter("longshore_schedule_caught_up_total", "Number of missed runs that were caught up.");
    DESTINATION_UP = gauge("longshore_destination_up", "1 if the destination could be read.");
    DESTINATION_USED = gauge("longshore_destination_used_bytes", "Size of the backups at the destination.");
    DESTINATION_FREE = gauge("longshore_destination_free_bytes", "Free space at the destination.");
    LOOK = gauge("longshore_look_timestamp_seconds", "Time at which the destination was last read.");
    NOTIFICATIONS = counter("longshore_notifications_total", "Number of notifications on this host.");
    RELOAD = gauge("longshore_config_last_reload_successful", "1 if the last reload of the configuration succeeded.");
    SCHEDULE = gauge(
        "longshore_schedule_last_evaluation_successful",
        "1 if the schedules could be evaluated, and jobs are started."
    );
    RECEIVER_UP = gauge("longshore_wal_receiver_up", "1 if a receiver of the cluster's WAL works.");
    RECEIVER_RESTARTS = counter(
        "longshore_wal_receiver_restarts_total",
        "Number of times that the receiver of WAL ended and was started again."
    );
    BUILD_INFO = gauge("longshore_build_info", "1, with the version of Longshore as a label.");
    PROCESS_START = gauge("process_start_time_seconds", "Start of the process.");
    PROCESS_MEMORY = gauge("process_resident_memory_bytes", "Memory of the process in RAM.");
    PROCESS_CPU = counter("process_cpu_seconds_total", "Processor time of the process.");
    PROCESS_FILES = gauge("process_open_fds", "Number of open file descriptors of the process.");
}
